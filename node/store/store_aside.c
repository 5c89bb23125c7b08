/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_aside.c - tables whose file is damaged are set aside, and new, empty ones take their place.
 *
 * WiredTiger gives up where it meets a damaged page, and does so again at every start that reads
 * it. What it said names the file; a note (DIR/aside-TABLE) tells the next start, or the next try
 * of this one, to read that table to the end and, if it is damaged indeed, to set it aside before
 * anything else reads it. (No start reads the whole disk without such a reason.)
 *
 *     the record of what is lost (KITH_META_LOST, core/repair/refill.h), flushed
 *     the segments' files go to DIR/damaged/, where chunks are lost: their index names nobody now
 *     the table is dropped, its file goes to DIR/damaged/, an empty one is made
 *     what follows from the tables is made anew (store_derived.c), the references (refs), too
 *     the notes go
 *
 * A start that is cut off anywhere finds the notes and does it all again. Nothing is destroyed; a
 * person removes DIR/damaged/.
 *
 *     rows          come from the other owners; no reads here before
 *     chunks, segs  say one what the other does not: both, with the segments; they come likewise
 *     bad           says which rows and chunks are missing: now any may be. Rows and chunks stay,
 *                   and all are compared before reads
 *     hints         lost for good, as with a lost disk: custody, where nobody else has it
 *     refs          made anew
 *     marks         leases and condemned chunks: other owners have leases, too
 *     meta          is this node itself, which DIR/identity says once more (store_identity.c); its
 *                   promises are lost, and any row may have been marked. Without that file a person
 *                   has to decide
 *
 * Recovering a log needs all files that it names. So where a page is damaged that the log's end
 * changes, or a file of WiredTiger's own, the store does not open, and nothing can be taken out of
 * it. Then all of it goes to DIR/damaged (the note: DIR/aside-all), and a new one is made of
 * DIR/identity.
 *
 * No page of a damaged file is used again, though most are good: WiredTiger's salvage takes pages
 * that were given up long ago for good ones where the newer are gone, and so brings back what was
 * dropped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

#include "base/log.h"
#include "core/repair/refill.h"
#include "store/store_int.h"

#define PATH_SIZE  4096u
#define STAMP_SIZE 24u

enum { ROWS, CHUNKS, SEGS, BAD, HINTS, REFS, MARKS, META, TABLES };
#define BIT(table) (1u << (table))

static const struct {
    const char *name;
    uint32_t lost;    /* of KITH_LOST_* */
    const char *what; /* for people */
} tables[TABLES] = {
    [ROWS] = {"rows", KITH_LOST_ROWS,
              "all rows; they will come from the other owners, and no "
              "reads of them are answered before"},
    [CHUNKS] = {"chunks", KITH_LOST_CHUNKS, "all chunks; they will come from the other owners"},
    [SEGS] = {"segs", KITH_LOST_CHUNKS, "where large chunks lie"},
    [BAD] = {"bad", KITH_LOST_ROWS | KITH_LOST_CHUNKS,
             "the list of single rows and chunks that were damaged; everything is compared with "
             "the other owners, and no reads are answered before"},
    [HINTS] = {"hints", KITH_LOST_HINTS,
               "what was kept for other nodes; a write that they do not "
               "have, and nobody else, is lost"},
    [REFS] = {"refs", 0, "which rows refer to which chunk; it is made anew"},
    [MARKS] = {"marks", 0, "marks of chunks that are about to be swept, or leased"},
    [META] = {"meta", KITH_LOST_ROWS | KITH_LOST_CHUNKS | KITH_LOST_RECORDS,
              "this node's own records; who it is stands in DIR/identity, too, and what it has "
              "promised to others is lost: it does not vote before they have decided something"},
};

/* ---- What is damaged ---- */

/* Of the words of WiredTiger 3.2 those that say that what was read is not what was written; */
static const char *const contents[] = {"checksum", "illegal file format", "does not appear to be",
                                       "corrupt"};
/* or cannot be read, or not found. */
static const char *const access_words[] = {"handle-read", "fatal read error", "handle-open",
                                           "unable to read"};
/* That is the machine's trouble. */
static const char *const others[] = {"Permission denied", "Too many open files",
                                     "Cannot allocate memory"};

static bool tells(const char *message, const char *const *words, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || strstr(message, words[i]) != NULL;
    }
    return found;
}

static bool tells_damage(const char *message)
{
    return (tells(message, contents, sizeof contents / sizeof contents[0]) ||
            tells(message, access_words, sizeof access_words / sizeof access_words[0])) &&
           !tells(message, others, sizeof others / sizeof others[0]);
}

void store_aside_heard(struct kith_store *store, const char *message)
{
    char name[16];
    if (!tells_damage(message)) {
        return;
    }
    if (tells(message, contents, sizeof contents / sizeof contents[0])) {
        atomic_store(&store->damage, true);
    }
    for (uint32_t t = 0; t < TABLES; t++) {
        (void)snprintf(name, sizeof name, "%s.wt", tables[t].name);
        if (strstr(message, name) != NULL) {
            atomic_fetch_or(&store->aside, BIT(t));
        }
    }
}

static bool note_path(const struct kith_store *store, uint32_t table, char path[PATH_SIZE])
{
    int size = snprintf(path, PATH_SIZE, "%s/aside-%s", store->path, tables[table].name);
    return size > 0 && (size_t)size < PATH_SIZE;
}

bool store_aside_note(struct kith_store *store)
{
    char path[PATH_SIZE];
    uint32_t heard = atomic_load(&store->aside);
    bool noted = false;
    for (uint32_t t = 0; t < TABLES; t++) {
        if ((heard & BIT(t)) != 0 && note_path(store, t, path)) {
            int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            noted = noted || fd >= 0; /* else it was tried, and did not help */
            if (fd >= 0) {
                close(fd);
            }
        }
    }
    return noted;
}

static bool all_path(const struct kith_store *store, char path[PATH_SIZE])
{
    int size = snprintf(path, PATH_SIZE, "%s/aside-all", store->path);
    return size > 0 && (size_t)size < PATH_SIZE;
}

bool store_aside_note_all(struct kith_store *store)
{
    char path[PATH_SIZE];
    if (!atomic_load(&store->damage) || !store->identity.good || store->lock_fd < 0 ||
        !all_path(store, path)) {
        return false;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static uint32_t noted(const struct kith_store *store)
{
    char path[PATH_SIZE];
    uint32_t found = 0;
    for (uint32_t t = 0; t < TABLES; t++) {
        found |= note_path(store, t, path) && access(path, F_OK) == 0 ? BIT(t) : 0;
    }
    return found;
}

/* Reads them once more, to the end: a disk, or what lies between, may have had a bad moment. Those
 * that are damaged indeed. */
static uint32_t look_again(const struct kith_store *store, WT_SESSION *session, uint32_t which)
{
    char uri[32], path[PATH_SIZE];
    for (uint32_t t = 0; t < TABLES; t++) {
        (void)snprintf(uri, sizeof uri, "table:%s", tables[t].name);
        if ((which & BIT(t)) != 0 && session->verify(session, uri, NULL) == 0 &&
            note_path(store, t, path) && unlink(path) == 0) {
            kith_log_warn("store", "%s/%s.wt: was read again, to the end, and is whole",
                          store->wt_path, tables[t].name);
            which &= ~BIT(t);
        }
    }
    return which;
}

/* And those that go with them. */
static uint32_t with_others(uint32_t found)
{
    if ((found & (BIT(CHUNKS) | BIT(SEGS))) != 0) {
        found |= BIT(CHUNKS) | BIT(SEGS);
    }
    if ((found & (BIT(ROWS) | BIT(CHUNKS) | BIT(HINTS))) != 0) {
        found |= BIT(REFS);
    }
    return found;
}

/* ---- Out of the way ---- */

static void stamp(char text[STAMP_SIZE])
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    if (strftime(text, STAMP_SIZE, "%Y%m%dT%H%M%SZ", &utc) == 0) {
        text[0] = '\0';
    }
}

/* DIR/damaged, or "": it cannot be made. */
static enum kith_err make_place(const struct kith_store *store, char path[PATH_SIZE],
                                struct kith_error *error)
{
    int size = snprintf(path, PATH_SIZE, "%s/damaged", store->path);
    if (size < 0 || (size_t)size >= PATH_SIZE) {
        return kith_error_set(error, KITH_EINVAL, "%s: too long a path", store->path);
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return kith_error_set(error, store_err(errno), "%s: cannot be made: %s", path,
                              strerror(errno));
    }
    return KITH_OK;
}

/* From `from` to a name in `place` that nobody has. */
static enum kith_err move_away(const char *from, const char *place, const char *name,
                               struct kith_error *error)
{
    char to[PATH_SIZE], when[STAMP_SIZE];
    struct stat st;
    stamp(when);
    for (uint32_t i = 0; i < 1000; i++) {
        int size = i == 0 ? snprintf(to, sizeof to, "%s/%s-%s", place, when, name)
                          : snprintf(to, sizeof to, "%s/%s.%u-%s", place, when, i, name);
        if (size < 0 || (size_t)size >= sizeof to) {
            break;
        }
        if (stat(to, &st) != 0) {
            return rename(from, to) == 0 || errno == ENOENT
                       ? KITH_OK
                       : kith_error_set(error, store_err(errno), "%s: cannot be moved to %s: %s",
                                        from, to, strerror(errno));
        }
    }
    return kith_error_set(error, KITH_EIO, "%s: cannot be moved to %s", from, place);
}

static enum kith_err move_segments(const struct kith_store *store, const char *place,
                                   struct kith_error *error)
{
    char from[PATH_SIZE];
    enum kith_err err = KITH_OK;
    DIR *directory = opendir(store->chunks_path);
    if (directory == NULL) {
        return kith_error_set(error, store_err(errno), "%s: %s", store->chunks_path,
                              strerror(errno));
    }
    for (struct dirent *entry = readdir(directory); err == KITH_OK && entry != NULL;
         entry = readdir(directory)) {
        const char *end = strrchr(entry->d_name, '.');
        int size = snprintf(from, sizeof from, "%s/%s", store->chunks_path, entry->d_name);
        if (end != NULL && strcmp(end, ".seg") == 0 && size > 0 && (size_t)size < sizeof from) {
            err = move_away(from, place, entry->d_name, error);
        }
    }
    closedir(directory);
    return err;
}

/* An empty table under the name; the file goes to `place`. */
static enum kith_err replace(struct kith_store *store, WT_SESSION *session, const char *table,
                             const char *place, struct kith_error *error)
{
    char uri[32], file[PATH_SIZE], name[32];
    (void)snprintf(uri, sizeof uri, "table:%s", table);
    (void)snprintf(name, sizeof name, "%s.wt", table);
    (void)snprintf(file, sizeof file, "%.4000s/%s", store->wt_path, name);
    int ret = session->drop(session, uri, "force=true,remove_files=false");
    enum kith_err err = ret == 0 ? move_away(file, place, name, error) : KITH_OK;
    ret = ret == 0 && err == KITH_OK ? store_table_create(session, table) : ret;
    return ret == 0 ? err
                    : kith_error_set(error, store_err(ret),
                                     "%s: is damaged, and cannot be set aside: %s", file,
                                     wiredtiger_strerror(ret));
}

enum kith_err store_aside_all(struct kith_store *store, struct kith_error *error)
{
    char note[PATH_SIZE], place[PATH_SIZE];
    if (!all_path(store, note) || access(note, F_OK) != 0) {
        return KITH_OK;
    }
    if (!store->identity.good) {
        return kith_error_set(
            error, KITH_ECORRUPT,
            "%s: all of it is damaged, and DIR/identity, too. Move it away, start a "
            "new node, and let it take over: kithctl plan replace",
            store->path);
    }
    enum kith_err err = make_place(store, place, error);
    if (err == KITH_OK) {
        kith_log_error("store",
                       "%s: cannot be opened, and is set aside in %s with all chunks. This "
                       "node goes on as one that has lost its disk, but for who it is",
                       store->wt_path, place);
        err = move_away(store->wt_path, place, "wt", error);
    }
    if (err == KITH_OK) {
        err = move_away(store->chunks_path, place, "chunks", error);
    }
    for (uint32_t t = 0; t < TABLES && err == KITH_OK; t++) {
        char path[PATH_SIZE];
        if (note_path(store, t, path)) {
            (void)unlink(path);
        }
    }
    if (err == KITH_OK && unlink(note) != 0) {
        err = kith_error_set(error, store_err(errno), "%s: cannot be removed: %s", note,
                             strerror(errno));
    }
    return err;
}

/* ---- What is said of it ---- */

/* The records that DIR/identity has, into an empty table. */
static int restore(struct kith_store *store, WT_SESSION *session)
{
    WT_CURSOR *cursor = NULL;
    int ret = store_cursor(session, "meta", &cursor);
    ret = ret == 0 ? store_identity_restore(store, cursor) : ret;
    ret = ret == 0 ? store_meta_write_format(cursor) : ret;
    if (cursor != NULL) {
        int closed = cursor->close(cursor);
        ret = ret == 0 ? closed : ret;
    }
    return ret;
}

/* Whether the store has just been made. */
static int is_new(WT_SESSION *session, bool *ret_new)
{
    WT_CURSOR *cursor = NULL;
    int ret = store_cursor(session, "meta", &cursor);
    ret = ret == 0 ? cursor->next(cursor) : ret;
    *ret_new = ret == WT_NOTFOUND;
    if (cursor != NULL) {
        int closed = cursor->close(cursor);
        ret = ret == 0 || ret == WT_NOTFOUND ? closed : ret;
    }
    return ret;
}

/* On the disk before anything is gone. */
static int mark_lost(WT_SESSION *session, uint32_t lost)
{
    const uint8_t key = KITH_META_LOST;
    WT_ITEM item = {.data = &key, .size = 1}, value;
    WT_CURSOR *cursor = NULL;
    struct kith_bytes before = {NULL, 0};
    struct kith_buf buf;
    kith_buf_init(&buf);
    int ret = store_cursor(session, "meta", &cursor);
    if (ret == 0) {
        cursor->set_key(cursor, &item);
        ret = cursor->search(cursor);
        ret = ret == 0 ? cursor->get_value(cursor, &value) : ret;
        before = ret == 0 ? kith_bytes_make(value.data, value.size) : before;
        ret = ret == WT_NOTFOUND ? 0 : ret;
    }
    if (ret == 0) {
        kith_lost_encode(lost, before, &buf);
        ret = buf.failed ? ENOMEM : 0;
    }
    if (ret == 0) {
        value.data = buf.data;
        value.size = buf.size;
        cursor->set_key(cursor, &item);
        cursor->set_value(cursor, &value);
        ret = cursor->insert(cursor);
    }
    ret = ret == 0 ? session->log_flush(session, "sync=on") : ret;
    if (cursor != NULL) {
        int closed = cursor->close(cursor);
        ret = ret == 0 ? closed : ret;
    }
    kith_buf_release(&buf);
    return ret;
}

/* Entries of `bad` whose table is empty now. */
static int forget_bad(WT_SESSION *session, uint8_t kind)
{
    WT_CURSOR *cursor = NULL;
    int ret = store_cursor(session, "bad", &cursor);
    while (ret == 0 && (ret = cursor->next(cursor)) == 0) {
        WT_ITEM key;
        ret = cursor->get_key(cursor, &key);
        if (ret == 0 && key.size > 0 && *(const uint8_t *)key.data == kind) {
            ret = cursor->remove(cursor);
        }
    }
    if (cursor != NULL) {
        int closed = cursor->close(cursor);
        ret = ret == WT_NOTFOUND ? closed : ret;
    }
    return ret;
}

/* The table of this node's own records, first: what is lost is noted there. */
static enum kith_err set_aside_meta(struct kith_store *store, WT_SESSION *session,
                                    const char *place, struct kith_error *error)
{
    if (!store->identity.good) {
        return kith_error_set(
            error, KITH_ECORRUPT,
            "%s/meta.wt: damaged: it says who this node is, and %s/identity does "
            "not. Put it back from a backup, or move %s away, start a new node, and "
            "let it take over: kithctl plan replace",
            store->wt_path, store->path, store->path);
    }
    kith_log_error("store", "%s/meta.wt: damaged, and set aside in %s. It held %s", store->wt_path,
                   place, tables[META].what);
    enum kith_err err = replace(store, session, "meta", place, error);
    int ret = err == KITH_OK ? restore(store, session) : 0;
    return ret == 0 ? err
                    : kith_error_set(error, store_err(ret), "%s/meta.wt: %s", store->wt_path,
                                     wiredtiger_strerror(ret));
}

static enum kith_err set_aside(struct kith_store *store, WT_SESSION *session, uint32_t which,
                               struct kith_error *error)
{
    char place[PATH_SIZE];
    uint32_t lost = 0;
    for (uint32_t t = 0; t < TABLES; t++) {
        lost |= (which & BIT(t)) != 0 ? tables[t].lost : 0;
    }
    enum kith_err err = make_place(store, place, error);
    if (err == KITH_OK && (which & BIT(META)) != 0) {
        err = set_aside_meta(store, session, place, error);
    }
    int ret = err == KITH_OK ? mark_lost(session, lost) : 0;
    if (err == KITH_OK && ret == 0 && (which & BIT(CHUNKS)) != 0) {
        err = move_segments(store, place, error);
    }
    for (uint32_t t = 0; t < META && err == KITH_OK && ret == 0; t++) {
        if ((which & BIT(t)) == 0) {
            continue;
        }
        kith_log_error("store", "%s/%s.wt: damaged, and set aside in %s. It held %s",
                       store->wt_path, tables[t].name, place, tables[t].what);
        err = replace(store, session, tables[t].name, place, error);
    }
    bool bad = err == KITH_OK && (which & BIT(BAD)) == 0;
    if (bad && ret == 0 && (which & BIT(ROWS)) != 0) {
        ret = forget_bad(session, 'r');
    }
    if (bad && ret == 0 && (which & BIT(CHUNKS)) != 0) {
        ret = forget_bad(session, 'c');
    }
    return err != KITH_OK || ret == 0
               ? err
               : kith_error_set(error, store_err(ret),
                                "%s: what is damaged cannot be set aside: %s", store->wt_path,
                                wiredtiger_strerror(ret));
}

/* A new store in the place of one that was another's, or this node's own. */
static enum kith_err take_over(struct kith_store *store, WT_SESSION *session,
                               struct kith_error *error)
{
    char place[PATH_SIZE];
    if (!store->identity.good) {
        return kith_error_set(
            error, KITH_ECORRUPT,
            "%s/identity: damaged, and nothing else says who this node is. Move %s "
            "away, start a new node, and let it take over: kithctl plan replace",
            store->path, store->path);
    }
    kith_log_error("store",
                   "%s: all that this node held is gone; %s/identity says who it is, and the "
                   "rest comes from the other owners",
                   store->wt_path, store->path);
    enum kith_err err = make_place(store, place, error);
    err = err == KITH_OK ? move_segments(store, place, error) : err;
    int ret = err == KITH_OK ? restore(store, session) : 0;
    if (err == KITH_OK && ret == 0) {
        ret = mark_lost(session,
                        KITH_LOST_ROWS | KITH_LOST_CHUNKS | KITH_LOST_HINTS | KITH_LOST_RECORDS);
    }
    return ret == 0 ? err
                    : kith_error_set(error, store_err(ret), "%s/meta.wt: %s", store->wt_path,
                                     wiredtiger_strerror(ret));
}

enum kith_err store_aside_apply(struct kith_store *store, struct kith_error *error)
{
    WT_SESSION *session = NULL;
    bool new = false;
    enum kith_err err = KITH_OK;
    int ret = store_session(store, &session);
    uint32_t which = ret == 0 ? with_others(look_again(store, session, noted(store))) : 0;
    if (ret == 0 && (which & BIT(META)) == 0) {
        ret = is_new(session, &new);
    }
    if (ret == 0 && which != 0) {
        (void)store_derived_note(store); /* false: it is there */
        store->refs_anew = (which & BIT(REFS)) != 0;
        err = set_aside(store, session, which, error);
    }
    if (ret == 0 && err == KITH_OK && new && store->identity.found) {
        err = take_over(store, session, error);
    }
    if (session != NULL) {
        int closed = session->close(session, NULL);
        ret = ret == 0 ? closed : ret;
    }
    return err != KITH_OK || ret == 0 ? err
                                      : kith_error_set(error, store_err(ret), "%s: %s",
                                                       store->wt_path, wiredtiger_strerror(ret));
}

void store_aside_done(struct kith_store *store)
{
    char path[PATH_SIZE];
    uint32_t which = noted(store);
    for (uint32_t t = 0; t < TABLES; t++) {
        if ((which & BIT(t)) != 0 && note_path(store, t, path) && unlink(path) != 0 &&
            errno != ENOENT) {
            kith_log_error("store", "%s: cannot be removed: %s", path, strerror(errno));
        }
    }
    if (which != 0) {
        kith_log_warn("store",
                      "%s/damaged: holds what was set aside, for whoever wants to save "
                      "something of it; remove it when the node is whole again, or for its space",
                      store->path);
    }
    atomic_store(&store->aside, 0);
    store->refs_anew = false;
}
