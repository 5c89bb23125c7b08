/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * queue.c - what is to happen, by time and then by number: a heap. */
#include "sim.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

struct sim_event *sim_at(struct sim *sim, uint64_t at_us,
                         void (*fire)(struct sim *, struct sim_event *))
{
    struct sim_event *event = kith_calloc(1, sizeof *event);
    if (sim->event_count == sim->event_capacity) {
        sim->event_capacity = sim->event_capacity ? sim->event_capacity * 2 : 256;
        sim->events = kith_realloc(sim->events, sim->event_capacity * sizeof event);
    }
    KITH_ASSERT(event && sim->events);
    event->at_us = at_us;
    event->number = sim->event_number;
    sim->event_number++;
    event->fire = fire;
    uint32_t at = sim->event_count;
    sim->event_count++;
    while (at > 0 && before(event, sim->events[(at - 1) / 2])) {
        sim->events[at] = sim->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->events[at] = event;
    return event;
}

struct sim_event *sim_next(struct sim *sim)
{
    struct sim_event *first = sim->events[0];
    sim->event_count--;
    struct sim_event *last = sim->events[sim->event_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= sim->event_count) {
            break;
        }
        if (child + 1 < sim->event_count && before(sim->events[child + 1], sim->events[child])) {
            child++;
        }
        if (!before(sim->events[child], last)) {
            break;
        }
        sim->events[at] = sim->events[child];
        at = child;
    }
    sim->events[at] = last;
    return first;
}
