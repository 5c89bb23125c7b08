/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * limits.h - how much, how long and how often, for all files of the core. */
#ifndef KITH_CORE_LIMITS_H
#define KITH_CORE_LIMITS_H

#define KITH_STEP_TIMERS 64u /* pendings handled in one tick; the rest follows in the next, at once */
/* A pending makes at most one message for each other owner, one for who stands in for him, and one
 * answer; a ping round takes KITH_STEP_PINGS peers; what is proposed goes to every member, twice
 * where our own answer to it ends the phase. Everything else of a step is below KITH_STEP_SPARE. */
#define KITH_STEP_PINGS   128u
#define KITH_STEP_SPARE   256u
#define KITH_STEP_BULK    16u  /* bulk connections ended in one tick */
#define KITH_STEP_WATCHES 64u /* watches told in one tick that they have ended; see watch.c for changes */
/* Of what anti-entropy has brought: a group's watches are told in one go, others follow while there
 * were fewer than KITH_WATCH_GROUP_MAX before. */
#define KITH_STEP_TELLS   (2u * KITH_WATCH_GROUP_MAX)
#define KITH_STEP_EFFECTS (KITH_STEP_TIMERS * (2u * KITH_REPLICAS_MAX + 1u) + KITH_STEP_PINGS + \
                           2u * KITH_MEMBERS_MAX + KITH_STEP_WATCHES + KITH_STEP_TELLS + \
                           2u * KITH_STEP_HELLOS + KITH_STEP_SPARE)

#define KITH_CONNS_MAX         4096u /* connections at a time, both ways; 64 bytes each */
#define KITH_CONN_SLOTS        (2u * KITH_CONNS_MAX)
#define KITH_HELLO_MS          10000u /* for who has connected: it is the first that ours say */
#define KITH_STEP_HELLOS       64u    /* of those who have not said it, closed in one tick */
#define KITH_REFUSALS_TOLD     10u    /* lines of the log about connections that were closed, in */
#define KITH_REFUSALS_MS       10000u
#define KITH_START_RETRY_MS    1000u /* a disk that was full at the start may have room later */
#define KITH_KEEP_OPEN         32u    /* in a cluster of so many all are connected with all */
#define KITH_IDLE_MS           3000u  /* then a connection that was opened for a probe is closed */
#define KITH_RECONNECTS        4u     /* attempts at a time to reach members that are down */
#define KITH_RECONNECTS_ALONE  32u    /* or any member, when none has been reached for KITH_ALONE_MS */
#define KITH_ALONE_MS          3000u
#define KITH_PING_MS           1000u  /* between signs of life on a connection that is kept */
#define KITH_PING_PEERS        64u    /* more of them: so much less often */
#define KITH_PING_GAP_MS       100u   /* one that is down and was heard is asked so often at most */
#define KITH_DOWN_MS           3000u  /* no answer for longer: routing leaves the peer out */
#define KITH_PAUSE_MS          2000u  /* without an event, while we ping: it was us who stood still */
/* The request path's own view, peers.c: a peer that is waited for and silent for so long is asked
 * for a sign of life, and routing leaves it out when none has come by then. */
#define KITH_DOUBT_AFTER_MS    200u
#define KITH_DOUBT_MS          600u
#define KITH_LATE_STEP_MS      100u   /* a step so much later than asked for: it was us who stood still */
#define KITH_RECONNECT_MS      8000u  /* silent for longer: the connection is given up */
#define KITH_BACKOFF_MIN_MS    100u   /* between attempts to connect, doubling */
#define KITH_BACKOFF_MAX_MS    5000u  /* to those whom we keep a connection with */
#define KITH_BACKOFF_DOWN_MS   60000u /* to others that are down */
#define KITH_PUT_TIMEOUT_MS    10000u
#define KITH_READ_TIMEOUT_MS   10000u
/* A retry waits so long, in all, to learn what became of the first try: with the client's 400 ms
 * for a frozen coordinator a put then stalls for less than a second. */
#define KITH_LATE_AFTER_MS     20u    /* a copy that was asked for at once, and others are made meanwhile */
#define KITH_LATE_MS           1000u  /* then its node is tried again */
#define KITH_FIND_TIMEOUT_MS   250u
/* Relays: put_relay.c, relay.c */
#define KITH_RELAY_MIN         4096u  /* bytes of states; fewer are sent to each owner: a relay costs messages */
#define KITH_RELAY_MS          500u   /* then who was to get it through a relay is sent to directly */
#define KITH_RELAY_CHUNKS      32u    /* that are passed on to one peer at a time: 32 MiB */
/* Hints and custody: put.c, handoff.c */
#define KITH_STAND_IN_MS       150u /* a copy that is so late: another node stands in, */
#define KITH_STAND_IN_DISK_MS  600u /* where it has to be flushed */
#define KITH_HINT_AGE_MS       10800000u /* plain hints go after 3 h: anti-entropy does as well */
#define KITH_HANDOFFS_MAX      2u    /* owners that are handed something at a time */
#define KITH_HANDOFF_SENDERS   2u    /* that hand something over to us at a time */
#define KITH_HANDOFF_LEASE_MS  2000u /* one that says nothing for so long has made room */
#define KITH_HANDOFF_BUSY_MS   500u  /* who finds no room tries again */
#define KITH_HANDOFF_YIELD_MS  20u   /* between pages, where requests are under way */
#define KITH_HANDOFF_SOON_MS   1000u /* from a hint to the first look whether its owner is up */
#define KITH_HANDOFF_LOOK_MS   30000u /* between looks */
#define KITH_HANDOFF_TIMEOUT_MS 60000u
#define KITH_FALLBACKS_KEPT    3u   /* first ones to whom connections are kept, always */
#define KITH_FALLBACKS_MAX     16u  /* so far down the table's order one is looked for */
#define KITH_FIND_FALLBACKS    3u   /* asked for what a retried request made */
#define KITH_REPAIRS_MAX       64u  /* read repairs under way; more are dropped, a later read asks again */
#define KITH_REPAIR_TIMEOUT_MS 5000u
/* Anti-entropy: exchange.c */
#define KITH_EXCHANGES_MAX     4u       /* of rows under way */
#define KITH_EXCHANGES_CHUNKS  2u       /* of chunks, */
#define KITH_EXCHANGES_FIRST   1u       /* and where thin ones are known to be missing */
#define KITH_FETCHES_MAX       4u       /* chunks that one of these fetches at a time */
#define KITH_FETCH_TIMEOUT_MS  30000u
#define KITH_EXCHANGE_MS       1800000u /* between two of a pair, and up to as much more at random */
#define KITH_EXCHANGE_AGAIN_MS 1000u    /* until leaves that differ are looked at again */
#define KITH_EXCHANGE_THIN_MS  3000u    /* at least between two of a pair, where one is known to lack something */
#define KITH_EXCHANGE_LATE_MS  2000u    /* then a chunk that its writer was sending is not coming any more */
#define KITH_EXCHANGE_REST_MS  10000u   /* at least between two of a pair: a node may come up often */
#define KITH_EXCHANGE_FAILED_MS 30000u  /* after one that was refused, or broke off */
#define KITH_EXCHANGE_SLICE_MS 20000u   /* then it ends, and goes on as another */
#define KITH_EXCHANGE_TIMEOUT_MS 60000u
#define KITH_EXCHANGE_BEGAN_MS 3600000u /* before a pair was whole, at most, its first leaf was looked at:
                                           looks follow one another; wide */
#define KITH_EXCHANGE_ANSWER_MS 10000u  /* without an answer for so long it is given up */
#define KITH_EXCHANGE_FEW      16u      /* leaves that differ; more are not writes under way alone */
#define KITH_EXCHANGE_YIELD    8u       /* requests under way beside; with more of them */
#define KITH_EXCHANGE_GAP_MS   50u      /* one begins in so long: a node with 2,048 pairs needs 100 s */
#define KITH_SPACE_MS          5000u    /* between two looks at how full the disk is */
#define KITH_SMALL_STATE       256u     /* bytes of a row; with more it is taken to bear a value */
#define KITH_BULK_IDLE_MS      30000u   /* a bulk connection that nobody needs is closed */
#define KITH_ANSWER_BYTES_MAX  (KITH_MESSAGE_MAX - (128u << 10)) /* of states in one answer */
#define KITH_TEXT_MAX          300u /* bytes of a message for people */

#define KITH_NO_PEER  0xffffu
#define KITH_NOT_HEAPED 0xffffffffu

#endif
