/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * peers.h - the other members as seen from here: up or down (peers.c), and where they are (members.c).
 * Part of internal.h. One thread. */
#ifndef KITH_CORE_PEERS_H
#define KITH_CORE_PEERS_H

#include "core/conns.h"
#include "core/members/swim.h"

struct kith_node;

enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_OPENED, PEER_READY };

struct bulk_link { /* bulk.c; all zero at first */
    enum peer_state state;
    uint64_t conn;
    uint64_t since_ms; /* when the state was entered */
    uint64_t used_ms;  /* READY: when it was last asked for */
    uint64_t retry_ms; /* IDLE: not before */
    uint32_t backoff_ms;
};

struct peer {
    struct kith_uuid uuid;
    struct kith_member_info info; /* incarnation, address; zone and weight as in the table */
    enum peer_state state;
    bool member;       /* of the table in use */
    bool kept;         /* its connection is always open, or being made */
    bool up;           /* requests may go to it: READY, and it answers (peers.c) */
    bool said_up;      /* what the log says last */
    bool busy;         /* among node->busy: something may have to be done with it */
    bool full;         /* it takes no values, as it said last (space.c) */
    uint64_t conn;     /* ours to it, 0 = none */
    uint64_t since_ms; /* when the state was entered */
    uint64_t seen_ms;  /* last sign of life, on any connection; 0 = never */
    uint64_t answered_ms; /* last answer on our connection: what we send gets there */
    uint64_t used_ms;  /* somebody wanted the connection */
    uint64_t retry_ms; /* IDLE: when to connect */
    uint64_t ping_ms;  /* READY: when to ping */
    uint64_t pinged_ms;
    uint64_t doubt_ms; /* a request waits since then, and nothing was answered since; 0 = none */
    uint64_t asked_ms; /* doubted: when it was asked for a sign of life; 0 = not yet */
    uint64_t late_ms;  /* no put waits for it before: another was faster although its copy could wait */
    uint32_t backoff_ms;
    uint32_t relays;  /* chunks that are passed on to it: relay.c */
    struct bulk_link bulk;
    /* swim.c */
    enum kith_liveness live; /* what members say of it */
    uint64_t said;           /* of its incarnation */
    uint64_t suspect_ms;     /* since when */
    uint64_t changed_ms;     /* when the record was last news; 0 = never */
    uint8_t by_count, sends; /* sends: how often the record is still to go out */
    struct kith_uuid by[KITH_CONFIRMS + 1]; /* who say so */
    struct kith_table_id moved; /* it has done its part of what that table moves */
};

/* ---- peers.c ---- */

struct peer *peer_find(struct kith_node *node, const struct kith_uuid *uuid);
uint16_t peer_index(const struct kith_node *node, const struct peer *peer);
/* Makes a peer of each other member of the table and fills peer_of_member. ENOMEM: nothing
 * changed. */
enum kith_err peers_prepare(struct kith_node *node, const struct kith_table *table,
                            uint16_t **ret_peer_of_member);
/* A node that is no member, and was one: requests may go to it. KITH_NO_PEER: no memory, or too
 * many. */
uint16_t peers_stranger(struct kith_node *node, const struct kith_member_info *info);
void peers_opened(struct kith_node *node, struct conn *conn);
void peers_closed(struct kith_node *node, struct conn *conn);
void peers_ready(struct kith_node *node, struct conn *conn);
/* A message has come over that connection. */
void peers_heard(struct kith_node *node, const struct conn *conn, enum kith_msg_kind kind);
/* Decides which connections are kept, after a change of the table. */
void peers_keep(struct kith_node *node);
/* Somebody needs the connection: it is made where there is none, and stays a while. True: it is
 * open, and a message may go. */
bool peer_want(struct kith_node *node, struct peer *peer);
/* READY ones only. A ping asks for an answer, a push for none. */
void peer_ping(struct kith_node *node, struct peer *peer);
void peer_push(struct kith_node *node, struct peer *peer);
/* A connection to it on which a message may go, whoever has opened it; 0: none. */
uint64_t peer_reach(const struct kith_node *node, const struct peer *peer);
/* Whether it lives, as far as this node knows: for people, and where a majority counts. */
bool peer_alive(const struct peer *peer);
/* What members say of it is another word than before. */
void peer_live_changed(struct kith_node *node, struct peer *peer);
/* A request has waited for this peer since then. After KITH_DOUBT_AFTER_MS without an answer to
 * anything it is asked for a sign of life, and without one by KITH_DOUBT_MS it is no
 * longer up: what waits for it fails, and nothing new is sent to it. Whatever it answers brings it
 * back at once. Only this node goes by that: it is never gossiped, and it takes a request that waits.
 * To be called when a request is sent (costs two comparisons), and again where one waits on. */
void peer_doubt(struct kith_node *node, uint16_t peer, uint64_t since_ms);
/* The step at hand comes so much later than was asked for: no silence of others. */
void peers_late(struct kith_node *node, uint64_t late_ms);
/* This node stood still for so long, and heard nobody: that says nothing of the others. */
void peers_paused(struct kith_node *node, uint64_t pause_ms);
void peers_tick(struct kith_node *node);
uint64_t peers_due(const struct kith_node *node);
void peers_ping(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
/* All members of the table in use have said that they have these features (bits, data/protocol.h). */
bool peers_have(const struct kith_node *node, uint64_t features);
/* Fresh knowledge of where it is: try at once. */
void peer_retry_now(struct kith_node *node, struct peer *peer);

/* ---- members.c ---- */

void members_self(const struct kith_node *node, struct kith_member_info *ret_info);
void members_learn(struct kith_node *node, const struct kith_member_info *info);
/* The peer has started again, under a higher incarnation than was known, and listens there. */
void members_moved(struct kith_node *node, struct peer *peer, const struct kith_member_news *news);
/* All records, our own first, in the step's arena; 0 when memory is short. */
uint32_t members_all(struct kith_node *node, const struct kith_member_info **ret_members);
void members_encode(const struct kith_member_info *infos, uint32_t count, struct kith_buf *buf);
void members_save(struct kith_node *node); /* when dirty and not being written */
enum kith_err members_load(struct kith_node *node, struct kith_bytes bytes,
                           struct kith_error *error);

#endif
