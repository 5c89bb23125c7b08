/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_log.c - a log file of WiredTiger that was being made when the node ended.
 *
 * A new log file gets its header, then its name, then a first record. Who ends in between, or finds
 * no room for that record, leaves a file of a header alone, where log files are not extended in
 * advance (small disks; store_wt.c). WiredTiger 3.2.1 takes zeros behind the header for the end of
 * the log, but the end of the file for damage, at every start from then on. So such a file gets its
 * zeros before it is read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_int.h"

#define LOG_NAME   "WiredTigerLog."
#define LOG_HEADER 128
#define LOG_LEAST  4096

static enum kith_err mend(const struct kith_store *store, int directory, const char *name)
{
    struct stat st;
    int fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int failed = fd < 0 || fstat(fd, &st) != 0 ? errno : 0;
    if (failed == 0 && st.st_size >= LOG_HEADER && st.st_size < 2 * LOG_HEADER) {
        failed = ftruncate(fd, LOG_LEAST) != 0 || fsync(fd) != 0 ? errno : 0;
        if (failed == 0) {
            kith_log_info("store", "%s/%s: its first record was not written; it ends there",
                          store->wt_path, name);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return failed == 0 || failed == ENOENT ? KITH_OK : store_err(failed);
}

enum kith_err store_log_mend(const struct kith_store *store, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    DIR *directory = opendir(store->wt_path);
    if (directory == NULL) {
        return kith_error_set(error, store_err(errno), "%s: %s", store->wt_path, strerror(errno));
    }
    for (struct dirent *entry = readdir(directory); err == KITH_OK && entry != NULL;
         entry = readdir(directory)) {
        if (strncmp(entry->d_name, LOG_NAME, sizeof LOG_NAME - 1) == 0) {
            err = mend(store, dirfd(directory), entry->d_name);
        }
        if (err != KITH_OK) {
            (void)kith_error_set(error, err, "%s/%s: %s", store->wt_path, entry->d_name,
                                 kith_err_text((int)err));
        }
    }
    closedir(directory);
    return err;
}
