/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_watch.c - see fake_watch.h and "Watches" in fake_client.h. */
#include "lib/fake_watch.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "lib/fake_client.h"

struct kith_watch {
    struct kith_watch *next;
    const struct kith_client *client;
    struct kith_group group;
    kith_client_watch_cb cb;
    void *arg;
    uint32_t calling; /* callbacks under way */
    uint64_t last;    /* the epoch that it has or had last */
    uint64_t made_ns; /* when it began live; 0: it did not */
    _Atomic(uint64_t) epoch;
};

void fake_watches_init(struct fake_watches *watches)
{
    KITH_ASSERT(pthread_mutex_init(&watches->lock, NULL) == 0);
    KITH_ASSERT(pthread_cond_init(&watches->quiet, NULL) == 0);
}

void fake_watches_release(struct fake_watches *watches)
{
    KITH_ASSERT(watches->first == NULL);
    pthread_cond_destroy(&watches->quiet);
    pthread_mutex_destroy(&watches->lock);
}

static void set_live(struct kith_watch *watch, bool live)
{
    bool was = atomic_load(&watch->epoch) != 0;
    if (live && !was) {
        atomic_store(&watch->epoch, ++watch->last);
    } else if (!live) {
        atomic_store(&watch->epoch, 0);
    }
}

void fake_watches_set_live(struct fake_watches *watches, bool live)
{
    pthread_mutex_lock(&watches->lock);
    watches->live = live;
    for (struct kith_watch *watch = watches->first; watch != NULL; watch = watch->next) {
        set_live(watch, live);
    }
    pthread_mutex_unlock(&watches->lock);
}

uint32_t fake_watches_count(struct fake_watches *watches)
{
    pthread_mutex_lock(&watches->lock);
    uint32_t count = watches->count;
    pthread_mutex_unlock(&watches->lock);
    return count;
}

uint32_t fake_watches_tell(struct fake_watches *watches, const struct kith_client *maker,
                           const struct kith_group *group, const struct kith_bytes *names,
                           uint32_t count)
{
    uint32_t told = 0;
    pthread_mutex_lock(&watches->lock);
    struct kith_watch *watch = watches->first;
    while (watch != NULL) {
        if ((maker != NULL && watch->client == maker) ||
            (group != NULL && kith_group_compare(&watch->group, group) != 0)) {
            watch = watch->next;
            continue;
        }
        watch->calling++; /* it stays in the list as long */
        pthread_mutex_unlock(&watches->lock);
        watch->cb(watch->arg, names, count);
        told++;
        pthread_mutex_lock(&watches->lock);
        struct kith_watch *next = watch->next;
        watch->calling--;
        pthread_cond_broadcast(&watches->quiet);
        watch = next;
    }
    pthread_mutex_unlock(&watches->lock);
    return told;
}

struct kith_watch *kith_client_watch(struct kith_client *client, const struct kith_group *group,
                                     kith_client_watch_cb cb, void *arg)
{
    struct fake_watches *watches = fake_watches_of(client);
    struct kith_watch *watch = kith_calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return NULL;
    }
    watch->client = client;
    watch->group = *group;
    watch->cb = cb;
    watch->arg = arg;
    uint32_t held = 0;
    pthread_mutex_lock(&watches->lock);
    for (const struct kith_watch *other = watches->first; other != NULL; other = other->next) {
        held += other->client == client;
    }
    if (held < KITH_WATCHES_MAX) {
        watch->next = watches->first;
        watches->first = watch;
        watches->count++;
        set_live(watch, watches->live);
        watch->made_ns = watches->live ? kith_mono_ns() : 0;
    }
    pthread_mutex_unlock(&watches->lock);
    if (held >= KITH_WATCHES_MAX) {
        kith_free(watch);
        return NULL;
    }
    return watch;
}

void kith_client_unwatch(struct kith_client *client, struct kith_watch *watch)
{
    struct fake_watches *watches = fake_watches_of(client);
    pthread_mutex_lock(&watches->lock);
    while (watch->calling > 0) {
        pthread_cond_wait(&watches->quiet, &watches->lock);
    }
    struct kith_watch **at = &watches->first;
    while (*at != watch) {
        KITH_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = watch->next;
    watches->count--;
    pthread_mutex_unlock(&watches->lock);
    kith_free(watch);
}

uint64_t kith_watch_epoch(const struct kith_watch *watch)
{
    return atomic_load(&watch->epoch);
}

uint64_t kith_watch_since(const struct kith_watch *watch, uint64_t epoch)
{
    return epoch == 1 ? watch->made_ns : 0;
}
