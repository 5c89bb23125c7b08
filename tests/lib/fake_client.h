/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake_client.h - client.h in memory: a cluster of one coordinator, for tests without a cluster.
 *
 * Defines every function of client/client.h (but those of answer.c), so link it before kith_client.
 * Rows carry real dotted version vectors (data/row.h), chunks are verified and know whether they
 * were flushed. Several clients may share one cluster: two mounts. A request completes on a thread
 * of its client after the delay, in the order of completion times; several submitted together
 * overlap.
 *
 * Any thread. kith_client_close frees a client; the cluster is freed after its clients. */
#ifndef KITH_TESTS_LIB_FAKE_CLIENT_H
#define KITH_TESTS_LIB_FAKE_CLIENT_H

#include "client/client.h"

struct kith_fake_cluster;

/* NULL when memory is short. */
KITH_MUST_CHECK struct kith_fake_cluster *kith_fake_cluster_new(void);
void kith_fake_cluster_free(struct kith_fake_cluster *cluster);
/* `writer` is "user@host". NULL when memory is short. */
KITH_MUST_CHECK struct kith_client *kith_fake_client_new(struct kith_fake_cluster *cluster,
                                                         const char *writer);

/* Every request takes this long (us). Default 0: at once, yet on the client's thread. */
void kith_fake_set_delay(struct kith_fake_cluster *cluster, uint32_t delay_us);
/* Requests of `kind` (0 = all) are kept unanswered while held; `false` lets them go on. */
void kith_fake_hold(struct kith_fake_cluster *cluster, enum kith_client_kind kind, bool held);
/* Every request ends with EUNREACH; kith_client_writable says no. */
void kith_fake_set_unreachable(struct kith_fake_cluster *cluster, bool unreachable);
/* After `after` more requests of `kind` the next `count` end with `err`. With `apply` they take
 * effect all the same (an EUNKNOWN that did happen). A later call for the same kind replaces the
 * earlier one. */
void kith_fake_fail_later(struct kith_fake_cluster *cluster, enum kith_client_kind kind,
                          uint32_t after, uint32_t count, enum kith_err err, bool apply);
static inline void kith_fake_fail_next(struct kith_fake_cluster *cluster,
                                       enum kith_client_kind kind, uint32_t count,
                                       enum kith_err err, bool apply)
{
    kith_fake_fail_later(cluster, kind, 0, count, err, apply);
}
/* Stores a row in the group of the put that `client` has waiting (held), as another client would
 * who was quicker. False where none waits, or memory is short. */
bool kith_fake_intrude(struct kith_fake_cluster *cluster, const struct kith_client *client,
                       struct kith_bytes name, struct kith_bytes value);
/* Shows each row that there is, by group and name, tombstones too. `each` must not call the
 * cluster. */
void kith_fake_each_row(struct kith_fake_cluster *cluster,
                        void (*each)(void *arg, struct kith_bytes name, const struct kith_row *row),
                        void *arg);
/* Loses all chunks that were stored at `os` and not synced, as by a power cut; says how many. */
uint32_t kith_fake_lose_unsynced(struct kith_fake_cluster *cluster);
/* Removes one chunk; false where it is not there. */
bool kith_fake_lose_chunk(struct kith_fake_cluster *cluster, const struct kith_chunk_id *id);
/* A chunk is swept: from now on no lease is granted for it, and a put that names it is REFUSED.
 * doomed: it can be read still. */
void kith_fake_sweep_chunk(struct kith_fake_cluster *cluster, const struct kith_chunk_id *id,
                           bool doomed);
/* Sweeps up to `most` chunks of that size; says how many. */
uint32_t kith_fake_sweep_sized(struct kith_fake_cluster *cluster, size_t size, uint32_t most);
/* Whether a chunk is there, and (with disk) flushed. */
bool kith_fake_has_chunk(struct kith_fake_cluster *cluster, const struct kith_chunk_id *id,
                         bool disk);

/* ---- Watches ---- */

/* Whether watches are live: all that are held, and new ones at once. At first they are not. Live
 * again after they were not: another epoch. A lapse in between is `false` and then `true`. */
void kith_fake_set_watches(struct kith_fake_cluster *cluster, bool live);
/* Tells all watches on the group (NULL: all there are) that these rows changed (count 0: any), on
 * this thread; says how many watches were told. What another client of the cluster puts, and what
 * is put with kith_fake_intrude, is told by itself, before the put's callback; live or not. */
uint32_t kith_fake_tell(struct kith_fake_cluster *cluster, const struct kith_group *group,
                        const struct kith_bytes *names, uint32_t count);
/* Watches held now, by all clients. */
uint32_t kith_fake_watches(struct kith_fake_cluster *cluster);

struct kith_fake_counts {
    uint64_t ops[KITH_CLIENT_KINDS]; /* requests that were executed, by kind */
    uint64_t chunks, chunk_bytes;         /* stored now */
    uint64_t put_updates;                 /* rows in all puts */
    uint64_t leased;                      /* chunks in all leases */
    uint64_t conflicts;                   /* puts after which a row had more than one version */
    uint32_t under_way, under_way_max;    /* requests */
    uint32_t calling;                     /* callbacks that run */
};
void kith_fake_counts(struct kith_fake_cluster *cluster, struct kith_fake_counts *ret_counts);

#endif
