/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * queue.c - what is to happen, by time and then by number: a heap. Its entries bear the keys
 * themselves: sifting looks at no event. */
#include <string.h>

#include "sim.h"

static bool before(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static struct sim_event *event_new(struct sim *sim)
{
    struct sim_event *event = sim->event_free;
    if (event) {
        sim->event_free = event->next_free;
        memset(event, 0, sizeof *event);
    } else {
        event = kith_calloc(1, sizeof *event);
        KITH_ASSERT(event);
    }
    return event;
}

struct sim_event *sim_at(struct sim *sim, uint64_t at_us,
                         void (*fire)(struct sim *, struct sim_event *))
{
    if (sim->event_count == sim->event_capacity) {
        sim->event_capacity = sim->event_capacity ? sim->event_capacity * 2 : 256;
        sim->events = kith_realloc(sim->events, sim->event_capacity * sizeof *sim->events);
        KITH_ASSERT(sim->events);
    }
    struct sim_entry entry = {at_us, sim->event_number, event_new(sim)};
    sim->event_number++;
    entry.event->at_us = at_us;
    entry.event->fire = fire;
    uint32_t at = sim->event_count;
    sim->event_count++;
    while (at > 0 && before(&entry, &sim->events[(at - 1) / 2])) {
        sim->events[at] = sim->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->events[at] = entry;
    return entry.event;
}

void sim_again(struct sim *sim, struct sim_event *event, uint64_t at_us)
{
    struct sim_event *again = sim_at(sim, at_us, event->fire);
    struct sim_event *next_free = again->next_free;
    *again = *event;
    again->at_us = at_us;
    again->next_free = next_free;
    event->op = NULL;
    event->bytes = NULL;
}

struct sim_event *sim_next(struct sim *sim)
{
    struct sim_event *first = sim->events[0].event;
    sim->event_count--;
    struct sim_entry last = sim->events[sim->event_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= sim->event_count) {
            break;
        }
        if (child + 1 < sim->event_count && before(&sim->events[child + 1], &sim->events[child])) {
            child++;
        }
        if (!before(&sim->events[child], &last)) {
            break;
        }
        sim->events[at] = sim->events[child];
        at = child;
    }
    sim->events[at] = last;
    return first;
}

static void store_op_free(struct store_op *op)
{
    if (op) {
        kith_msg_box_drop(op->box);
        kith_blob_drop(op->blob);
        kith_arena_release(&op->arena);
        kith_free(op);
    }
}

void sim_event_done(struct sim *sim, struct sim_event *event)
{
    store_op_free(event->op);
    kith_free(event->bytes);
    event->next_free = sim->event_free;
    sim->event_free = event;
}

void sim_events_release(struct sim *sim)
{
    while (sim->event_free) {
        struct sim_event *event = sim->event_free;
        sim->event_free = event->next_free;
        kith_free(event);
    }
    kith_free(sim->events);
}
