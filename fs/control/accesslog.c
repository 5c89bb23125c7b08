/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * accesslog.c - a line for each finished request, for who has the log open.
 *
 *     TIME UID:GID PID OP PATH [ARGS] = RESULT SECONDS
 *     2026-11-23T09:18:34.123456Z 1000:1000 4403 write /a/b size=4096 offset=0 = 4096 0.000031
 *     2026-11-23T09:18:34.125012Z 1000:1000 4403 rename /a/b to /a/c = 0 0.000812
 *     2026-11-23T09:18:34.126733Z 1000:1000 4403 lookup /a/d = ENOENT 0.000009
 *
 * TIME is when it came, UTC; PID the calling thread's (0: from another pid namespace); paths are
 * those of the moment in which it came, "..." where a part of one is not known. Blanks, controls,
 * '\' and what is no UTF-8 are \xNN. What is asked of .kith itself is left out.
 *
 * A reader has a ring of his own (log_ring.h). Who finds it empty waits, as a job without a thread
 * that is interrupted like any other; lines come to him one answer at a time. The log has no past,
 * but says that it has KITH_LOG_RING_BYTES: "tail -f" looks there for the last lines of a file. A
 * read that does not go on where the one before ended finds the end there; the next one waits for
 * new lines. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fs/control/impl.h"
#include "fs/control/words.h"
#include "fs/tables/tables.h"
#include "text/figures.h"

#define READ_MAX (128u << 10) /* bytes of an answer: what the kernel asks for at most here */

struct waiting {
    struct waiting *next;
    struct kith_job *job;
    bool mine; /* taken off the list to be answered; else it was answered otherwise */
};

struct kith_log_reader {
    struct kith_log_reader *next;
    struct kith_log_ring ring;
    uint64_t at;                   /* where the next read begins that goes on */
    struct waiting *first, **last; /* reads, in the order in which they came */
    struct fuse_pollhandle *poll;  /* to be told; NULL: nobody */
};

static struct kith_log_reader *reader_of(const struct fuse_file_info *fi)
{
    return (struct kith_log_reader *)(uintptr_t)fi->fh;
}

/* ---- A line ---- */

static void put(struct kith_buf *line, const char *text)
{
    kith_buf_put(line, text, strlen(text));
}

/* One field, whatever is in it. */
static void put_field(struct kith_buf *line, const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, " \\");
        kith_format_text(kith_bytes_make(text, size), line);
        text += size;
        if (*text != '\0') {
            put(line, *text == ' ' ? "\\x20" : "\\x5c");
            text++;
        }
    }
}

/* fs->lock held. The kernel knows the node, for it has just asked for something of it. */
static void put_path(struct kith_fs *fs, struct kith_buf *line, uint64_t node, const char *name)
{
    char path[KITH_ERROR_MESSAGE_SIZE * 8];
    path[0] = '\0';
    if (kith_control_has(node)) {
        snprintf(path, sizeof path, "/%s", KITH_CONTROL_NAME);
    } else if (node != 0) {
        kith_inode_path(fs, kith_inode_of(fs, node), path, sizeof path);
    }
    bool root = strcmp(path, "/") == 0;
    put_field(line, root && name != NULL ? "" : path);
    if (name != NULL) {
        put(line, node != 0 ? "/" : "");
        put_field(line, name);
    } else if (path[0] == '\0') {
        put(line, "-");
    }
}

static void put_time(struct kith_buf *line)
{
    struct kith_time now = kith_wall_time();
    char text[KITH_FORMAT_SIZE], part[16];
    kith_format_time((uint64_t)now.sec * 1000, text);
    size_t size = strlen(text);
    kith_buf_put(line, text, size > 0 ? size - 1 : 0); /* without the Z */
    snprintf(part, sizeof part, ".%06uZ", now.nsec / 1000u % 1000000u);
    put(line, part);
}

char *kith_accesslog_begin_line(struct kith_fs *fs, const void *request, size_t size)
{
    struct kith_words words;
    struct kith_buf line;
    char text[96];
    if (!kith_words_read(request, size, &words)) {
        return NULL;
    }
    kith_buf_init(&line);
    put_time(&line);
    snprintf(text, sizeof text, " %u:%u %u %s ", words.uid, words.gid, words.pid, words.op);
    put(&line, text);
    pthread_mutex_lock(&fs->lock);
    put_path(fs, &line, words.node, words.name);
    if (words.relation != NULL) {
        snprintf(text, sizeof text, " %s ", words.relation);
        put(&line, text);
        put_path(fs, &line, words.node2, words.name2);
    }
    pthread_mutex_unlock(&fs->lock);
    put(&line, words.args[0] != '\0' ? " " : "");
    put(&line, words.args);
    kith_buf_put_u8(&line, 0);
    if (line.failed) {
        kith_buf_release(&line);
        return NULL;
    }
    return (char *)line.data;
}

/* ---- Readers who wait ---- */

/* control->lock held. The first read that waits and was not answered otherwise, with its data;
 * those that were are ended by the caller, too, who finds them without data. NULL: there is none.
 */
static struct waiting *serve_next(struct kith_control *control, struct kith_log_reader *reader,
                                  char **ret_data, size_t *ret_size)
{
    struct waiting *waiting = reader->first;
    *ret_data = NULL;
    *ret_size = 0;
    if (waiting == NULL || (!kith_log_ring_has(&reader->ring) && !control->ending)) {
        return NULL;
    }
    reader->first = waiting->next;
    reader->last = reader->first == NULL ? &reader->first : reader->last;
    waiting->mine = kith_job_take(waiting->job);
    if (!waiting->mine) {
        return waiting;
    }
    *ret_data = kith_malloc(waiting->job->size + 1);
    if (*ret_data != NULL) { /* with no line: the end */
        *ret_size = kith_log_ring_take(&reader->ring, *ret_data, waiting->job->size);
        reader->at += *ret_size;
    }
    return waiting;
}

/* Without the lock. */
static void answer(struct waiting *waiting, char *data, size_t size)
{
    if (waiting->mine && data == NULL) {
        fuse_reply_err(waiting->job->req, ENOMEM);
    } else if (waiting->mine) {
        fuse_reply_buf(waiting->job->req, data, size);
    }
    kith_free(data);
    kith_job_end(waiting->job);
    kith_free(waiting);
}

/* Answers what waits, as far as there are lines, and tells who polls. The lock is held, and let go
 * meanwhile: the list is begun anew after each answer. */
static void serve(struct kith_control *control)
{
    struct kith_log_reader *reader = control->first;
    while (reader != NULL) {
        char *data;
        size_t size;
        struct waiting *waiting = serve_next(control, reader, &data, &size);
        struct fuse_pollhandle *poll = NULL;
        if (waiting == NULL && (kith_log_ring_has(&reader->ring) || control->ending)) {
            poll = reader->poll;
            reader->poll = NULL;
        }
        if (waiting == NULL && poll == NULL) {
            reader = reader->next;
            continue;
        }
        pthread_mutex_unlock(&control->lock);
        if (waiting != NULL) {
            answer(waiting, data, size);
        }
        if (poll != NULL) {
            fuse_lowlevel_notify_poll(poll);
            fuse_pollhandle_destroy(poll);
        }
        pthread_mutex_lock(&control->lock);
        reader = control->first;
    }
}

void kith_accesslog_end_line(struct kith_control *control, char *line, int error, uint64_t bytes,
                             bool has_bytes, uint64_t took_ns)
{
    char text[96];
    struct kith_buf whole;
    const char *name = error != 0 ? strerrorname_np(error) : NULL;
    if (error != 0) {
        snprintf(text, sizeof text, " = %s", name != NULL ? name : "error");
    } else {
        snprintf(text, sizeof text, " = %llu", has_bytes ? (unsigned long long)bytes : 0ull);
    }
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, " %llu.%06llu\n",
             (unsigned long long)(took_ns / NSEC_PER_SEC),
             (unsigned long long)(took_ns % NSEC_PER_SEC / 1000));
    kith_buf_init(&whole);
    put(&whole, line);
    put(&whole, text);
    pthread_mutex_lock(&control->lock);
    for (struct kith_log_reader *reader = control->first; reader != NULL; reader = reader->next) {
        if (whole.failed) {
            reader->ring.left_out++;
        } else {
            kith_log_ring_put(&reader->ring, (const char *)whole.data, whole.size);
        }
    }
    serve(control);
    pthread_mutex_unlock(&control->lock);
    kith_buf_release(&whole);
    kith_free(line);
}

/* ---- The file ---- */

static void reader_free(struct kith_log_reader *reader)
{
    kith_log_ring_release(&reader->ring);
    if (reader->poll != NULL) {
        fuse_pollhandle_destroy(reader->poll);
    }
    kith_free(reader);
}

/* Takes it from the list, and what still stands in it: reads that were answered otherwise. */
static void reader_close(struct kith_control *control, struct kith_log_reader *reader)
{
    pthread_mutex_lock(&control->lock);
    struct kith_log_reader **at = &control->first;
    while (*at != reader) {
        at = &(*at)->next;
    }
    *at = reader->next;
    struct waiting *waiting = reader->first;
    pthread_mutex_unlock(&control->lock);
    atomic_fetch_sub(&control->readers, 1);
    while (waiting != NULL) {
        struct waiting *next = waiting->next;
        kith_job_fail(waiting->job, EINTR);
        kith_job_end(waiting->job);
        kith_free(waiting);
        waiting = next;
    }
    reader_free(reader);
}

void kith_accesslog_open(fuse_req_t req, struct fuse_file_info *fi)
{
    struct kith_control *control = kith_control_of(req);
    if (atomic_fetch_add(&control->readers, 1) >= KITH_LOG_READERS_MAX) {
        atomic_fetch_sub(&control->readers, 1);
        fuse_reply_err(req, EBUSY);
        return;
    }
    struct kith_log_reader *reader = kith_calloc(1, sizeof *reader);
    /* with the note that comes when all else is taken, what waits for a reader is no more than that */
    size_t capacity = KITH_LOG_RING_BYTES - KITH_LOG_NOTE_SIZE;
    if (reader == NULL || kith_log_ring_init(&reader->ring, capacity) != KITH_OK) {
        kith_free(reader);
        atomic_fetch_sub(&control->readers, 1);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    reader->last = &reader->first;
    pthread_mutex_lock(&control->lock);
    reader->next = control->first;
    control->first = reader;
    pthread_mutex_unlock(&control->lock);
    fi->fh = (uintptr_t)reader;
    fi->direct_io = 1;
    if (fuse_reply_open(req, fi) != 0) {
        reader_close(control, reader);
    }
}

/* control->lock held. Takes out what was answered otherwise, for who ends it. */
static struct waiting *answered_out(struct kith_log_reader *reader)
{
    struct waiting *out = NULL, **at = &reader->first;
    while (*at != NULL) {
        struct waiting *waiting = *at;
        if (!kith_job_answered(waiting->job)) {
            at = &waiting->next;
            continue;
        }
        *at = waiting->next;
        waiting->next = out;
        out = waiting;
    }
    reader->last = at;
    return out;
}

/* It waits from now on. */
static void wait_for_lines(struct kith_control *control, struct kith_log_reader *reader,
                           fuse_req_t req, size_t size)
{
    struct kith_job *job = kith_job_new(control->fs, req, 0, 0, NULL);
    struct waiting *waiting = kith_calloc(1, sizeof *waiting);
    if (job == NULL || waiting == NULL) {
        kith_job_discard(job);
        kith_free(waiting);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    job->size = size;
    waiting->job = job;
    kith_job_begin(job);
    pthread_mutex_lock(&control->lock);
    struct waiting *over = answered_out(reader);
    *reader->last = waiting;
    reader->last = &waiting->next;
    serve(control); /* a line may have come since */
    pthread_mutex_unlock(&control->lock);
    while (over != NULL) {
        struct waiting *next = over->next;
        kith_job_end(over->job);
        kith_free(over);
        over = next;
    }
}

void kith_accesslog_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct kith_control *control = kith_control_of(req);
    struct kith_log_reader *reader = reader_of(fi);
    size = size < READ_MAX ? size : READ_MAX;
    char *data = kith_malloc(size + 1);
    if (data == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_mutex_lock(&control->lock);
    bool on = (uint64_t)off == reader->at && size > 0;
    reader->at = (uint64_t)off;
    bool there = kith_log_ring_has(&reader->ring), over = control->ending;
    size_t got = on && reader->first == NULL ? kith_log_ring_take(&reader->ring, data, size) : 0;
    reader->at += got;
    pthread_mutex_unlock(&control->lock);
    if (got > 0 || !on || over) {
        fuse_reply_buf(req, data, got);
    } else if ((fi->flags & O_NONBLOCK) != 0 && !there) {
        fuse_reply_err(req, EAGAIN);
    } else {
        wait_for_lines(control, reader, req, size);
    }
    kith_free(data);
}

void kith_accesslog_release(fuse_req_t req, struct fuse_file_info *fi)
{
    reader_close(kith_control_of(req), reader_of(fi));
    fuse_reply_err(req, 0);
}

void kith_accesslog_poll(fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *handle)
{
    struct kith_control *control = kith_control_of(req);
    struct kith_log_reader *reader = reader_of(fi);
    pthread_mutex_lock(&control->lock);
    bool ready = kith_log_ring_has(&reader->ring) || control->ending;
    struct fuse_pollhandle *old = handle;
    if (!ready && handle != NULL) {
        old = reader->poll;
        reader->poll = handle;
    }
    pthread_mutex_unlock(&control->lock);
    if (old != NULL) {
        fuse_pollhandle_destroy(old);
    }
    fuse_reply_poll(req, ready ? POLLIN | POLLRDNORM : 0);
}

void kith_control_end(struct kith_control *control)
{
    if (control == NULL) {
        return;
    }
    pthread_mutex_lock(&control->lock);
    control->ending = true;
    serve(control);
    pthread_mutex_unlock(&control->lock);
}

void kith_accesslog_free(struct kith_control *control)
{
    while (control->first != NULL) {
        struct kith_log_reader *reader = control->first;
        KITH_ASSERT(reader->first == NULL); /* kith_control_end has answered them */
        control->first = reader->next;
        reader_free(reader);
    }
}
