/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * io.c - between libfuse and the kernel's file: each request is seen as it comes, each answer as it
 * goes, from whichever thread and by whatever way of answering.
 *
 * An answer is counted before it is written: who has it, and asks for the figures, finds it there.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/control/impl.h"
#include "fs/control/words.h"

static void came(struct kith_control *control, const void *request, size_t size)
{
    struct fuse_in_header header;
    memcpy(&header, request, sizeof header);
    if (kith_control_has(header.nodeid)) {
        return; /* looking changes nothing */
    }
    if (kith_words_unanswered(header.opcode)) {
        kith_meter_count(&control->meter, header.opcode);
        return;
    }
    char *line = NULL;
    if (atomic_load_explicit(&control->readers, memory_order_relaxed) > 0) {
        line = kith_accesslog_begin_line(control->fs, request, size);
    }
    if (!kith_meter_begin(&control->meter, header.unique, header.opcode, kith_mono_ns(), line)) {
        kith_free(line);
    }
}

static ssize_t io_read(int fd, void *buf, size_t size, void *userdata)
{
    struct kith_fs *fs = userdata;
    ssize_t got = read(fd, buf, size);
    if (got >= (ssize_t)sizeof(struct fuse_in_header)) {
        int saved_errno = errno;
        came(fs->control, buf, (size_t)got);
        errno = saved_errno;
    }
    return got;
}

/* The bytes that a successful answer says were read or written. */
static bool bytes_of(uint32_t opcode, const struct fuse_out_header *header, const struct iovec *iov,
                     int count, uint64_t *ret_bytes)
{
    struct fuse_write_out written;
    if (opcode == FUSE_READ) {
        *ret_bytes = header->len - sizeof *header;
        return true;
    }
    bool writes = opcode == FUSE_WRITE || opcode == FUSE_COPY_FILE_RANGE;
    if (!writes || count < 2 || iov[1].iov_len < sizeof written) {
        return false;
    }
    memcpy(&written, iov[1].iov_base, sizeof written);
    *ret_bytes = written.size;
    return true;
}

static void goes(struct kith_control *control, const struct iovec *iov, int count)
{
    struct fuse_out_header header;
    struct kith_meter_request request;
    uint64_t bytes = 0;
    memcpy(&header, iov[0].iov_base, sizeof header);
    if (header.unique == 0 ||
        !kith_meter_end(&control->meter, header.unique, -header.error, kith_mono_ns(), &request)) {
        return; /* a notification, or one that is not counted */
    }
    bool has = header.error == 0 && bytes_of(request.opcode, &header, iov, count, &bytes);
    if (has && request.opcode == FUSE_READ) {
        atomic_fetch_add_explicit(&control->meter.read_bytes, bytes, memory_order_relaxed);
    } else if (has && request.opcode == FUSE_WRITE) {
        atomic_fetch_add_explicit(&control->meter.written_bytes, bytes, memory_order_relaxed);
    }
    if (request.line != NULL) {
        kith_accesslog_end_line(control, request.line, -header.error, bytes, has, request.took_ns);
    }
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct kith_fs *fs = userdata;
    if (count > 0 && iov[0].iov_len >= sizeof(struct fuse_out_header)) {
        goes(fs->control, iov, count);
    }
    return writev(fd, iov, count);
}

void kith_control_attach(struct kith_control *control, struct fuse_session *session)
{
    static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
    if (control == NULL) {
        return;
    }
    int error = fuse_session_custom_io(session, &io, fuse_session_fd(session));
    if (error != 0) {
        kith_log_warn("control", "requests are not counted: %s", strerror(-error));
    }
}
