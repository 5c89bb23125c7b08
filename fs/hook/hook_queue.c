/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/hook/hook_queue.h"

#include <string.h>

#include "base/alloc.h"

#define QUIETS_MOST   5u /* a place waits no longer than that for quiet */
#define RAN_KEPT_NS   UINT64_C(3600000000000)
#define DOUBLINGS_MAX 6u

enum kith_err kith_hook_queue_init(struct kith_hook_queue *queue, uint64_t quiet_ns,
                                   uint32_t names_most, uint32_t dirs_most)
{
    size_t most = (size_t)names_most + dirs_most;
    memset(queue, 0, sizeof *queue);
    queue->quiet_ns = quiet_ns;
    queue->names_most = names_most;
    queue->dirs_most = dirs_most;
    queue->keys = kith_calloc(most, sizeof *queue->keys);
    queue->places = kith_calloc(most, sizeof *queue->places);
    if (queue->keys == NULL || queue->places == NULL) {
        kith_hook_queue_release(queue);
        return KITH_ENOMEM;
    }
    return KITH_OK;
}

void kith_hook_queue_release(struct kith_hook_queue *queue)
{
    kith_free(queue->keys);
    kith_free(queue->places);
    memset(queue, 0, sizeof *queue);
}

static uint64_t quiet_for(const struct kith_hook_queue *queue, uint64_t key, uint64_t now)
{
    unsigned doublings = 0;
    for (uint32_t i = 0; i < KITH_HOOK_RAN_MAX && i < queue->ran_count; i++) {
        doublings +=
            queue->ran[i].key == key && now - queue->ran[i].at < RAN_KEPT_NS ? 1 : 0;
    }
    return queue->quiet_ns << (doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX);
}

/* Its index; `count`: it does not wait. */
static uint32_t find(const struct kith_hook_queue *queue, uint64_t key, const void *dir,
                     const char *name)
{
    uint32_t i = 0;
    while (i < queue->count &&
           (queue->keys[i] != key || queue->places[i].dir != dir ||
            strcmp(queue->places[i].name, name) != 0)) {
        i++;
    }
    return i;
}

static enum kith_hook_added append(struct kith_hook_queue *queue, uint64_t key,
                                   const struct kith_hook_place *place)
{
    bool whole = place->name[0] == '\0';
    uint32_t names = queue->count - queue->dirs;
    if (whole ? queue->dirs == queue->dirs_most : names == queue->names_most) {
        return KITH_HOOK_FULL;
    }
    char *name = kith_strdup(place->name);
    if (name == NULL) {
        return KITH_HOOK_FULL;
    }
    queue->keys[queue->count] = key;
    queue->places[queue->count] = *place;
    queue->places[queue->count++].name = name;
    queue->dirs += whole ? 1 : 0;
    return KITH_HOOK_ADDED;
}

enum kith_hook_added kith_hook_queue_add(struct kith_hook_queue *queue, uint64_t key, void *dir,
                                         const char *name, uint64_t now, uint64_t chance)
{
    uint64_t quiet = quiet_for(queue, key, now);
    uint64_t due = now + quiet + (quiet > 0 ? chance % quiet : 0);
    uint32_t at = find(queue, key, dir, name);
    if (at == queue->count) {
        const struct kith_hook_place place = {
            .dir = dir, .name = (char *)(uintptr_t)name, .first = now, .due = due};
        return append(queue, key, &place);
    }
    struct kith_hook_place *place = &queue->places[at];
    uint64_t latest = place->first + QUIETS_MOST * quiet;
    due = due < latest ? due : latest;
    place->due = due > place->due ? due : place->due;
    return KITH_HOOK_WAITS;
}

enum kith_hook_added kith_hook_queue_again(struct kith_hook_queue *queue, uint64_t key,
                                           const struct kith_hook_place *place, uint64_t now)
{
    if (find(queue, key, place->dir, place->name) < queue->count) {
        return KITH_HOOK_WAITS;
    }
    if (place->tries + 1 >= KITH_HOOK_TRIES_MAX) {
        return KITH_HOOK_FULL;
    }
    struct kith_hook_place again = *place;
    again.tries++;
    again.first = now;
    again.due = now + (queue->quiet_ns << again.tries);
    return append(queue, key, &again);
}

void kith_hook_queue_ran(struct kith_hook_queue *queue, uint64_t key, uint64_t now)
{
    uint32_t at = queue->ran_count++ % KITH_HOOK_RAN_MAX;
    queue->ran[at].key = key;
    queue->ran[at].at = now;
}

static uint32_t earliest(const struct kith_hook_queue *queue)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < queue->count; i++) {
        best = queue->places[i].due < queue->places[best].due ? i : best;
    }
    return best;
}

uint64_t kith_hook_queue_next(const struct kith_hook_queue *queue)
{
    return queue->count > 0 ? queue->places[earliest(queue)].due : UINT64_MAX;
}

bool kith_hook_queue_take(struct kith_hook_queue *queue, uint64_t now,
                          struct kith_hook_place *ret_place)
{
    uint32_t at = earliest(queue);
    if (queue->count == 0 || queue->places[at].due > now) {
        return false;
    }
    *ret_place = queue->places[at];
    queue->dirs -= ret_place->name[0] == '\0' ? 1 : 0;
    queue->count--;
    queue->keys[at] = queue->keys[queue->count];
    queue->places[at] = queue->places[queue->count];
    return true;
}
