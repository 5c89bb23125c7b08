/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * relay.h - one copy to another zone, for all owners there: who writes sends it through one of them
 * (put_relay.c), and that one passes it on (relay.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_RELAY_H
#define KITH_CORE_RELAY_H

#include "core/pending.h"
#include "wire/msg.h"

struct kith_node;

/* ---- The coordinator's side: put_relay.c ---- */

/* For each of the other owners, through which of them his copy goes: himself, or a relay. */
void put_relays(const struct kith_node *node, const struct pending_put *put, size_t bytes,
                uint8_t via[KITH_PUT_PLACES]);
/* Fills in who is to get it from others[i], and notes that they are asked. */
void put_relay_through(struct kith_node *node, struct pending *pending, uint32_t i,
                       const uint8_t via[KITH_PUT_PLACES], struct kith_relay_to *to,
                       struct kith_msg *msg);
/* The place whose answer this is, -1: none is due. */
int put_relay_place(const struct kith_node *node, const struct pending_put *put, uint16_t peer,
                    const struct kith_replicate_res *res);
/* An answer came that is none of success: others[i] fails, as itself or as a relay. */
void put_relay_failed(struct pending_put *put, uint32_t i);
/* The peer is lost: who was to get a copy through it is sent it directly. True: somebody is. */
bool put_relay_lost(struct pending_put *put, uint16_t peer);
/* It took too long; true: it has. */
bool put_relays_late(const struct kith_node *node, struct pending_put *put);
/* put_spread.c: the states are read again, for who has a place and was not asked, or is to be sent to
 * directly. */
void put_reread(struct kith_node *node, struct pending *pending);
/* Answered: ends it, or keeps it for as long as relays have to answer. */
void put_linger(struct kith_node *node, struct pending *pending);

/* ---- The relay: relay.c ---- */

/* Passes the message on to those whom it names. */
void relay_rows(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void relay_chunk(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
/* REPLICATE_RES or CHUNK_RES of that peer. */
void relay_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_msg *msg);
void relay_expire(struct kith_node *node, struct pending *pending);
void relay_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
void relay_bulk_down(struct kith_node *node, uint16_t peer);

#endif
