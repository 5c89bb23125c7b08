/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_read.h - the rows of a partition from the cluster: every owner that answers is asked, in turn
 * (backup_state.h). One thread. */
#ifndef KITH_CTL_BACKUP_READ_H
#define KITH_CTL_BACKUP_READ_H

#include "ctl/ask/door.h"
#include "ctl/backup/backup_ask.h"
#include "ctl/backup/backup_limit.h"
#include "ctl/backup/backup_state.h"

struct kith_backup_reader {
    struct kith_client *client; /* the caller's, as is the limit */
    struct kith_backup_limit *limit;
    uint32_t timeout_ms; /* of a question */
    struct kith_backup_asker *asker;
    struct kith_table *table; /* by which owners are asked */
    struct kith_arena arena;  /* of the view */
    struct kith_client_view view;
    struct kith_msg_box *box; /* the last answer */
    const char *address;      /* of who is asked */
    uint32_t partition;       /* that is read */
    bool stale;               /* somebody has a newer table, which is used from now on */
    uint64_t bytes;           /* received */
};

/* What came of a partition. */
struct kith_backup_took {
    uint32_t owners, answered, settled; /* settled among those that answered */
    uint32_t need;                      /* so many, and every acknowledged write is in */
    struct kith_error error;            /* of the last one that did not answer */
    char restless[KITH_ADDRESS_SIZE];   /* one that is not settled */
};

KITH_MUST_CHECK enum kith_err kith_backup_reader_init(struct kith_backup_reader *reader,
                                                      struct kith_client *client,
                                                      struct kith_backup_limit *limit,
                                                      uint32_t timeout_ms,
                                                      struct kith_error *error);
void kith_backup_reader_release(struct kith_backup_reader *reader);

/* Takes the partition's rows into state's MERGED, from the beginning. That owners do not answer is told
 * in *ret_took, and is no error; EPERM is: none would. */
KITH_MUST_CHECK enum kith_err kith_backup_read(struct kith_backup_reader *reader,
                                               struct kith_backup_state *state,
                                               struct kith_backup_took *ret_took,
                                               struct kith_error *error);

#endif
