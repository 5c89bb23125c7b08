/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch.c - directories whose changes the cluster tells: what the tables say of them needs no
 * question.
 *
 * WHAT IS KNOWN. While the watch of a directory is live (client.h), an entry may be known: what
 * the tables hold of its row, of the attribute row beside it and so of its inode is what a quorum
 * would answer now. And the table may be complete: a name that is not in it does not exist. Both
 * are noted as a number (entry->live, dir->complete) that must equal dir->live. The number is this
 * mount's own, given anew whenever the client's epoch is another one, so that it never comes back:
 * no knowledge outlives a lapse, an end of the watch, a new watch or a move to another directory.
 * Names of links are not known (their inode's row may lie in another group); they live by their
 * time as before. The volume's root is in no directory: its row lies in its own group, so that its own
 * watch tells of it (root_live).
 *
 * WHY IT IS SOUND. Say a read was begun at S (a time taken before it was sent), and counts as
 * knowledge at its end E. Asked of it are
 *   (1) S > live_since, and the watch is live at E under that number: it was so without a break, or
 *       began with what the owners were asked before S (kith_watch_since), so every change that was
 *       stored after live_since is told or on its way here;
 *   (2) no event named it (or named nothing) at or after S: an event between S and E may be of a
 *       change that the read did not see yet. Events come before the callback of any read that was
 *       begun after them; one that comes later than E is of a change that the read may have seen
 *       or not, and makes the name unknown then, which is right in both cases;
 *   (3) S > hold_until, see OWN CHANGES; and the answer was not degraded.
 * Then it is what client.h vouches for (common/client/watch.c proves it): what a quorum would say
 * now, but for events on their way. THE BOUND of close-to-open between mounts is the way of one
 * message from the node that stored a change first, sent before it answers or counts as a copy, to
 * here, and the turns of the threads that handle it: well below a millisecond where these have a core
 * (with three nodes and both mounts on two busy cores 0.7 to 3.5 ms were measured, one in ten above
 * 10). A node that is silent instead ends the watch (3 s at most). That is what an open() from memory promises instead of a quorum read; and the context
 * that it takes is that of the very row which it shows (entry->ctx, moved on by this mount's own
 * puts).
 *
 * Of names instead of one: a scan begun at S of which all pages are in the table. What it did not
 * see does not exist; names told meanwhile have entries of their own that are unknown (made by the
 * event), and a name without an entry is not there. Whoever takes an entry out of the table ends
 * completeness, but for entries that are known to be missing; and where that is done during a scan
 * (a large directory is one the table may not hold) the scan does not show the table complete.
 *
 * OWN CHANGES are not told. Every put that succeeded is in the tables by itself, so what was known
 * stays known; what was not does not become so, for the row may have other versions beside ours.
 * After a put that failed or whose outcome is unknown the name is not known any more; nor does a
 * read begun within UNKNOWN_HOLD_NS make it so, for the put may be carried out yet and nobody
 * would tell. (Puts of a file's row go again under the same request id until they succeed:
 * inode->retry_at shows that one failed.)
 *
 * THE KERNEL gets the same timeouts as without a watch (1 s, none for missing names) and is told
 * to ask again for every name of an event that it may have. Where that is lost the timeouts do it.
 *
 * Threads: all under fs->lock; client.h's functions are called without it, but for
 * kith_watch_epoch. Events come on the client's threads. Checked by tests/unit/test_watch.c and
 * tests/integration/test_watch.sh. */
#include <string.h>

#include "fs/files/files.h"
#include "fs/fs.h"
#include "fs/hook/hook.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/tables/tables.h"

#define WATCHES_MAX   8192u /* half of what a client may hold */
#define WATCHES_SPARE 512u  /* above MAX - SPARE the least recently used go */
#define IDLE_NS       (300 * NSEC_PER_SEC) /* not used for so long: ended */
#define VAIN_NS       (5 * NSEC_PER_SEC)   /* not used for so long, and told VAIN_MAX changes: ended */
#define VAIN_MAX      64u
#define USED_GRAIN_NS NSEC_PER_SEC /* the order of use is no finer */
/* With a hook (hook.h) changes are to be told also of what nobody looks at: a directory is watched from
 * the first question on, until nobody has used it for HOOK_IDLE_NS, and longer while nodes are away. */
#define HOOK_IDLE_NS  (3600 * NSEC_PER_SEC)
#define HOOK_MOST     1024u /* that were used last are looked through when their watch is live again */
#define ASKED_MIN     2u /* questions within ASKED_NS that make a directory worth a watch */
#define ASKED_NS      NSEC_PER_SEC
#define LISTED_NS     (10 * NSEC_PER_SEC) /* the same for a second listing, where watches are short */
#define UNKNOWN_HOLD_NS                                                                            \
    (60 * NSEC_PER_SEC) /* a node that comes back hands over within that */

struct kith_dir_watch {
    struct kith_dir_watch *prev, *next; /* in the watcher's list */
    struct kith_fs *fs;
    struct kith_inode *dir; /* one ref */
    struct kith_watch *handle;
    uint64_t epoch; /* the client's, to which dir->live belongs; 0: to none */
    uint64_t hook_epoch; /* the same, for which the hook was told to look through it */
    uint64_t used_at;
    uint32_t vain; /* changes that were told since */
};

struct kith_watcher {
    struct kith_dir_watch *first, *last; /* used last and longest ago */
    uint32_t count; /* those that are being begun included */
    uint64_t live;  /* the last number given */
    /* the volume's root, where that is the mount's: as an entry's live, told_at and hold_until */
    uint64_t root_live, root_told_at, root_hold_until;
    uint64_t begun, events, asked, scans;
    uint64_t lapses; /* noticed: where nobody asks, nobody notices */
    uint64_t saved[KITH_SAVED_COUNT];
};

/* ---- Knowledge ---- */

static void list_take(struct kith_watcher *watcher, struct kith_dir_watch *watch)
{
    *(watch->prev != NULL ? &watch->prev->next : &watcher->first) = watch->next;
    *(watch->next != NULL ? &watch->next->prev : &watcher->last) = watch->prev;
    watch->prev = watch->next = NULL;
}

static void list_put_first(struct kith_watcher *watcher, struct kith_dir_watch *watch)
{
    watch->next = watcher->first;
    *(watch->next != NULL ? &watch->next->prev : &watcher->last) = watch;
    watcher->first = watch;
}

static void list_put_last(struct kith_watcher *watcher, struct kith_dir_watch *watch)
{
    watch->prev = watcher->last;
    *(watch->prev != NULL ? &watch->prev->next : &watcher->first) = watch;
    watcher->last = watch;
}

static void used(struct kith_dir_watch *watch)
{
    uint64_t now = kith_mono_ns();
    if (now - watch->used_at > USED_GRAIN_NS || watch->vain >= VAIN_MAX) {
        list_take(watch->fs->watcher, watch);
        list_put_first(watch->fs->watcher, watch);
    }
    watch->used_at = now;
    watch->vain = 0;
}

/* A change was told that nobody may ever ask for: after many it is the first to be looked at. */
static void told_in_vain(struct kith_dir_watch *watch)
{
    if (++watch->vain == VAIN_MAX) {
        list_take(watch->fs->watcher, watch);
        list_put_last(watch->fs->watcher, watch);
    }
}

uint64_t kith_watch_live(struct kith_inode *dir)
{
    struct kith_dir_watch *watch = dir->dir->watch;
    if (watch == NULL) {
        return 0;
    }
    uint64_t epoch = kith_watch_epoch(watch->handle);
    used(watch);
    if (epoch != watch->epoch) {
        watch->fs->watcher->lapses += watch->epoch != 0 ? 1 : 0;
        watch->epoch = epoch;
        uint64_t since = epoch == 0 ? 0 : kith_watch_since(watch->handle, epoch);
        dir->dir->live = epoch == 0 ? 0 : ++watch->fs->watcher->live;
        dir->dir->live_since = since != 0 ? since : watch->used_at;
        dir->dir->large = false;
        dir->dir->questions = 0;
        kith_pack_drop(dir);
        kith_log_debug("watch", "directory %llx: %s", (unsigned long long)dir->id,
                       epoch != 0 ? "live" : "lapsed");
    }
    return dir->dir->live;
}

bool kith_watch_knows(const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    if (entry->live == 0 || entry->link || !kith_entry_current(entry) ||
        (inode != NULL && inode->retry_at != 0)) {
        return false;
    }
    return entry->live == kith_watch_live(entry->dir);
}

/* Its row lies in its own group: the volume's root. */
static bool is_root(const struct kith_fs *fs, const struct kith_inode *inode)
{
    return fs->watcher != NULL && inode == fs->root && inode->entry == NULL;
}

static bool knows_root(struct kith_inode *root)
{
    const struct kith_dir_watch *watch = root->dir->watch;
    return watch != NULL && is_root(watch->fs, root) && root->retry_at == 0 &&
           watch->fs->watcher->root_live != 0 &&
           watch->fs->watcher->root_live == kith_watch_live(root);
}

bool kith_watch_knows_inode(struct kith_inode *inode)
{
    if (inode->entry == NULL) {
        return inode->dir != NULL && knows_root(inode);
    }
    return inode->entry->inode == inode && !inode->unlinked && kith_watch_knows(inode->entry);
}

bool kith_watch_complete(struct kith_inode *dir)
{
    return dir->dir->complete != 0 && dir->dir->complete == kith_watch_live(dir);
}

struct kith_entry *kith_watch_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct kith_entry *entry = kith_entry_find(dir, name);
    if (entry == NULL && kith_watch_complete(dir)) {
        entry = kith_dir_missing(fs, dir, name, 0);
    } else if (entry == NULL) {
        entry = kith_pack_entry(fs, dir, name);
        entry = entry != NULL ? entry : kith_near_missing(fs, dir, name);
    }
    return entry != NULL && kith_watch_knows(entry) ? entry : NULL;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t kith_watch_until(const struct kith_fs *fs, const struct kith_entry *entry,
                          uint64_t started)
{
    bool told = entry != NULL && later(entry->told_at, entry->dir->dir->told_at) >= started;
    return told ? 0 : started + fs->entry_ns;
}

void kith_watch_saw(struct kith_entry *entry, uint64_t started, bool sure)
{
    struct kith_inode *inode = entry->inode;
    struct kith_dir *dir = entry->dir->dir;
    uint64_t live = dir->watch != NULL && sure ? kith_watch_live(entry->dir) : 0;
    uint64_t hold = later(entry->hold_until, dir->hold_until);
    uint64_t told = later(entry->told_at, dir->told_at);
    if (sure && inode != NULL && inode->retry_at < started && !kith_inode_dirty(inode)) {
        inode->retry_at = 0; /* what failed then is settled: this is the row */
    }
    entry->live = started > dir->live_since && started > hold && started > told ? live : 0;
}

void kith_watch_saw_root(struct kith_fs *fs, uint64_t started, bool sure)
{
    struct kith_inode *root = fs->root;
    struct kith_watcher *watcher = fs->watcher;
    if (!is_root(fs, root)) {
        return;
    }
    const struct kith_dir *dir = root->dir;
    uint64_t live = sure && dir->watch != NULL ? kith_watch_live(root) : 0;
    uint64_t told = later(watcher->root_told_at, dir->told_at);
    if (sure && root->retry_at < started) {
        root->retry_at = 0;
    }
    bool counts = started > dir->live_since && started > watcher->root_hold_until && started > told;
    watcher->root_live = counts ? live : 0;
}

bool kith_watch_counts(const struct kith_inode *inode, uint64_t started)
{
    const struct kith_dir *dir = inode->dir;
    return started > dir->live_since && started > dir->hold_until && started > dir->told_at;
}

void kith_watch_scanned(struct kith_inode *inode, uint64_t started)
{
    struct kith_dir *dir = inode->dir;
    uint64_t live = kith_watch_live(inode);
    bool counts = kith_watch_counts(inode, started) && started > dir->evicted_at;
    dir->complete = counts ? live : 0;
    dir->complete_from = started;
    if (dir->watch != NULL) {
        dir->watch->fs->watcher->scans++;
    }
}

void kith_watch_doubt(struct kith_entry *entry)
{
    uint64_t now = kith_mono_ns();
    entry->live = 0;
    entry->hold_until = now + UNKNOWN_HOLD_NS;
    entry->dir->dir->doubt_at = now;
}

void kith_watch_doubt_inode(struct kith_fs *fs, struct kith_inode *inode)
{
    if (inode->entry != NULL) {
        kith_watch_doubt(inode->entry);
    } else if (is_root(fs, inode)) {
        fs->watcher->root_live = 0;
        fs->watcher->root_hold_until = kith_mono_ns() + UNKNOWN_HOLD_NS;
    }
}

void kith_watch_evicts(struct kith_entry *entry)
{
    struct kith_dir *dir = entry->dir->dir;
    bool missing = entry->inode == NULL && entry->live != 0 && entry->live == dir->complete;
    if (!missing) {
        dir->complete = 0;
        dir->evicted_at = kith_mono_ns();
    }
    kith_near_evicts(entry);
    /* what has to be remembered of it */
    dir->hold_until = later(dir->hold_until, entry->hold_until);
    if (!kith_pack_evicts(entry)) {
        dir->told_at = later(dir->told_at, entry->told_at);
    }
}

bool kith_watch_holds(const struct kith_entry *entry)
{
    const struct kith_dir *dir = entry->dir->dir;
    return entry->inode != NULL && dir->watch != NULL && dir->complete != 0 &&
           dir->complete == dir->live;
}

void kith_watch_saved(struct kith_fs *fs, enum kith_watch_saving what)
{
    if (fs->watcher != NULL) {
        fs->watcher->saved[what]++;
    }
}

/* ---- Events ---- */

/* Anything may have changed. */
static void told_all(struct kith_dir_watch *watch, uint64_t now)
{
    struct kith_dir *dir = watch->dir->dir;
    watch->epoch = 0; /* a new number when it is looked at next */
    kith_pack_drop(watch->dir);
    dir->live = dir->complete = 0;
    dir->complete_until = 0;
    dir->told_at = dir->doubt_at = now;
    watch->hook_epoch = kith_hook_told_all(watch->fs, watch->dir) ? watch->hook_epoch : 0;
}

/* The kernel's copy of a name is old. */
static void tell_kernel(struct kith_fs *fs, const struct kith_entry *entry)
{
    if (entry->inode != NULL && entry->inode->nlookup > 0) {
        kith_notify_entry(fs->notifier, kith_inode_ino(fs, entry->dir), entry->name,
                          entry->name_size, true);
    }
}

static void told_entry(struct kith_fs *fs, struct kith_entry *entry, uint64_t now)
{
    entry->live = 0;
    entry->told_at = entry->dir->dir->doubt_at = now;
    entry->valid_until = 0; /* what is unsent counts all the same: kith_entry_valid */
    entry->fresh_tid = 0;
    if (entry->inode != NULL) {
        entry->inode->valid_until = 0;
        kith_inode_follow_soon(fs, entry->inode, NULL);
    }
    tell_kernel(fs, entry);
}

/* The directory's own row, or its attributes: they show in its name above, the root's in itself. */
static void told_self(struct kith_fs *fs, struct kith_inode *dir, uint64_t now)
{
    dir->valid_until = 0;
    if (dir->entry != NULL && dir->entry->inode == dir) {
        told_entry(fs, dir->entry, now);
    } else if (is_root(fs, dir)) {
        fs->watcher->root_live = 0;
        fs->watcher->root_told_at = now;
    }
}

static void told_inode(struct kith_fs *fs, struct kith_inode *dir, struct kith_inode *inode,
                       uint64_t now)
{
    if (inode == NULL) {
        return;
    }
    inode->valid_until = 0;
    for (uint32_t i = 0; i < inode->name_count; i++) {
        char name[KITH_FS_NAME_MAX + 1];
        struct kith_bytes bytes = inode->names[i].name;
        memcpy(name, bytes.data, bytes.size);
        name[bytes.size] = '\0';
        struct kith_entry *entry = kith_entry_find(dir, name);
        if (entry != NULL && entry->inode == inode) {
            told_entry(fs, entry, now);
            kith_hook_told(fs, entry);
        }
    }
}

/* The row that names of this directory share. */
static void told_shared(struct kith_fs *fs, struct kith_inode *dir, uint64_t id, uint64_t now)
{
    struct kith_inode *placed;
    (void)kith_seen_place_id(fs, id, &dir->dir->group, &placed);
    told_inode(fs, dir, kith_inode_find(fs, id), now);
    told_inode(fs, dir, placed, now);
}

static void told_name(struct kith_dir_watch *watch, struct kith_bytes row, uint64_t now)
{
    struct kith_fs *fs = watch->fs;
    struct kith_rowname_parts parts;
    kith_log_debug("watch", "told of %.*s", (int)row.size, (const char *)row.data);
    char name[KITH_FS_NAME_MAX + 1];
    if (kith_rowname_parse(row, &parts) != KITH_OK) {
        return; /* of a later version: nothing of it is in the tables */
    }
    struct kith_rowname_parts base = parts; /* an attribute row's may be any of the other kinds */
    if (kith_rowname_parse(parts.base, &base) != KITH_OK || base.base.size > KITH_FS_NAME_MAX) {
        return;
    }
    if (base.kind == KITH_ROWNAME_SHARED) {
        told_shared(fs, watch->dir, base.file_id, now);
    } else if (base.base.size == 0) {
        told_self(fs, watch->dir, now);
    } else {
        memcpy(name, base.base.data, base.base.size);
        name[base.base.size] = '\0';
        struct kith_entry *entry = kith_entry_make(fs, watch->dir, name, base.base.size);
        if (entry == NULL) {
            told_all(watch, now);
        } else {
            told_entry(fs, entry, now);
            if (parts.kind == KITH_ROWNAME_ENTRY) { /* attributes are in no conflict */
                kith_hook_told(fs, entry);
            }
        }
    }
}

static void on_event(void *arg, const struct kith_bytes *names, uint32_t count)
{
    struct kith_dir_watch *watch = arg;
    pthread_mutex_lock(&watch->fs->lock);
    uint64_t now = kith_mono_ns();
    watch->fs->watcher->events++;
    /* not just being begun or ended; and the hook asks for each */
    if (watch->dir->dir->watch == watch && watch->fs->hook == NULL) {
        told_in_vain(watch);
    }
    if (count == 0) {
        told_all(watch, now);
    }
    for (uint32_t i = 0; i < count; i++) {
        told_name(watch, names[i], now);
    }
    pthread_mutex_unlock(&watch->fs->lock);
}

/* ---- Beginning and ending ---- */

static bool may_begin(struct kith_fs *fs, const struct kith_inode *dir)
{
    struct kith_watcher *watcher = fs->watcher;
    return watcher != NULL && watcher->count < WATCHES_MAX && dir->dir->watch == NULL &&
           !dir->dir->watch_begins && !dir->dir->removed;
}

/* It will be begun: kith_watch_begin follows. */
static void will_begin(struct kith_fs *fs, struct kith_inode *dir)
{
    dir->dir->watch_begins = true;
    kith_inode_hold(dir);
    if (++fs->watcher->count > WATCHES_MAX - WATCHES_SPARE) {
        kith_timer_wake(fs->timer);
    }
}

bool kith_watch_asked(struct kith_fs *fs, struct kith_inode *inode, bool listing)
{
    struct kith_dir *dir = inode->dir;
    uint64_t now = kith_mono_ns();
    if (fs->watcher != NULL && !listing) {
        fs->watcher->asked++;
    }
    if (dir != NULL && dir->watch != NULL && !listing) {
        return kith_dir_ahead_due(fs, inode);
    }
    if (dir == NULL || !may_begin(fs, inode)) {
        return false;
    }
    if (now - dir->asked_since > ASKED_NS) {
        dir->asked_since = now;
        dir->asked = 0;
    }
    bool worth = ++dir->asked >= ASKED_MIN || (fs->hook != NULL && !listing);
    if (listing) { /* a walk through a large tree ends no watch that is of use */
        worth = worth || fs->watcher->count < WATCHES_MAX - WATCHES_SPARE ||
                (dir->listed_at != 0 && now - dir->listed_at < LISTED_NS);
        dir->listed_at = now;
    }
    if (worth) {
        will_begin(fs, inode);
    }
    return worth;
}

static void begin(struct kith_fs *fs, struct kith_inode *dir)
{
    struct kith_dir_watch *watch = kith_calloc(1, sizeof *watch);
    if (watch != NULL) {
        watch->fs = fs;
        watch->dir = dir;
        watch->used_at = kith_mono_ns();
        watch->handle = kith_client_watch(fs->client, &dir->dir->group, on_event, watch);
    }
    pthread_mutex_lock(&fs->lock);
    dir->dir->watch_begins = false;
    if (watch != NULL && watch->handle != NULL) {
        struct kith_watcher *watcher = fs->watcher;
        watcher->begun++;
        list_put_first(watcher, watch);
        dir->dir->watch = watch;
        dir->dir->live = dir->dir->complete = 0;
    } else {
        kith_free(watch);
        fs->watcher->count--;
        kith_inode_drop(fs, dir);
    }
    pthread_mutex_unlock(&fs->lock);
}

void kith_watch_begin(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    bool begins = dir->dir->watch_begins;
    pthread_mutex_unlock(&fs->lock);
    if (begins) {
        begin(fs, dir);
    } else {
        kith_dir_ahead(fs, dir);
    }
}

void kith_watch_made(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    dir->dir->complete_from = kith_mono_ns();
    bool begin = may_begin(fs, dir);
    if (begin) {
        will_begin(fs, dir);
    }
    pthread_mutex_unlock(&fs->lock);
    if (begin) {
        kith_watch_begin(fs, dir);
    }
}

static bool is_idle(const struct kith_fs *fs, const struct kith_dir_watch *watch, uint64_t now)
{
    uint64_t idle_ns = watch->vain < VAIN_MAX ? IDLE_NS : VAIN_NS;
    if (fs->hook != NULL) {
        idle_ns = HOOK_IDLE_NS;
    }
    bool away = fs->hook != NULL && kith_watch_epoch(watch->handle) == 0;
    return !away && now > watch->used_at + idle_ns;
}

/* fs->lock held. The least recently used where it should end, out of the list; else NULL. */
static struct kith_dir_watch *take_idle(struct kith_fs *fs, uint64_t now, bool all)
{
    struct kith_watcher *watcher = fs->watcher;
    struct kith_dir_watch *oldest = watcher->last;
    bool many = watcher->count > WATCHES_MAX - WATCHES_SPARE;
    if (oldest == NULL) {
        return NULL;
    }
    if (!all && !many && !is_idle(fs, oldest, now)) {
        return NULL;
    }
    list_take(watcher, oldest);
    watcher->count--;
    struct kith_dir *dir = oldest->dir->dir;
    kith_pack_drop(oldest->dir);
    dir->watch = NULL;
    dir->live = dir->complete = 0;
    return oldest;
}

static void end_idle(struct kith_fs *fs, uint64_t now, bool all)
{
    for (;;) {
        pthread_mutex_lock(&fs->lock);
        struct kith_dir_watch *watch = take_idle(fs, now, all);
        pthread_mutex_unlock(&fs->lock);
        if (watch == NULL) {
            return;
        }
        kith_client_unwatch(fs->client, watch->handle);
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, watch->dir);
        pthread_mutex_unlock(&fs->lock);
        kith_free(watch);
    }
}

/* What has changed while a watch was not live nobody tells. */
static void look_through(struct kith_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_dir_watch *watch = fs->hook != NULL ? fs->watcher->first : NULL;
    for (uint32_t i = 0; watch != NULL && i < HOOK_MOST; i++, watch = watch->next) {
        uint64_t epoch = kith_watch_epoch(watch->handle);
        if (epoch != 0 && epoch != watch->hook_epoch) {
            if (!kith_hook_told_all(fs, watch->dir)) {
                break; /* as many wait as can: the next time */
            }
            watch->hook_epoch = epoch;
        }
    }
    pthread_mutex_unlock(&fs->lock);
}

bool kith_watch_saw_all(const struct kith_inode *inode)
{
    const struct kith_dir *dir = inode->dir;
    const struct kith_dir_watch *watch = dir->watch;
    return watch != NULL && watch->epoch != 0 && watch->epoch == kith_watch_epoch(watch->handle) &&
           dir->complete != 0 && dir->complete == dir->live;
}

void kith_watch_tick(struct kith_fs *fs, uint64_t now)
{
    if (fs->watcher != NULL) {
        look_through(fs);
        end_idle(fs, now, false);
    }
}

enum kith_err kith_watcher_new(struct kith_fs *fs, struct kith_watcher **ret_watcher)
{
    (void)fs;
    *ret_watcher = kith_calloc(1, sizeof **ret_watcher);
    return *ret_watcher == NULL ? KITH_ENOMEM : KITH_OK;
}

void kith_watcher_free(struct kith_fs *fs)
{
    struct kith_watcher *watcher = fs->watcher;
    if (watcher == NULL) {
        return;
    }
    end_idle(fs, 0, true);
    const uint64_t *saved = watcher->saved;
    if (watcher->begun > 0) {
        kith_log_info("watch",
                      "%llu directories watched, %llu events; asked: %llu names, %llu scans; from "
                      "memory: %llu lookups, %llu new names, %llu opens, %llu attributes",
                      (unsigned long long)watcher->begun, (unsigned long long)watcher->events,
                      (unsigned long long)watcher->asked, (unsigned long long)watcher->scans,
                      (unsigned long long)saved[KITH_SAVED_LOOKUP],
                      (unsigned long long)saved[KITH_SAVED_NEW],
                      (unsigned long long)saved[KITH_SAVED_OPEN],
                      (unsigned long long)saved[KITH_SAVED_ATTR]);
    }
    fs->watcher = NULL;
    kith_free(watcher);
}

void kith_watch_figures(const struct kith_fs *fs, struct kith_watch_figures *ret_figures)
{
    const struct kith_watcher *watcher = fs->watcher;
    memset(ret_figures, 0, sizeof *ret_figures);
    if (watcher == NULL) {
        return;
    }
    ret_figures->begun = watcher->begun;
    ret_figures->events = watcher->events;
    ret_figures->lapses = watcher->lapses;
    memcpy(ret_figures->saved, watcher->saved, sizeof ret_figures->saved);
    const struct kith_dir_watch *watch = watcher->first;
    while (watch != NULL) {
        ret_figures->watched++;
        ret_figures->live += kith_watch_epoch(watch->handle) != 0 ? 1 : 0;
        watch = watch->next;
    }
}
