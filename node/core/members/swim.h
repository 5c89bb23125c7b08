/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * swim.h - what the members know of each other's liveness; part of internal.h. See swim.c.
 *
 *     swim.c         records: suspicion, refutation, spreading
 *     swim_probe.c   probes, directly and through others
 *     swim_sync.c    comparing all records */
#ifndef KITH_CORE_SWIM_H
#define KITH_CORE_SWIM_H

#include "wire/msg.h"

#define KITH_PROBE_MS   1000u /* between probes of members */
#define KITH_CONFIRMS   3u    /* who share a suspicion make it shorter; so many, at most */
#define KITH_RELAYS_MAX 16u   /* members that are probed for others at a time */

struct conn;
struct kith_node;
struct peer;

enum probe_phase { PROBE_NONE, PROBE_DIRECT, PROBE_INDIRECT };

struct relay { /* a member that is probed for another */
    uint64_t conn, id; /* to be answered */
    uint16_t target;
    uint64_t until_ms;
};

struct swim {
    uint64_t said; /* of this node's incarnation */
    bool raising;  /* a higher incarnation is on its way to the disk */
    uint32_t health; /* 0: good; how much longer than usual others are waited for */
    uint32_t self_sends, table_sends; /* how often our record, our table is still to go out */
    uint32_t news_count;              /* peers whose record is */
    uint32_t suspects;                /* peers that are suspected */
    uint32_t news_at;
    uint64_t changed_ms; /* when the last record was news */
    uint16_t *order; /* [peer_capacity] this round's, of which order_at are through */
    uint32_t order_count, order_at;
    enum probe_phase phase;
    uint16_t target;
    uint32_t helpers, nacks;
    uint64_t probe_id, period_ms, indirect_ms;
    uint32_t relay_count;
    struct relay relays[KITH_RELAYS_MAX];
    bool summed; /* the sums are those of the records */
    uint64_t sums[KITH_SYNC_SUMS], digest;
    uint64_t push_ms, sync_ms, pull_ms, due_ms;
    uint32_t lines; /* in the log, of this step */
    uint64_t unsound, refuted; /* records dropped; suspicions of ourselves */
};

/* ---- For the node ---- */

/* What a ping to that peer (NULL: unknown) says of the members. `unasked`: it is no answer. */
void swim_ping_fill(struct kith_node *node, struct kith_ping *ping, const struct peer *to,
                    bool unasked);
/* Messages of members; what comes from others changes nothing. */
void swim_pinged(struct kith_node *node, struct conn *conn, const struct kith_ping *ping);
void swim_sync(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
void swim_probe_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
void swim_probe_res(struct kith_node *node, const struct kith_msg *msg);
/* What we have sent to the peer has arrived. */
void swim_answered(struct kith_node *node, uint16_t peer);
/* It is known under a higher incarnation now. */
void swim_started_again(struct kith_node *node, struct peer *peer);
void swim_table_changed(struct kith_node *node);
/* This node was so late, or stood still for so long: that is not held against others. */
void swim_late(struct kith_node *node, uint64_t late_ms);
void swim_tick(struct kith_node *node);
uint64_t swim_due(const struct kith_node *node);

/* ---- Among themselves ---- */

/* A cluster with others in it. */
bool swim_active(const struct kith_node *node);
/* The bits of the number of members. */
uint32_t swim_log2(const struct kith_node *node);
/* 64 bits of XXH3-128. */
uint64_t swim_sum(const void *data, size_t size);
/* Big-endian; the byte after it. */
uint8_t *swim_put_u64(uint8_t *at, uint64_t value);
/* The checksum that belongs into that record. */
uint64_t swim_check(const struct kith_member_news *news);
/* What this node knows of the peer, and of itself; the texts are not copied. */
void swim_record(const struct peer *peer, struct kith_member_news *ret_news);
void swim_record_self(const struct kith_node *node, struct kith_member_news *ret_news);
/* `hearsay`: from a comparison of all records, where what is old comes, too. */
void swim_news_take(struct kith_node *node, const struct kith_member_news *news, uint32_t count,
                    bool hearsay);
/* `by` suspects the peer. */
void swim_suspect(struct kith_node *node, struct peer *peer, const struct kith_uuid *by);
/* Doubts itself by so much more. */
void swim_health(struct kith_node *node, int by);
/* Somebody at random to whom a connection is open; NULL: to nobody. */
struct peer *swim_anyone(struct kith_node *node);
/* Sees to it that the sums are those of the records. */
void swim_sums_make(struct kith_node *node);
/* The ping bears the sum of its sender's records: it may be time to compare. */
void swim_digest_seen(struct kith_node *node, uint64_t conn, const struct kith_ping *ping);
/* What is due; and when there is something again. */
uint64_t swim_relays_tick(struct kith_node *node);
uint64_t swim_probes_tick(struct kith_node *node);
uint64_t swim_syncs_tick(struct kith_node *node);

#endif
