/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * gc.c - kithctl gc: how far nodes are with removing what nothing refers to any more, and with forgetting
 * what was deleted; and what is in their way. Nobody starts that: it goes on all the time, and what is
 * young has to stay for a day (node/core/collect/sweep.h, reap.h). */
#include <stdio.h>
#include <string.h>

#include "ctl/ask/view.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/screens/again.h"
#include "text/columns.h"

static json_t *ago_json(uint64_t ms_ago)
{
    return ms_ago == UINT64_MAX ? json_null() : json_integer((json_int_t)ms_ago);
}

static json_t *node_json(const struct kith_view_node *node)
{
    if (!node->up) {
        return json_pack("{s:s, s:b}", "address", node->address, "answered", 0);
    }
    return json_pack(
        "{s:s, s:b, s:{s:I, s:I, s:I, s:o, s:s}, s:{s:I, s:I, s:o, s:s}}", "address", node->address,
        "answered", 1, "sweep", "condemned", (json_int_t)node->condemned, "swept",
        (json_int_t)node->swept, "swept_bytes", (json_int_t)node->swept_bytes, "last_ms_ago",
        ago_json(node->sweep_ms_ago), "waits_for", node->sweep_waits, "tombstones", "forgotten",
        (json_int_t)node->reaped, "floors", (json_int_t)node->floors, "last_ms_ago",
        ago_json(node->reap_ms_ago), "waits_for", node->reap_waits);
}

static enum kith_err print_json(const struct kith_view *view, struct kith_error *error)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        (void)json_array_append_new(nodes, node_json(&view->nodes[i])); /* counted below */
    }
    if (json_array_size(nodes) != view->count) {
        json_decref(nodes);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    return kith_json_print(
        kith_json_named("cluster", view->name, json_pack("{s:o}", "nodes", nodes)), error);
}

static void ago_format(uint64_t ms_ago, char text[KITH_FORMAT_SIZE])
{
    if (ms_ago == UINT64_MAX) {
        (void)snprintf(text, KITH_FORMAT_SIZE, "not yet");
    } else {
        kith_format_age(ms_ago, text);
    }
}

static void node_row(struct kith_columns *columns, const struct kith_view_node *node)
{
    char text[6][KITH_FORMAT_SIZE] = {"-", "-", "-", "-", "-", "-"};
    if (node->up) {
        kith_format_count(node->condemned, text[0]);
        kith_format_count(node->swept, text[1]);
        kith_format_bytes(node->swept_bytes, text[2]);
        ago_format(node->sweep_ms_ago, text[3]);
        kith_format_count(node->reaped, text[4]);
        ago_format(node->reap_ms_ago, text[5]);
    }
    const char *cells[] = {node->address, text[0], text[1], text[2], text[3], text[4], text[5]};
    kith_columns_add(columns, node->up ? KITH_COLOUR_NONE : KITH_COLOUR_BAD, cells);
}

/* Whether nothing is in anybody's way; tells what is. */
static bool waits_print(const struct kith_view *view, bool told)
{
    bool free_way = true;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        const char *const waits[] = {node->sweep_waits, node->reap_waits};
        static const char *const what[] = {"chunks", "deleted names"};
        for (int k = 0; node->up && k < 2; k++) {
            if (*waits[k]) {
                free_way = false;
                if (told) {
                    (void)printf("%s waits with %s: %s.\n", node->address, what[k], waits[k]);
                }
            }
        }
        free_way = free_way && node->up;
    }
    return free_way;
}

static enum kith_err print_text(const struct kith_view *view, struct kith_error *error)
{
    static const char *const heads[] = {"NODE", "CONDEMNED", "DELETED",  "SIZE",
                                        "PASS", "FORGOTTEN", "PASS"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof heads / sizeof heads[0]);
    for (uint32_t i = 0; i < view->count; i++) {
        node_row(&columns, &view->nodes[i]);
    }
    bool good = kith_columns_print(&columns, stdout, kith_colours_shown(stdout));
    kith_columns_release(&columns);
    if (!good) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    uint32_t up = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        up += view->nodes[i].up;
    }
    if (waits_print(view, true)) {
        (void)printf("Nothing is in the way; what is deleted goes by itself, in about two days.\n");
    } else if (up < view->count) {
        (void)printf("%u of %u nodes answered; nothing goes while a member is away.\n", up,
                     view->count);
    }
    return KITH_OK;
}

static int look(void *arg)
{
    const struct kith_ctl_args *args = arg;
    struct kith_view view;
    struct kith_error error;
    enum kith_err err = kith_view_ask_once(args, &view, &error);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    err = args->json ? print_json(&view, &error) : print_text(&view, &error);
    bool free_way = waits_print(&view, false);
    kith_view_release(&view);
    return err != KITH_OK ? kith_ctl_fail(args, &error) : free_way ? KITH_CTL_OK : KITH_CTL_FAILED;
}

int kith_ctl_gc(const struct kith_ctl_args *args)
{
    struct kith_ctl_args copy = *args;
    return kith_ctl_value(args, "watch") != NULL ? kith_again(args->json, look, &copy)
                                                 : look(&copy);
}
