/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * segments_int.h - keys of table `segs` and what segments.c and segments_recover.c share. */
#ifndef KITH_SHELL_SEGMENTS_INT_H
#define KITH_SHELL_SEGMENTS_INT_H

#include "store/segments.h"

#define SEGMENT_NAME_SIZE   16u
#define SEGMENT_KEY_MAX     13u
#define SEGMENT_EXTENT_SIZE 27u /* 23 bytes key in `chunks`, u32 size */
#define SEGMENT_TAG_STATE   'S'
#define SEGMENT_TAG_EXTENT  'E'
#define SEGMENT_TAG_HOLE    'P'

void segment_name(uint32_t number, char ret_name[SEGMENT_NAME_SIZE]);
struct kith_bytes segment_state_key(uint32_t number, uint8_t buffer[SEGMENT_KEY_MAX]);
struct kith_bytes segment_extent_key(uint32_t number, uint64_t offset,
                                     uint8_t buffer[SEGMENT_KEY_MAX]);
KITH_MUST_CHECK enum kith_err segment_state_put(struct store_worker *worker, uint32_t number,
                                                uint64_t synced);
struct kith_bytes segment_hole_key(uint32_t number, uint64_t offset,
                                   uint8_t buffer[SEGMENT_KEY_MAX]);
/* The file, opened for writing with `flags` more; NULL and errno. */
struct kith_segment *segment_open(struct kith_store *store, uint32_t number, int flags);

#endif
