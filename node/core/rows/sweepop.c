/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/rows/sweepop.h"

#include <string.h>

enum kith_err kith_mark_decode(struct kith_bytes bytes, struct kith_mark *ret_mark)
{
    memset(ret_mark, 0, sizeof *ret_mark);
    if (bytes.size == 0) {
        return KITH_OK;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t format = kith_read_u8(&reader);
    uint8_t state = kith_read_u8(&reader);
    struct kith_mark mark = {.state = (enum kith_mark_state)state};
    mark.stamp = kith_read_u64(&reader);
    mark.since_ms = kith_read_u64(&reader);
    mark.lease_ms = kith_read_u64(&reader);
    if (!kith_reader_done(&reader) || format != KITH_MARK_FORMAT || state > KITH_MARK_GONE) {
        return KITH_ECORRUPT;
    }
    *ret_mark = mark;
    return KITH_OK;
}

static uint8_t *put_u64(uint8_t *out, uint64_t value)
{
    for (uint32_t i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
    return out + 8;
}

void kith_mark_encode(const struct kith_mark *mark, uint8_t ret_bytes[KITH_MARK_SIZE])
{
    ret_bytes[0] = KITH_MARK_FORMAT;
    ret_bytes[1] = (uint8_t)mark->state;
    uint8_t *out = put_u64(ret_bytes + 2, mark->stamp);
    out = put_u64(out, mark->since_ms);
    (void)put_u64(out, mark->lease_ms);
}

static bool passed(uint64_t since_ms, uint64_t now_ms, uint64_t grace_ms)
{
    return since_ms <= now_ms && now_ms - since_ms >= grace_ms;
}

static bool condemn(struct kith_mark *mark, const struct kith_chunk_id *id, uint64_t stamp,
                    uint64_t now_ms, uint64_t grace_ms)
{
    if (mark->state != KITH_MARK_NONE && mark->stamp == stamp) {
        return true; /* asked again */
    }
    if (!passed(kith_chunk_id_time_ms(id), now_ms, grace_ms) ||
        (mark->lease_ms != 0 && !passed(mark->lease_ms, now_ms, grace_ms))) {
        return false;
    }
    mark->state = KITH_MARK_CONDEMNED;
    mark->stamp = stamp;
    mark->since_ms = now_ms;
    return true;
}

bool kith_mark_step(struct kith_mark *mark, enum kith_sweep_step step,
                    const struct kith_chunk_id *id, uint64_t stamp, uint64_t now_ms,
                    uint64_t grace_ms)
{
    if (step == KITH_SWEEP_CONDEMN) {
        return condemn(mark, id, stamp, now_ms, grace_ms);
    }
    if (step == KITH_SWEEP_CLEAR) {
        (void)(mark->stamp == stamp && kith_mark_clear(mark));
        return true;
    }
    if (mark->state == KITH_MARK_NONE || mark->stamp != stamp) {
        return false;
    }
    if (step == KITH_SWEEP_DOOM) {
        if (mark->state == KITH_MARK_CONDEMNED) {
            if (!passed(mark->since_ms, now_ms, grace_ms)) {
                return false;
            }
            mark->state = KITH_MARK_DOOMED;
            mark->since_ms = now_ms;
        }
        return true;
    }
    if (step != KITH_SWEEP_DELETE || mark->state == KITH_MARK_CONDEMNED) {
        return false;
    }
    if (mark->state == KITH_MARK_DOOMED) {
        mark->state = KITH_MARK_GONE;
        mark->since_ms = now_ms;
    }
    return true;
}

bool kith_mark_lease(struct kith_mark *mark, uint64_t now_ms)
{
    if (mark->state == KITH_MARK_DOOMED || mark->state == KITH_MARK_GONE) {
        return false;
    }
    mark->state = KITH_MARK_NONE;
    mark->stamp = mark->since_ms = 0;
    mark->lease_ms = now_ms;
    return true;
}

bool kith_mark_clear(struct kith_mark *mark)
{
    if (mark->state != KITH_MARK_CONDEMNED) {
        return false;
    }
    mark->state = KITH_MARK_NONE;
    mark->stamp = mark->since_ms = 0;
    return true;
}

bool kith_mark_ripe(const struct kith_mark *mark, uint64_t now_ms, uint64_t grace_ms)
{
    return mark->state == KITH_MARK_DOOMED ||
           (mark->state == KITH_MARK_CONDEMNED && passed(mark->since_ms, now_ms, grace_ms));
}

bool kith_mark_over(const struct kith_mark *mark, uint64_t now_ms, uint64_t grace_ms)
{
    bool leased = mark->lease_ms != 0 && !passed(mark->lease_ms, now_ms, grace_ms);
    return !leased && (mark->state == KITH_MARK_NONE ||
                       (mark->state == KITH_MARK_GONE && passed(mark->since_ms, now_ms, grace_ms)));
}

bool kith_chunk_is_young(const struct kith_chunk_id *id, uint64_t now_ms, uint64_t grace_ms)
{
    uint64_t made_ms = kith_chunk_id_time_ms(id);
    uint64_t apart_ms = made_ms > now_ms ? made_ms - now_ms : now_ms - made_ms;
    return apart_ms < grace_ms / 2;
}
