/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * protocol.h - which versions of the wire protocol programs have in common, so that a cluster is
 * upgraded node by node while it runs.
 *
 * Each program says in its HELLO the newest version that it speaks and the oldest that it still
 * understands. Two of them speak the newest that both have; where there is none the connection ends,
 * and both say so. A change that an older program would misread takes a new version, and its making
 * keeps the one before as the oldest: releases that follow each other always work together, and who
 * skips one goes through it. A change that an older program may pass over (a new field of protobuf)
 * takes none. What may only be done when everybody understands it takes a feature bit, and waits
 * until all members have said that they have it (node/core/members/peers.c). Pure; any thread. */
#ifndef KITH_DATA_PROTOCOL_H
#define KITH_DATA_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#ifndef KITH_PROTOCOL_VERSION /* tests build nodes of other ones */
#define KITH_PROTOCOL_VERSION 1u
#define KITH_PROTOCOL_OLDEST 1u
#define KITH_PROTOCOL_FEATURES UINT64_C(0) /* bits */
#endif
#define KITH_PROTOCOL_DIFFER_SIZE 384u /* bytes that kith_protocol_differ writes at most */

struct kith_protocol {
    uint32_t newest; /* from 1 */
    uint32_t oldest; /* 0: as newest, as programs say that know no range */
    uint64_t features;
};

/* This program's (protocol_ours.c). */
struct kith_protocol kith_protocol_ours(void);

/* The newest version that both speak; 0: there is none. */
uint32_t kith_protocol_common(const struct kith_protocol *ours, const struct kith_protocol *theirs);

/* Why there is none, and which side is to be upgraded; names are shown as they come. */
void kith_protocol_differ(const struct kith_protocol *ours, const char *our_name,
                          const struct kith_protocol *theirs, const char *their_name, char *ret_text,
                          size_t size);

#endif
