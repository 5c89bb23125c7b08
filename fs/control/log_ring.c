/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/control/log_ring.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum kith_err kith_log_ring_init(struct kith_log_ring *ring, size_t capacity)
{
    memset(ring, 0, sizeof *ring);
    ring->data = kith_malloc(capacity);
    ring->capacity = capacity;
    return ring->data == NULL ? KITH_ENOMEM : KITH_OK;
}

void kith_log_ring_release(struct kith_log_ring *ring)
{
    kith_free(ring->data);
    memset(ring, 0, sizeof *ring);
}

/* There is room. */
static void append(struct kith_log_ring *ring, const char *data, size_t size)
{
    size_t at = (ring->first + ring->size) % ring->capacity;
    size_t part = ring->capacity - at < size ? ring->capacity - at : size;
    memcpy(ring->data + at, data, part);
    memcpy(ring->data, data + part, size - part);
    ring->size += size;
}

static void append_note(struct kith_log_ring *ring)
{
    char note[KITH_LOG_NOTE_SIZE];
    int size = snprintf(note, sizeof note, "... %llu line%s left out\n",
                        (unsigned long long)ring->left_out, ring->left_out == 1 ? "" : "s");
    append(ring, note, (size_t)size);
    ring->left_out = 0;
}

void kith_log_ring_put(struct kith_log_ring *ring, const char *line, size_t size)
{
    size_t note = ring->left_out > 0 ? KITH_LOG_NOTE_SIZE : 0;
    if (size + note > ring->capacity - ring->size) {
        ring->left_out++;
        return;
    }
    if (ring->left_out > 0) {
        append_note(ring);
    }
    append(ring, line, size);
}

bool kith_log_ring_has(const struct kith_log_ring *ring)
{
    return ring->size > 0 || ring->left_out > 0;
}

size_t kith_log_ring_take(struct kith_log_ring *ring, char *data, size_t size)
{
    if (ring->size == 0 && ring->left_out > 0) {
        append_note(ring);
    }
    size_t take = size < ring->size ? size : ring->size;
    size_t part = ring->capacity - ring->first < take ? ring->capacity - ring->first : take;
    memcpy(data, ring->data + ring->first, part);
    memcpy(data + part, ring->data, take - part);
    ring->first = (ring->first + take) % ring->capacity;
    ring->size -= take;
    return take;
}
