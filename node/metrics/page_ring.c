/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * page_ring.c - the ring of partitions as circles within each other: the outermost shows how many
 * owners of each partition are up, the next one who is asked for it first, then its other owners.
 *
 * A ring of more than SLICES partitions shows every n-th of them: finer than that nobody sees. */
#include <math.h>

#include "metrics/page_impl.h"
#include "text/figures.h"

#define SLICES     1024u
#define CENTRE     210.0
#define HEALTH_AT  197.0 /* radius */
#define OWNERS_AT  175.0 /* of the first owners; each next one is STEP further in */
#define STEP       24.0
#define FULL_TURN  6.283185307179586

enum health { WHOLE, THIN, BELOW, HEALTHS };

struct ring {
    const struct kith_table *table;
    uint32_t slices, step;
    bool up[KITH_MEMBERS_MAX];
};

/* Whether slice i is one of what is drawn. */
typedef bool (*of_slice)(const struct ring *ring, uint32_t i, uint32_t slot, uint32_t what);

static bool owned(const struct ring *ring, uint32_t i, uint32_t slot, uint32_t what)
{
    return kith_table_owners(ring->table, i * ring->step)[slot] == what;
}

static bool healthy(const struct ring *ring, uint32_t i, uint32_t slot, uint32_t what)
{
    const uint16_t *owners = kith_table_owners(ring->table, i * ring->step);
    uint32_t slots = ring->table->owner_slots;
    uint32_t count = 0;
    (void)slot;
    for (uint32_t s = 0; s < slots; s++) {
        count += ring->up[owners[s]] ? 1 : 0;
    }
    return what == (uint32_t)(count == slots ? WHOLE : count > slots / 2 ? THIN : BELOW);
}

static void point(struct kith_buf *buf, double radius, double turn)
{
    kith_text_put(buf, "%.1f %.1f", CENTRE + radius * sin(turn * FULL_TURN),
                  CENTRE - radius * cos(turn * FULL_TURN));
}

/* From slice `from` up to `to`; more than half a turn is drawn in two. */
static void arc(const struct ring *ring, struct kith_buf *buf, double radius, uint32_t from,
                uint32_t to)
{
    uint32_t middle = to - from > ring->slices / 2 ? from + (to - from) / 2 : to;
    kith_text_put(buf, "M");
    point(buf, radius, (double)from / ring->slices);
    for (uint32_t at = middle;; at = to) {
        kith_text_put(buf, "A%.0f %.0f 0 0 1 ", radius, radius);
        point(buf, radius, (double)at / ring->slices);
        if (at == to) {
            return;
        }
    }
}

/* All slices that are so, in one path, or nothing. */
static void slices_draw(const struct ring *ring, struct kith_buf *buf, double radius, of_slice is,
                        uint32_t slot, uint32_t what, const char *class, const char *title)
{
    bool begun = false;
    for (uint32_t i = 0; i < ring->slices; i++) {
        uint32_t from = i;
        while (i < ring->slices && is(ring, i, slot, what)) {
            i++;
        }
        if (i > from) {
            if (!begun) {
                kith_text_put(buf, "<path class=\"%s\" d=\"", class);
            }
            arc(ring, buf, radius, from, i);
            begun = true;
        }
    }
    if (begun) {
        kith_text_put(buf, "\"><title>%s</title></path>\n", title);
    }
}

static void owners_draw(const struct ring *ring, struct kith_buf *buf)
{
    for (uint32_t slot = 0; slot < ring->table->owner_slots; slot++) {
        for (uint32_t member = 0; member < ring->table->member_count; member++) {
            char name[KITH_FORMAT_SIZE], class[32], title[80];
            kith_format_node(&ring->table->members[member].uuid, name);
            (void)snprintf(class, sizeof class, "o c%u%s", member % PAGE_COLOURS,
                           ring->up[member] ? "" : " off");
            (void)snprintf(title, sizeof title, "%s%s, owner %u", name,
                           ring->up[member] ? "" : " (down)", slot + 1);
            slices_draw(ring, buf, OWNERS_AT - slot * STEP, owned, slot, member, class, title);
        }
    }
}

void page_ring(const struct kith_snapshot *snapshot, const struct kith_snapshot_health *health,
               struct kith_buf *buf)
{
    static const char *const classes[HEALTHS] = {"h good", "h thin", "h bad"};
    static const char *const titles[HEALTHS] = {"all owners are up", "not all owners are up",
                                                "fewer owners are up than a majority"};
    const struct kith_table *table = snapshot->table;
    struct ring ring = {.table = table,
                        .slices = table->partitions < SLICES ? table->partitions : SLICES};
    ring.step = table->partitions / ring.slices;
    for (uint32_t i = 0; i < table->member_count; i++) {
        ring.up[i] = kith_snapshot_up(snapshot, (uint16_t)i);
    }
    kith_text_put(buf,
                  "<svg class=\"ring\" viewBox=\"0 0 420 420\" role=\"img\" aria-label=\"The ring: "
                  "%u partitions, %u of them with all owners up, %u with a majority, %u with "
                  "fewer\">\n",
                  health->partitions, health->whole, health->thin, health->below);
    for (uint32_t i = 0; i < HEALTHS; i++) {
        slices_draw(&ring, buf, HEALTH_AT, healthy, 0, i, classes[i], titles[i]);
    }
    owners_draw(&ring, buf);
    kith_text_put(buf,
                  "<text x=\"210\" y=\"203\" class=\"big\">%u of %u</text>"
                  "<text x=\"210\" y=\"227\">nodes up</text></svg>\n",
                  health->up, health->members);
    kith_text_put(buf, "<p class=\"note\">Outermost: how many owners of each partition are up. "
                       "Within: who is asked for it first, then its other owners.");
    if (ring.step > 1) {
        kith_text_put(buf, " Every %u-th partition is drawn.", ring.step);
    }
    kith_text_put(buf, "</p>\n");
}
