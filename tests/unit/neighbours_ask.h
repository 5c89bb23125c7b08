/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * neighbours_ask.h - questions in a large directory of which a scan may bring the names behind the one that
 * is asked for. For test_neighbours.c and test_neighbours_model.c; include it after cmocka.h. */
#ifndef KITH_TESTS_NEIGHBOURS_ASK_H
#define KITH_TESTS_NEIGHBOURS_ASK_H

#include "large_place.h"

#define LARGE  40000u /* names: more than twice what a load brings */
#define MIDDLE 20000u /* behind all that a load, or a page, brings */
#define PAGE   KITH_PAGE_ROWS_MAX

/* ---- Questions ---- */

/* As the handler of LOOKUP: from memory. */
static inline struct kith_entry *known_entry(struct place *place, const char *name)
{
    struct kith_entry *entry = kith_entry_find(place->dir, name);
    entry = entry == NULL ? kith_watch_entry(place->fs, place->dir, name) : entry;
    return entry != NULL && kith_entry_valid(entry, kith_mono_ns()) ? entry : NULL;
}

static inline bool known(struct place *place, const char *name)
{
    pthread_mutex_lock(&place->fs->lock);
    bool is = known_entry(place, name) != NULL;
    pthread_mutex_unlock(&place->fs->lock);
    return is;
}

static uint32_t held; /* requests that are kept unanswered */

/* Until nothing else is under way any more. */
static inline void await_quiet(struct place *place)
{
    const struct timespec tick = {0, 100000};
    struct kith_fake_counts counts;
    bool quiet = false;
    while (!quiet) {
        kith_fake_counts(place->cluster, &counts);
        quiet = counts.under_way == held && counts.calling == 0;
        if (!quiet) {
            nanosleep(&tick, NULL);
        }
    }
}

static inline struct kith_job *job_for(struct place *place, const char *name)
{
    struct kith_job *job = kith_job_new(place->fs, NULL, kith_inode_ino(place->fs, place->dir), 0,
                                        kith_do_lookup);
    assert_non_null(job);
    snprintf(job->name, sizeof job->name, "%s", name);
    return job;
}

/* The id of the file that a LOOKUP finds, 0: there is none; ret_mode may be NULL. */
static inline uint64_t ask_mode(struct place *place, const char *name, mode_t *ret_mode)
{
    const struct timespec tick = {0, 100000};
    pthread_mutex_lock(&place->fs->lock);
    struct kith_entry *entry = known_entry(place, name);
    if (entry != NULL) {
        kith_near_used(entry);
    }
    pthread_mutex_unlock(&place->fs->lock);
    if (entry == NULL) {
        kith_start_lookup(job_for(place, name));
    }
    for (;;) {
        await_quiet(place);
        pthread_mutex_lock(&place->fs->lock);
        entry = known_entry(place, name);
        uint64_t id = entry != NULL && entry->inode != NULL ? entry->inode->id : 0;
        if (id != 0 && ret_mode != NULL) {
            *ret_mode = entry->inode->attrs.mode;
        }
        pthread_mutex_unlock(&place->fs->lock);
        if (entry != NULL) {
            return id;
        }
        nanosleep(&tick, NULL);
    }
}

static inline uint64_t ask(struct place *place, const char *name)
{
    return ask_mode(place, name, NULL);
}

static inline void ask_number(struct place *place, uint32_t number)
{
    char name[16];
    name_of(name, number);
    assert_int_equal(ask(place, name), FIRST_ID + number);
}

/* How many names from that one on are known without a question. */
static inline uint32_t known_from(struct place *place, uint32_t number)
{
    char name[16];
    uint32_t count = 0;
    for (name_of(name, number); known(place, name); name_of(name, number + count)) {
        count++;
    }
    return count;
}

/* The directory is watched, and known to be large. */
static inline void begin(struct place *place)
{
    assert_int_equal(found(place, "f00000"), 1);
    assert_int_equal(found(place, "f00001"), 1);
    assert_int_equal(found(place, "f00002"), 1);
    assert_true(place->dir->dir->large);
    count_anew(place);
}

/* A window of a page, which ends before the number. */
static inline uint32_t grow(struct place *place, uint32_t number)
{
    uint32_t brought = 0;
    while (brought < PAGE - 2) {
        ask_number(place, number);
        brought = known_from(place, number + 1);
        for (uint32_t i = 0; i <= brought; i++) {
            ask_number(place, number++);
        }
    }
    return number;
}

static inline int setup(void **state)
{
    int error = setup_with(state, LARGE);
    begin(*state);
    return error;
}

/* The next question begins a window. */
static inline void anew(struct place *place)
{
    kith_free(place->dir->dir->near);
    place->dir->dir->near = NULL;
}

/* The scan is there, and is not answered yet. */
static inline void hold_scan(struct place *place, const char *name)
{
    const struct timespec tick = {0, 100000};
    struct kith_fake_counts counts = {0};
    anew(place);
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, true);
    kith_start_lookup(job_for(place, name));
    while (counts.under_way == 0) {
        nanosleep(&tick, NULL);
        kith_fake_counts(place->cluster, &counts);
    }
    held = 1;
}

static inline void let_go(struct place *place)
{
    held = 0;
    kith_fake_hold(place->cluster, KITH_CLIENT_SCAN, false);
    await_quiet(place);
}

#endif
