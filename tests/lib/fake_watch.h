/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_watch.h - the watches of a cluster in memory, for fake_client.c only; tests use
 * fake_client.h.
 *
 * A lock of its own: nothing else is taken under it, and no callback runs under it. */
#ifndef KITH_TESTS_LIB_FAKE_WATCH_H
#define KITH_TESTS_LIB_FAKE_WATCH_H

#include <pthread.h>

#include "client/client.h"

struct fake_watches {
    pthread_mutex_t lock;
    pthread_cond_t quiet;     /* a callback ended */
    struct kith_watch *first; /* protected by lock, as all below */
    uint32_t count;
    bool live;
};

void fake_watches_init(struct fake_watches *watches);
/* All must have been ended. */
void fake_watches_release(struct fake_watches *watches);
/* Tells the watches on the group, but those of `maker` (NULL: all), that the rows changed. */
uint32_t fake_watches_tell(struct fake_watches *watches, const struct kith_client *maker,
                           const struct kith_group *group, const struct kith_bytes *names,
                           uint32_t count);
/* See kith_fake_set_watches, kith_fake_watches. */
void fake_watches_set_live(struct fake_watches *watches, bool live);
uint32_t fake_watches_count(struct fake_watches *watches);
/* Those of the client's cluster. */
struct fake_watches *fake_watches_of(struct kith_client *client);

#endif
