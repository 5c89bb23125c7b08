/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local.c - local down and status, and what they share with up. */
#include "ctl/local/local.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ctl/format.h"
#include "ctl/local/local_certs.h"
#include "ctl/report.h"
#include "ctl/screens/status.h"

#define DOWN_TIMEOUT_MS 30000 /* for an orderly end; then SIGKILL */

void kith_local_say(const struct kith_ctl_args *args, const char *format, ...)
{
    if (!args->json) {
        va_list list;
        va_start(list, format);
        (void)vprintf(format, list);
        va_end(list);
        (void)fflush(stdout); /* progress is no use later; main checks stdout at the end */
    }
}

/* ---- ending ---- */

enum kith_err kith_local_end(const struct kith_ctl_args *args, uint32_t index,
                             const struct kith_local_process *process, struct kith_error *error)
{
    if (process->fd < 0) {
        kith_local_say(args, "node%u  is not running\n", index + 1);
        return KITH_OK;
    }
    if (kith_local_wait_end(process, DOWN_TIMEOUT_MS)) {
        kith_local_say(args, "node%u  stopped\n", index + 1);
        return KITH_OK;
    }
    kith_report_warning(args->json,
                        "node%u (pid %d) did not end within %d s: it is killed. What it "
                        "acknowledged is safe.",
                        index + 1, (int)process->pid, DOWN_TIMEOUT_MS / 1000);
    enum kith_err err = kith_local_signal(process, SIGKILL, error);
    if (err == KITH_OK && !kith_local_wait_end(process, DOWN_TIMEOUT_MS)) {
        err = kith_error_set(error, KITH_EIO,
                             "node%u (pid %d) does not even end by SIGKILL: it hangs "
                             "in the kernel, is its disk in order?",
                             index + 1, (int)process->pid);
    }
    return err;
}

/* ---- down ---- */

/* Ends every node that runs; *ret_stopped: how many have ended by it. The exit status. */
static int all_end(const struct kith_ctl_args *args, struct kith_local *local,
                   uint32_t *ret_stopped)
{
    struct kith_error error;
    struct kith_local_process processes[KITH_LOCAL_NODES_MAX];
    bool told[KITH_LOCAL_NODES_MAX];
    int status = KITH_CTL_OK;
    for (uint32_t i = 0; i < local->count; i++) { /* all at once, then wait for each */
        processes[i].fd = -1;
        enum kith_err err = kith_local_find(local, i, &processes[i], &error);
        if (err == KITH_OK && processes[i].fd >= 0) {
            err = kith_local_signal(&processes[i], SIGTERM, &error);
        }
        told[i] = err == KITH_OK;
        if (!told[i]) { /* another user's, say: it does not end, and waiting for it is no use */
            (void)kith_error_wrap(&error, "node%u", i + 1);
            status = kith_ctl_fail(args, &error);
        }
    }
    for (uint32_t i = 0; i < local->count; i++) {
        bool runs = processes[i].fd >= 0;
        if (told[i] && kith_local_end(args, i, &processes[i], &error) == KITH_OK) {
            local->nodes[i].pid = 0;
            *ret_stopped += runs;
        } else if (told[i]) {
            status = kith_ctl_fail(args, &error);
        }
        if (runs) {
            (void)close(processes[i].fd);
        }
    }
    return status;
}

int kith_ctl_local_down(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_local local;
    int hold = -1;
    if (kith_local_hold(args->positional[0], false, &local, &hold, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    if (local.count == 0) {
        (void)kith_error_set(&error, KITH_ENOTFOUND, "%s holds no local cluster (no cluster.json)",
                             local.dir);
        (void)close(hold);
        return kith_ctl_fail(args, &error);
    }
    uint32_t stopped = 0;
    int status = all_end(args, &local, &stopped);
    enum kith_err err = kith_local_save(&local, &error);
    if (err == KITH_OK && args->json) {
        json_t *answer = json_pack("{s:i}", "stopped", (int)stopped);
        err = kith_json_print(kith_json_named("dir", local.dir, answer), &error);
    }
    (void)close(hold);
    return err == KITH_OK ? status : kith_ctl_fail(args, &error);
}

/* ---- status ---- */

/* The address of the node's status page, from the file in which it says it. False: it serves none (yet). */
static bool page_read(const struct kith_local *local, uint32_t index, char *text, size_t size)
{
    char data[PATH_MAX], log[PATH_MAX], path[PATH_MAX];
    struct kith_error ignored;
    if (kith_local_paths(local, index, data, log, &ignored) != KITH_OK ||
        snprintf(path, sizeof path, "%s/metrics", data) >= (int)sizeof path) {
        return false;
    }
    FILE *file = fopen(path, "re");
    bool good = file && fgets(text, (int)size, file);
    if (file) {
        (void)fclose(file); /* was only read */
    }
    if (good) {
        text[strcspn(text, "\n")] = '\0';
    }
    return good && *text;
}

int kith_ctl_local_status(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_local local;
    char addresses[KITH_LOCAL_NODES_MAX][32];
    const char *servers[KITH_LOCAL_NODES_MAX];
    if (kith_local_load(args->positional[0], &local, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    if (local.count == 0) {
        (void)kith_error_set(&error, KITH_ENOTFOUND,
                             "%s holds no local cluster; make one: kithctl local up %s", local.dir,
                             local.dir);
        return kith_ctl_fail(args, &error);
    }
    if (kith_local_certs_use(&local, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    uint32_t running = 0;
    for (uint32_t i = 0; i < local.count; i++) {
        struct kith_local_process process;
        (void)snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", local.nodes[i].port);
        servers[i] = addresses[i];
        if (kith_local_find(&local, i, &process, &error) != KITH_OK) {
            return kith_ctl_fail(args, &error);
        }
        running += process.fd >= 0;
        kith_local_say(args, "node%u  %s  %s", i + 1, addresses[i],
                       process.fd >= 0 ? "runs" : "is not running");
        if (process.fd >= 0) {
            char page[128];
            kith_local_say(args, " (pid %d)", (int)process.pid);
            if (page_read(&local, i, page, sizeof page)) {
                kith_local_say(args, "  http://%s/", page);
            }
            (void)close(process.fd);
        }
        kith_local_say(args, "\n");
    }
    if (running == 0) {
        (void)kith_error_set(&error, KITH_EUNREACH, "no node runs; start them: kithctl local up %s",
                             local.dir);
        return kith_ctl_fail(args, &error);
    }
    return kith_status_show(args, servers, local.count);
}
