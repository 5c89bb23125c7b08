/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook.c - the thread that looks at places where there may be a conflict, and runs the program. */
#include "fs/hook/hook.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fs/conflicts/conflicts.h"
#include "fs/hook/hook_call.h"
#include "fs/hook/hook_known.h"
#include "fs/hook/hook_queue.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"
#include <xxhash.h>

#define NAMES_MOST    4096u  /* that wait; some 1.5 MiB with names as long as can be */
#define DIRS_MOST     1024u
#define KNOWN_MOST    32768u /* versions and rows: 1 MiB in all */
#define SAY_DROPS_NS  (60 * NSEC_PER_SEC)

struct kith_hook {
    struct kith_fs *fs;
    pthread_t thread;
    int stop_fd; /* readable: it ends */
    atomic_bool scanning; /* what the thread reads just now are others' rows, too */
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t wake;
    bool stopping;
    uint64_t chance; /* changes with each use */
    uint64_t drops_said_at;
    struct kith_hook_known known;
    struct kith_hook_queue queue;
    struct kith_hook_figures figures;
};

/* ---- Keys ---- */

static uint64_t key_of(const struct kith_group *group, const void *name, size_t size)
{
    return XXH3_64bits_withSeed(name, size, XXH3_64bits(group->bytes, sizeof group->bytes));
}

static uint64_t place_key(const struct kith_inode *dir, const char *name)
{
    return key_of(&dir->dir->group, name, strlen(name));
}

/* fs->lock held. What the entry is known to have beside it: another one after each change of the row,
 * too often the same as before rather than too seldom. */
static uint64_t rows_key(const struct kith_entry *entry)
{
    uint64_t key = key_of(&entry->dir->dir->group, entry->name, entry->name_size);
    key = XXH3_64bits_withSeed(entry->ctx.data, entry->ctx.size, key);
    if (entry->link && entry->inode != NULL) {
        key = XXH3_64bits_withSeed(entry->inode->ctx.data, entry->inode->ctx.size, key);
    }
    return key;
}

/* fs->lock held. Of a version: the same under each name of a file with several. */
static uint64_t version_key(const struct kith_inode *dir, const char *name,
                            const struct kith_other *other)
{
    const struct kith_entry *entry = kith_entry_find(dir, name);
    uint64_t seed = place_key(dir, name);
    if (other->of_inode && entry != NULL && entry->inode != NULL) {
        seed = key_of(&entry->inode->share_group, &entry->inode->share_id,
                      sizeof entry->inode->share_id);
    }
    uint64_t id = kith_seen_other_id(other->version.record.file_id, &other->version.sibling->dot);
    return XXH3_64bits_withSeed(&id, sizeof id, seed);
}

/* ---- Places ---- */

/* fs->lock and hook->lock held */
static enum kith_hook_added add_place(struct kith_hook *hook, struct kith_inode *dir,
                                      const char *name)
{
    hook->chance = hook->chance * UINT64_C(6364136223846793005) + 1442695040888963407u; /* Knuth */
    enum kith_hook_added added = kith_hook_queue_add(&hook->queue, place_key(dir, name), dir, name,
                                                     kith_mono_ns(), hook->chance >> 20);
    if (added == KITH_HOOK_ADDED) {
        kith_inode_hold(dir);
        pthread_cond_signal(&hook->wake);
    }
    return added;
}

/* hook->lock held */
static void dropped(struct kith_hook *hook, const char *why)
{
    uint64_t now = kith_mono_ns();
    hook->figures.dropped++;
    if (hook->drops_said_at == 0 || now - hook->drops_said_at > SAY_DROPS_NS) {
        hook->drops_said_at = now;
        kith_log_warn("hook",
                      "%s: %llu places so far are not looked at for conflicts before somebody lists "
                      "or opens what is there",
                      why, (unsigned long long)hook->figures.dropped);
    }
}

/* fs->lock held. A name for which there is no room is found when its directory is looked through. */
static void notice(struct kith_hook *hook, struct kith_inode *dir, const char *name)
{
    pthread_mutex_lock(&hook->lock);
    if (!hook->stopping && add_place(hook, dir, name) == KITH_HOOK_FULL &&
        add_place(hook, dir, "") == KITH_HOOK_FULL) {
        dropped(hook, "too many wait");
    }
    pthread_mutex_unlock(&hook->lock);
}

void kith_hook_saw(struct kith_fs *fs, const struct kith_entry *entry)
{
    struct kith_hook *hook = fs->hook;
    if (hook == NULL || entry == NULL || !kith_conflicts_beside(entry) ||
        (pthread_equal(pthread_self(), hook->thread) && !atomic_load(&hook->scanning))) {
        return;
    }
    uint64_t key = rows_key(entry);
    pthread_mutex_lock(&hook->lock);
    bool known = kith_hook_known_has(&hook->known, key);
    pthread_mutex_unlock(&hook->lock);
    if (!known) {
        notice(hook, entry->dir, entry->name);
    }
}

void kith_hook_told(struct kith_fs *fs, const struct kith_entry *entry)
{
    if (fs->hook != NULL) {
        notice(fs->hook, entry->dir, entry->name);
    }
}

bool kith_hook_told_all(struct kith_fs *fs, struct kith_inode *dir)
{
    struct kith_hook *hook = fs->hook;
    if (hook == NULL) {
        return true;
    }
    pthread_mutex_lock(&hook->lock);
    bool added = hook->stopping || add_place(hook, dir, "") != KITH_HOOK_FULL;
    pthread_mutex_unlock(&hook->lock);
    return added;
}

static bool is_stopping(struct kith_hook *hook)
{
    pthread_mutex_lock(&hook->lock);
    bool stopping = hook->stopping;
    pthread_mutex_unlock(&hook->lock);
    return stopping;
}

/* ---- The look at a place ---- */

/* Reads the directory, or as much of it as the tables ever read of one; what is in conflict there is
 * noticed on the way. */
static int look_through(struct kith_hook *hook, struct kith_inode *dir)
{
    struct kith_fs *fs = hook->fs;
    struct kith_dir_page page = {.more = false};
    struct kith_arena arenas[2]; /* one holds the place where the other's page begins */
    int error = 0;
    kith_arena_init(&arenas[0], 0);
    kith_arena_init(&arenas[1], 0);
    pthread_mutex_lock(&fs->lock);
    page.more = !kith_watch_saw_all(dir); /* else somebody has just listed it */
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    atomic_store(&hook->scanning, true);
    for (unsigned i = 0; i < LOAD_PAGES_MAX && page.more && error == 0 && !is_stopping(hook); i++) {
        struct kith_bytes after = page.last;
        kith_arena_reset(&arenas[i & 1]);
        error = kith_dir_page(hook->fs, dir, i == 0 ? NULL : &after, load, &arenas[i & 1], NULL,
                              NULL, &page);
    }
    atomic_store(&hook->scanning, false);
    kith_arena_release(&arenas[0]);
    kith_arena_release(&arenas[1]);
    return error;
}

/* Takes note of the versions; whether one of them is new. */
static bool take_note(struct kith_hook *hook, const struct kith_inode *dir, const char *name,
                      uint64_t rows, const struct kith_other others[], uint32_t count)
{
    bool news = false;
    pthread_mutex_lock(&hook->fs->lock);
    pthread_mutex_lock(&hook->lock);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t key = version_key(dir, name, &others[i]);
        news = news || !kith_hook_known_has(&hook->known, key);
        kith_hook_known_add(&hook->known, key);
    }
    kith_hook_known_add(&hook->known, rows);
    bool stopping = hook->stopping;
    if (news && !stopping) {
        hook->figures.runs++;
        kith_hook_queue_ran(&hook->queue, place_key(dir, name), kith_mono_ns());
    }
    pthread_mutex_unlock(&hook->lock);
    pthread_mutex_unlock(&hook->fs->lock);
    return news && !stopping;
}

static void failed(struct kith_hook *hook, const char *path, const char *what)
{
    struct kith_time now = kith_wall_time();
    pthread_mutex_lock(&hook->lock);
    hook->figures.failures++;
    hook->figures.failed_ms = (uint64_t)now.sec * 1000u + now.nsec / 1000000u;
    (void)snprintf(hook->figures.failure, sizeof hook->figures.failure, "%s: %s", path, what);
    pthread_mutex_unlock(&hook->lock);
    kith_log_warn("hook", "%s: %s %s", path, hook->fs->options->on_conflict, what);
}

static void run(struct kith_hook *hook, const struct kith_inode *dir, const char *name,
                const struct kith_other others[], uint32_t count, struct kith_arena *arena)
{
    char what[KITH_HOOK_WHAT_SIZE];
    struct kith_hook_files files;
    int error = kith_hook_files(hook->fs, dir, name, others, count, arena, &files);
    if (error != 0) {
        (void)snprintf(what, sizeof what, "is not run: %s", strerror(error));
        failed(hook, name, what);
    } else if (kith_hook_call(hook->fs->options, &files, hook->stop_fd, what)) {
        kith_log_info("hook", "%s: %s %s", files.path, hook->fs->options->on_conflict, what);
    } else {
        failed(hook, files.path, what);
    }
}

/* Whether a quorum would say that nothing stands beside it: somebody has asked since it was told. */
static bool is_alone(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    pthread_mutex_lock(&fs->lock);
    const struct kith_entry *entry = kith_entry_find(dir, name);
    bool alone = entry != NULL && kith_watch_knows(entry) && !kith_conflicts_beside(entry);
    pthread_mutex_unlock(&fs->lock);
    return alone;
}

/* The name as a quorum tells it now. */
static int look_at(struct kith_hook *hook, struct kith_inode *dir, const char *name)
{
    struct kith_fs *fs = hook->fs;
    struct kith_entry *entry;
    if (is_alone(fs, dir, name)) {
        return 0;
    }
    int error = kith_dir_read(fs, dir, name, &entry);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    bool beside = kith_conflicts_beside(entry);
    uint64_t rows = rows_key(entry); /* first: what changes after it is noticed again */
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
    if (!beside) {
        return 0;
    }
    struct kith_arena arena;
    struct kith_other *others;
    uint32_t count;
    kith_arena_init(&arena, 0);
    error = kith_others_all(fs, dir, name, &arena, &others, &count);
    if (error == 0 && take_note(hook, dir, name, rows, others, count)) {
        run(hook, dir, name, others, count, &arena);
    }
    kith_arena_release(&arena);
    return error;
}

/* What could not be read is looked at again later. */
static void look(struct kith_hook *hook, struct kith_hook_place *place)
{
    struct kith_fs *fs = hook->fs;
    struct kith_inode *dir = place->dir;
    int error = place->name[0] == '\0' ? look_through(hook, dir) : look_at(hook, dir, place->name);
    pthread_mutex_lock(&fs->lock);
    pthread_mutex_lock(&hook->lock);
    hook->figures.looks++;
    bool again = error != 0 && !hook->stopping && !dir->dir->removed && !dir->unlinked;
    enum kith_hook_added added = KITH_HOOK_WAITS;
    if (again) {
        added = kith_hook_queue_again(&hook->queue, place_key(dir, place->name), place,
                                      kith_mono_ns());
    }
    if (added == KITH_HOOK_FULL) {
        dropped(hook, strerror(error));
    }
    pthread_mutex_unlock(&hook->lock);
    if (added != KITH_HOOK_ADDED) {
        kith_inode_drop(fs, dir);
    }
    pthread_mutex_unlock(&fs->lock);
    kith_free(place->name);
}

/* ---- The thread ---- */

/* The next place whose turn has come; false: the end. */
static bool take_place(struct kith_hook *hook, struct kith_hook_place *ret_place)
{
    pthread_mutex_lock(&hook->lock);
    while (!hook->stopping && !kith_hook_queue_take(&hook->queue, kith_mono_ns(), ret_place)) {
        uint64_t next = kith_hook_queue_next(&hook->queue);
        if (next == UINT64_MAX) {
            pthread_cond_wait(&hook->wake, &hook->lock);
        } else {
            struct timespec until = {(time_t)(next / NSEC_PER_SEC), (long)(next % NSEC_PER_SEC)};
            pthread_cond_timedwait(&hook->wake, &hook->lock, &until);
        }
    }
    bool taken = !hook->stopping;
    pthread_mutex_unlock(&hook->lock);
    return taken;
}

static void *hook_main(void *arg)
{
    struct kith_hook *hook = arg;
    struct kith_hook_place place;
    pthread_setname_np(pthread_self(), "hook");
    while (take_place(hook, &place)) {
        look(hook, &place);
    }
    return NULL;
}

/* A parent that ignored it left it so to us, and then no child can be waited for. */
static void mind_children(void)
{
    struct sigaction action;
    if (sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
        (void)signal(SIGCHLD, SIG_DFL);
    }
}

static void hook_release(struct kith_hook *hook)
{
    if (hook->stop_fd >= 0) {
        close(hook->stop_fd);
    }
    kith_hook_queue_release(&hook->queue);
    kith_hook_known_release(&hook->known);
    pthread_cond_destroy(&hook->wake);
    pthread_mutex_destroy(&hook->lock);
    kith_free(hook);
}

enum kith_err kith_hook_new(struct kith_fs *fs)
{
    struct kith_hook *hook = kith_calloc(1, sizeof *hook);
    pthread_condattr_t attr;
    if (hook == NULL) {
        return KITH_ENOMEM;
    }
    hook->fs = fs;
    hook->chance = kith_fs_random(fs);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&hook->lock, NULL);
    pthread_cond_init(&hook->wake, &attr);
    pthread_condattr_destroy(&attr);
    hook->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum kith_err err = hook->stop_fd < 0 ? KITH_ELIMIT : KITH_OK;
    err = err == KITH_OK ? kith_hook_known_init(&hook->known, KNOWN_MOST) : err;
    if (err == KITH_OK) {
        err = kith_hook_queue_init(&hook->queue, fs->options->hook_quiet_ms * UINT64_C(1000000),
                                   NAMES_MOST, DIRS_MOST);
    }
    mind_children();
    if (err == KITH_OK && pthread_create(&hook->thread, NULL, hook_main, hook) != 0) {
        err = KITH_ELIMIT;
    }
    if (err != KITH_OK) {
        hook_release(hook);
        return err;
    }
    pthread_mutex_lock(&fs->lock);
    fs->hook = hook;
    pthread_mutex_unlock(&fs->lock);
    return KITH_OK;
}

void kith_hook_stop(struct kith_hook *hook)
{
    if (hook == NULL) {
        return;
    }
    const uint64_t one = 1;
    pthread_mutex_lock(&hook->lock);
    hook->stopping = true;
    pthread_cond_signal(&hook->wake);
    pthread_mutex_unlock(&hook->lock);
    ssize_t written = write(hook->stop_fd, &one, sizeof one);
    (void)written; /* EAGAIN: it is readable already */
}

void kith_hook_free(struct kith_fs *fs)
{
    struct kith_hook *hook = fs->hook;
    struct kith_hook_place place;
    unsigned left = 0;
    if (hook == NULL) {
        return;
    }
    kith_hook_stop(hook);
    pthread_join(hook->thread, NULL);
    pthread_mutex_lock(&fs->lock);
    fs->hook = NULL;
    while (kith_hook_queue_take(&hook->queue, UINT64_MAX, &place)) {
        kith_inode_drop(fs, place.dir);
        kith_free(place.name);
        left++;
    }
    pthread_mutex_unlock(&fs->lock);
    if (left > 0) {
        kith_log_info("hook", "%u places are not looked at for conflicts any more: the mount ends",
                      left);
    }
    hook_release(hook);
}

void kith_hook_figures(struct kith_hook *hook, struct kith_hook_figures *ret_figures)
{
    memset(ret_figures, 0, sizeof *ret_figures);
    if (hook != NULL) {
        pthread_mutex_lock(&hook->lock);
        *ret_figures = hook->figures;
        ret_figures->waiting = hook->queue.count;
        pthread_mutex_unlock(&hook->lock);
    }
}
