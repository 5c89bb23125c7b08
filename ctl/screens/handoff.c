/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * handoff.c - kithctl handoff: what nodes keep for others, and rows of theirs that stand on few
 * copies. */
#include <stdio.h>
#include <string.h>

#include "ctl/ask/view.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "ctl/screens/again.h"
#include "text/columns.h"

static enum kith_err print_json(const struct kith_view *view, struct kith_error *error)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < view->count; i++) {
        const struct kith_view_node *node = &view->nodes[i];
        json_t *each =
            node->up ? json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "address", node->address,
                                 "answered", 1, "hints", (json_int_t)node->hints, "bytes",
                                 (json_int_t)node->hint_bytes, "custody",
                                 (json_int_t)node->custody, "thin_rows",
                                 (json_int_t)node->thin_rows, "oldest_ms",
                                 (json_int_t)node->hint_oldest_ms)
                     : json_pack("{s:s, s:b}", "address", node->address, "answered", 0);
        (void)json_array_append_new(nodes, each); /* counted below */
    }
    if (json_array_size(nodes) != view->count) {
        json_decref(nodes);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    return kith_json_print(
        kith_json_named("cluster", view->name, json_pack("{s:o}", "nodes", nodes)), error);
}

static void node_row(struct kith_columns *columns, const struct kith_view_node *node)
{
    char kept[KITH_FORMAT_SIZE] = "-", size[KITH_FORMAT_SIZE] = "-",
         custody[KITH_FORMAT_SIZE] = "-", thin[KITH_FORMAT_SIZE] = "-",
         oldest[KITH_FORMAT_SIZE] = "-";
    if (node->up) {
        kith_format_count(node->hints - node->thin_rows, kept);
        kith_format_bytes(node->hint_bytes, size);
        kith_format_count(node->custody, custody);
        kith_format_count(node->thin_rows, thin);
    }
    if (node->up && node->hints > 0) {
        kith_format_age(node->hint_oldest_ms, oldest);
    }
    const char *cells[] = {node->address, kept, size, custody, thin, oldest};
    kith_columns_add(columns, node->up ? KITH_COLOUR_NONE : KITH_COLOUR_BAD, cells);
}

static enum kith_err print_text(const struct kith_view *view, uint64_t kept,
                                struct kith_error *error)
{
    static const char *const heads[] = {"NODE", "KEPT", "SIZE", "COPIES", "THIN", "OLDEST"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < view->count; i++) {
        node_row(&columns, &view->nodes[i]);
    }
    bool good = kith_columns_print(&columns, stdout, kith_colours_shown(stdout));
    kith_columns_release(&columns);
    if (!good) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    (void)printf(kept == 0 ? "Nothing waits to be handed over.\n"
                           : "It goes to its owners by itself once they are up.\n");
    return KITH_OK;
}

static int look(void *arg)
{
    const struct kith_ctl_args *args = arg;
    struct kith_view view;
    struct kith_error error;
    uint64_t kept = 0;
    enum kith_err err = kith_view_ask_once(args, &view, &error);
    if (err == KITH_OK) {
        for (uint32_t i = 0; i < view.count; i++) {
            kept += view.nodes[i].up ? view.nodes[i].hints : 0;
        }
        err = args->json ? print_json(&view, &error) : print_text(&view, kept, &error);
        kith_view_release(&view);
    }
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    return kept == 0 ? KITH_CTL_OK : KITH_CTL_FAILED;
}

int kith_ctl_handoff(const struct kith_ctl_args *args)
{
    struct kith_ctl_args copy = *args;
    return kith_ctl_value(args, "watch") != NULL ? kith_again(args->json, look, &copy)
                                                 : look(&copy);
}
