/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_chunks.h - chunks from the cluster, with all that they refer to: some at a time, each written
 * behind those that it refers to, so that one that is there has everything it needs there, too. */
#ifndef KITH_CTL_BACKUP_CHUNKS_H
#define KITH_CTL_BACKUP_CHUNKS_H

#include "client/client.h"
#include "ctl/backup/backup_limit.h"
#include "ctl/backup/backup_record.h"

#define KITH_BACKUP_CHUNKS_OUT 8u /* asked for at a time: 8 MiB of memory */

/* Where chunks go. */
struct kith_backup_sink {
    void *arg;
    bool (*has)(void *arg, const struct kith_chunk_id *id);
    enum kith_err (*put)(void *arg, const struct kith_backup_record *chunk,
                         struct kith_error *error);
    void (*progress)(void *arg, uint64_t bytes); /* that came */
};

struct kith_backup_ids { /* all zero at first */
    struct kith_chunk_id *ids;
    size_t count, capacity;
};
/* ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_backup_ids_add(struct kith_backup_ids *list,
                                                  const struct kith_chunk_id *ids, size_t count);
void kith_backup_ids_release(struct kith_backup_ids *list);

/* Fetches those of the ids that the sink has not, and all that they refer to. ENOTFOUND, naming the
 * first: no owner has one of them (any more); the others are there. Other errors end it. */
KITH_MUST_CHECK enum kith_err kith_backup_chunks(struct kith_client *client,
                                                 const struct kith_backup_ids *ids,
                                                 struct kith_backup_limit *limit,
                                                 const struct kith_backup_sink *sink,
                                                 struct kith_error *error);

#endif
