/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watching.h - what the client's core keeps of watches: leases of nodes, promises, and what rests on
 * them. For core.h; the functions are watch.c's and promise.c's. */
#ifndef KITH_CLIENT_WATCHING_H
#define KITH_CLIENT_WATCHING_H

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "data/quorum.h"
#include "data/table.h"

struct cc_peer;

/* What a node has promised to tell of watched groups, all under one lease; promise.c. */
struct cc_lease {
    uint64_t session;  /* the node's number of it; 0: it has promised nothing */
    uint64_t until_ms; /* its promises count until then; 0: none does */
    uint64_t ask_id;   /* of the renewal under way; 0 = none */
    uint64_t conn;     /* that it was sent on */
    uint64_t asked_ms;
    uint64_t asked;    /* core->order when it was sent */
    uint64_t again;    /* the same of the request by which it goes on after it was over here */
    uint64_t at_ms;    /* renew then, or count the answer as missing; CC_NEVER: nothing is promised */
    uint32_t pause_ms; /* before it is asked again after a failure; 0 = there was none */
    bool late;         /* it has not answered, and is asked after the pause */
    bool wanted;       /* there are watches that rest on it; only inside cc_watches_tick */
    uint32_t ended_count, ended_capacity;
    struct kith_group *ended; /* no more of use, and the node does not know that yet */
};

/* What one owner of a watched group has promised, by its peer's lease; watch.c. */
struct cc_promise {
    struct cc_peer *peer;
    uint64_t ask_id; /* of the WATCH_REQ under way; 0 = none */
    uint64_t conn;   /* that it was sent on */
    uint64_t asked_ms;
    uint64_t asked;   /* core->order when it was sent */
    uint64_t session; /* of the lease, in which it was promised; 0: it was not, or no more */
    uint64_t since;   /* held: reads of a higher order are answered under the promise */
    uint64_t at_ms;   /* ask then, or count the answer as missing; CC_NEVER: there is nothing to ask */
    uint32_t pause_ms; /* before it is asked again after a failure; 0 = there was none */
    bool late;         /* it has not answered, and is asked after the pause */
    bool held;         /* it tells changes, as long as the lease lasts */
    bool read;         /* it answered a read under the number that the watch has now */
    bool founder;      /* it has kept this promise since that number began */
};
struct cc_watch {
    struct cc_watch *chain; /* in its bucket */
    uint64_t tag;
    struct kith_group group;
    uint32_t index;
    uint32_t slots; /* of owners, in a move the next ones with them; 0 before there is a table */
    struct kith_quorum quorum; /* R of them */
    struct cc_promise owners[KITH_HOLDERS_MAX];
    uint64_t until_ms; /* live until then; 0 = not */
    uint64_t made;     /* core->order when it was begun and the owners were asked */
    uint64_t begun;    /* requests of a higher order began under the number it has now */
    bool old;          /* it was live before */
    bool first;        /* the number goes for all requests since `made` */
    bool broken;       /* what was read is not to be believed any more; only inside watch.c's calls */
    /* what is to be told at the end of the step */
    bool marked;
    struct cc_watch *marked_next;
    bool changed;
    uint32_t name_count;
    const struct kith_bytes *names; /* of the message of this step */
    bool tell_break;
    uint64_t told_ms; /* until_ms as the user knows it */
};
#define CC_WATCH_BUCKETS      8192u /* a power of two */
#define CC_WATCH_MARGIN_MS    100u  /* of a lease: clocks that differ by 3 % */
#define CC_WATCH_ANSWER_MS    1000u /* a WATCH_REQ unanswered for so long counts as lost */
#define CC_WATCH_PAUSE_MAX_MS 10000u
#define CC_WATCH_GRAIN_MS     25u
#define CC_WATCH_TELL_MS      250u /* until a lease that was prolonged shows in its watches */
#define CC_WATCH_ASKS_MAX     256u /* WATCH_REQs of one step; the others follow 1 ms later */
#define CC_WATCH_ENDED_MANY   1024u /* groups of no more use: the node is told before the renewal is due */
struct cc_watches {
    uint32_t count;
    uint32_t free; /* no index below it is free */
    uint64_t asked;   /* WATCH_REQs so far */
    uint64_t wake_ms; /* cc_watches_tick */
    struct cc_watch *marked;
    struct cc_watch *by_index[KITH_WATCHES_MAX];
    struct cc_watch *buckets[CC_WATCH_BUCKETS];
};

#endif
