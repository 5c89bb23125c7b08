/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * repair.c - kithctl repair and kithctl scrub: what every member's anti-entropy does, or is to do.
 * Each is asked on its own; those that are down are named, and the order is carried out by the
 * others. */
#include <string.h>

#include "base/config.h"
#include "ctl/ask/view.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "ctl/screens/again.h"
#include "text/columns.h"

#define CELL_SIZE   64u
#define BAR         20u

struct asked {
    struct kith_link *link;
    struct kith_view view;
    bool viewed;
    struct kith_link_ask *asks; /* [view.count] */
    uint32_t answered;
};

static void asked_release(struct asked *asked)
{
    for (uint32_t i = 0; asked->asks && i < asked->view.count; i++) {
        kith_msg_box_drop(asked->asks[i].box);
    }
    kith_free(asked->asks);
    if (asked->viewed) {
        kith_view_release(&asked->view);
    }
    kith_link_free(asked->link);
}

/* The node's answer; NULL where it gave none. */
static const struct kith_repair_res *answer_of(const struct asked *asked, uint32_t i)
{
    const struct kith_msg_box *box = asked->asks[i].box;
    return box && box->msg.kind == KITH_MSG_REPAIR_RES &&
                   box->msg.u.repair_res.status.err == KITH_OK
               ? &box->msg.u.repair_res
               : NULL;
}

/* Asks all members. EUNREACH: none of them answered. */
static enum kith_err ask_all(const struct kith_ctl_args *args, const struct kith_repair_cmd *cmd,
                             struct asked *asked, struct kith_error *error)
{
    enum kith_err err = kith_link_new(&asked->link, error);
    if (err == KITH_OK) {
        err = kith_view_ask(asked->link, args, &asked->view, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    asked->viewed = true;
    asked->asks = kith_calloc(asked->view.count, sizeof(*asked->asks));
    if (!asked->asks) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < asked->view.count; i++) {
        asked->asks[i].address = asked->view.nodes[i].address;
    }
    struct kith_msg msg;
    memset(&msg, 0, sizeof(msg));
    msg.kind = KITH_MSG_REPAIR_CMD;
    msg.u.repair_cmd = *cmd;
    kith_link_ask(asked->link, asked->asks, asked->view.count, &msg, args->timeout_ms,
                  KITH_VIEW_PATIENCE_MS);
    for (uint32_t i = 0; i < asked->view.count; i++) {
        asked->answered += answer_of(asked, i) ? 1 : 0;
    }
    return asked->answered > 0 ? KITH_OK
                               : kith_error_set(error, KITH_EUNREACH,
                                                "no member answered; what each says: kithctl "
                                                "status");
}

/* ---- JSON ---- */

static json_t *peer_json(const struct kith_repair_peer *peer)
{
    return json_pack("{s:s, s:b, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "address", peer->address,
                     "up", peer->up, "pairs", (int)peer->pairs, "compared", (int)peer->compared,
                     "running", (int)peer->running, "rows", (json_int_t)peer->rows, "chunks",
                     (json_int_t)peer->chunks, "bytes", (json_int_t)peer->bytes, "tree_bytes",
                     (json_int_t)peer->tree_bytes);
}

static json_t *scrub_json(const struct kith_repair_res *res)
{
    return json_pack(
        "{s:b, s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "running",
        res->scrub.asked, "period_ms", (json_int_t)res->scrub.period_ms, "partitions_left",
        (int)res->scrub.left, "partitions", (int)res->scrub.partitions, "begun_ms",
        (json_int_t)res->scrub.begun, "last_ended_ms", (json_int_t)res->scrub.ended, "rows",
        (json_int_t)res->scrub.rows, "chunks", (json_int_t)res->scrub.chunks, "bytes",
        (json_int_t)res->scrub.bytes, "damaged", (json_int_t)res->scrub.damaged, "wrong_sums",
        (json_int_t)res->scrub.wrong, "eta_ms", (json_int_t)res->scrub.eta_ms, "last_damaged",
        (json_int_t)res->scrub.ended_damaged);
}

static json_t *node_json(const struct kith_view_node *node, const struct kith_repair_res *res)
{
    if (!res) {
        return json_pack("{s:s, s:b}", "address", node->address, "answered", 0);
    }
    json_t *peers = json_array();
    for (uint32_t i = 0; i < res->peer_count; i++) {
        (void)json_array_append_new(peers, peer_json(&res->peers[i])); /* counted below */
    }
    if (json_array_size(peers) != res->peer_count) {
        json_decref(peers);
        return NULL;
    }
    return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "address", node->address,
                     "answered", 1, "stopped", res->stopped, "limit_bytes_per_s",
                     (json_int_t)res->rate, "since_ms_ago", (json_int_t)res->since_ms,
                     "found_damaged", (json_int_t)res->found, "rows_set_aside",
                     (json_int_t)res->bad_rows, "chunks_set_aside", (json_int_t)res->bad_chunks,
                     "peers", peers, "scrub", scrub_json(res));
}

static enum kith_err print_json(const struct asked *asked, struct kith_error *error)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < asked->view.count; i++) {
        (void)json_array_append_new(nodes, node_json(&asked->view.nodes[i], answer_of(asked, i)));
    }
    if (json_array_size(nodes) != asked->view.count) {
        json_decref(nodes);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    return kith_json_print(
        kith_json_named("cluster", asked->view.name, json_pack("{s:o}", "nodes", nodes)), error);
}

/* ---- Text ---- */

static const char *peer_state(const struct kith_repair_res *res,
                              const struct kith_repair_peer *peer)
{
    return peer->compared == peer->pairs ? "done"
           : res->stopped                ? "stopped"
           : !peer->up                   ? "waiting: it is down"
           : peer->running > 0           ? "comparing"
                                         : "due";
}

static void peer_row(struct kith_columns *columns, const struct kith_view_node *node,
                     const struct kith_repair_res *res, const struct kith_repair_peer *peer)
{
    char compared[CELL_SIZE], rows[KITH_FORMAT_SIZE], chunks[KITH_FORMAT_SIZE],
        bytes[KITH_FORMAT_SIZE];
    (void)snprintf(compared, sizeof(compared), "%u/%u", peer->compared, peer->pairs);
    kith_format_count(peer->rows, rows);
    kith_format_count(peer->chunks, chunks);
    kith_format_bytes(peer->bytes, bytes);
    const char *cells[] = {node->address, peer->address,        compared, rows, chunks,
                           bytes,         peer_state(res, peer)};
    kith_columns_add(columns, KITH_COLOUR_NONE, cells);
}

/* "1 024 of 4 096 pairs compared  [#####---------------] 25%  ETA 18 m" */
static void print_progress(uint64_t done, uint64_t all, const char *what, uint64_t eta_ms)
{
    char text[2][KITH_FORMAT_SIZE], bar[BAR + 1];
    uint64_t marks = all == 0 ? BAR : done * BAR / all;
    memset(bar, '-', BAR);
    memset(bar, '#', marks);
    bar[BAR] = '\0';
    kith_format_count(done, text[0]);
    kith_format_count(all, text[1]);
    (void)printf("%s of %s %s  [%s] %u%%", text[0], text[1], what, bar,
                 (unsigned)(all == 0 ? 100 : done * 100 / all));
    if (eta_ms > 0) {
        kith_format_age(eta_ms, text[0]);
        (void)printf("  ETA %s", text[0]);
    }
    (void)printf("\n");
}

/* Of the nodes that are up: who is down is waited for. */
static void print_compared(const struct asked *asked)
{
    uint64_t all = 0, done = 0, eta_ms = 0;
    for (uint32_t i = 0; i < asked->view.count; i++) {
        const struct kith_repair_res *res = answer_of(asked, i);
        uint64_t pairs = 0, compared = 0;
        for (uint32_t k = 0; res && k < res->peer_count; k++) {
            pairs += res->peers[k].up ? res->peers[k].pairs : 0;
            compared += res->peers[k].up ? res->peers[k].compared : 0;
        }
        uint64_t left_ms =
            compared > 0 && !res->stopped ? res->since_ms / compared * (pairs - compared) : 0;
        eta_ms = left_ms > eta_ms ? left_ms : eta_ms;
        all += pairs;
        done += compared;
    }
    print_progress(done, all, "pairs compared", eta_ms);
}

/* One line where all have the same one. */
static void print_limits(const struct asked *asked)
{
    char text[KITH_FORMAT_SIZE];
    const struct kith_repair_res *first = NULL;
    bool same = true;
    for (uint32_t i = 0; i < asked->view.count; i++) {
        const struct kith_repair_res *res = answer_of(asked, i);
        first = first ? first : res;
        same = same && (!res || res->rate == first->rate);
    }
    for (uint32_t i = 0; i < asked->view.count; i++) {
        const struct kith_repair_res *res = answer_of(asked, i);
        if (!res || (same && res != first)) {
            continue;
        }
        kith_format_bytes(res->rate, text);
        (void)printf("Limit%s%s: %s%s.", same ? "" : " of ",
                     same ? "" : asked->view.nodes[i].address, res->rate > 0 ? text : "none",
                     res->rate == 0 ? ""
                     : same         ? "/s a node"
                                    : "/s");
        (void)printf(same ? "  Another: kithctl repair limit 20M\n" : "\n");
    }
}

static enum kith_err print_columns(const struct kith_columns *columns, struct kith_error *error)
{
    return kith_columns_print(columns, stdout, kith_colours_shown(stdout))
               ? KITH_OK
               : kith_error_set(error, KITH_ENOMEM, "out of memory");
}

static enum kith_err print_repair(const struct asked *asked, struct kith_error *error)
{
    static const char *const heads[] = {"NODE",   "WITH",  "COMPARED", "ROWS",
                                        "CHUNKS", "BYTES", "STATE"};
    struct kith_columns columns;
    uint64_t aside = 0;
    bool stopped = false;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < asked->view.count; i++) {
        const struct kith_repair_res *res = answer_of(asked, i);
        for (uint32_t k = 0; res && k < res->peer_count; k++) {
            peer_row(&columns, &asked->view.nodes[i], res, &res->peers[k]);
        }
        stopped = stopped || (res && res->stopped);
        aside += res ? res->bad_rows + res->bad_chunks : 0;
    }
    print_compared(asked);
    enum kith_err err = print_columns(&columns, error);
    kith_columns_release(&columns);
    if (aside > 0) {
        (void)printf("%llu damaged rows and chunks are set aside until another owner has brought "
                     "them.\n",
                     (unsigned long long)aside);
    }
    print_limits(asked);
    (void)printf(stopped ? "Repair is stopped.  Start: kithctl repair start\n"
                         : "Stop: kithctl repair stop\n");
    return err;
}

static const char *scrub_state(const struct kith_repair_res *res)
{
    return res->scrub.asked           ? "running"
           : res->scrub.period_ms > 0 ? "slow"
           : res->scrub.left > 0      ? "stopped"
                                      : "none";
}

static void scrub_row(struct kith_columns *columns, const struct kith_view_node *node,
                      const struct kith_repair_res *res)
{
    char done[KITH_FORMAT_SIZE], rows[KITH_FORMAT_SIZE], chunks[KITH_FORMAT_SIZE],
        damaged[KITH_FORMAT_SIZE], aside[KITH_FORMAT_SIZE],
        eta[KITH_FORMAT_SIZE] = "-", text[KITH_FORMAT_SIZE], ended[2 * KITH_FORMAT_SIZE] = "never";
    uint32_t read = res->scrub.left > 0 ? res->scrub.partitions - res->scrub.left : 0;
    bool between = res->scrub.left == 0 && res->scrub.ended > 0;
    kith_format_share(between ? res->scrub.partitions : read, res->scrub.partitions, done);
    kith_format_count(res->scrub.rows, rows);
    kith_format_count(res->scrub.chunks, chunks);
    kith_format_count(res->scrub.damaged + res->scrub.wrong, damaged);
    kith_format_count(res->bad_rows + res->bad_chunks, aside);
    if (res->scrub.ended > 0) {
        kith_format_time(res->scrub.ended, text);
        (void)snprintf(ended, sizeof(ended), "%s, %llu damaged", text,
                       (unsigned long long)res->scrub.ended_damaged);
    }
    if (res->scrub.eta_ms > 0) {
        kith_format_age(res->scrub.eta_ms, eta);
    }
    const char *cells[] = {node->address, scrub_state(res), done,  eta,  rows,
                           chunks,        damaged,          aside, ended};
    kith_columns_add(columns, KITH_COLOUR_NONE, cells);
}

static enum kith_err print_scrub(const struct asked *asked, struct kith_error *error)
{
    static const char *const heads[] = {"NODE",   "SCRUB",   "READ",      "ETA",       "ROWS",
                                        "CHUNKS", "DAMAGED", "SET ASIDE", "LAST ENDED"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (uint32_t i = 0; i < asked->view.count; i++) {
        const struct kith_repair_res *res = answer_of(asked, i);
        if (res) {
            scrub_row(&columns, &asked->view.nodes[i], res);
        }
    }
    enum kith_err err = print_columns(&columns, error);
    kith_columns_release(&columns);
    return err;
}

/* ---- Commands ---- */

struct order {
    const struct kith_ctl_args *args;
    struct kith_repair_cmd cmd;
    bool scrub; /* its screen */
};

static int look(void *arg)
{
    const struct order *order = arg;
    const struct kith_ctl_args *args = order->args;
    struct kith_error error;
    struct asked asked;
    memset(&asked, 0, sizeof(asked));
    enum kith_err err = ask_all(args, &order->cmd, &asked, &error);
    bool all = asked.answered == asked.view.count;
    if (err == KITH_OK) {
        err = args->json     ? print_json(&asked, &error)
              : order->scrub ? print_scrub(&asked, &error)
                             : print_repair(&asked, &error);
    }
    for (uint32_t i = 0; err == KITH_OK && i < asked.view.count; i++) {
        if (!answer_of(&asked, i)) {
            kith_report_warning(
                args->json, "%s did not answer%s; see kithctl status", asked.view.nodes[i].address,
                order->cmd.action == KITH_REPAIR_STATUS ? "" : " and was told nothing");
        }
    }
    asked_release(&asked);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    return all ? KITH_CTL_OK : KITH_CTL_FAILED;
}

static int run(const struct kith_ctl_args *args, struct kith_repair_cmd cmd, bool scrub)
{
    struct order order = {.args = args, .cmd = cmd, .scrub = scrub};
    bool again = cmd.action == KITH_REPAIR_STATUS && kith_ctl_value(args, "watch") != NULL;
    return again ? kith_again(args->json, look, &order) : look(&order);
}

int kith_ctl_repair_status(const struct kith_ctl_args *args)
{
    return run(args, (struct kith_repair_cmd){.action = KITH_REPAIR_STATUS}, false);
}

int kith_ctl_repair_start(const struct kith_ctl_args *args)
{
    return run(args, (struct kith_repair_cmd){.action = KITH_REPAIR_START}, false);
}

int kith_ctl_repair_stop(const struct kith_ctl_args *args)
{
    return run(args, (struct kith_repair_cmd){.action = KITH_REPAIR_STOP}, false);
}

int kith_ctl_repair_limit(const struct kith_ctl_args *args)
{
    struct kith_repair_cmd cmd = {.action = KITH_REPAIR_LIMIT};
    struct kith_error error;
    if (kith_size_parse(args->positional[0], &cmd.rate, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    return run(args, cmd, false);
}

int kith_ctl_scrub(const struct kith_ctl_args *args)
{
    struct kith_repair_cmd cmd = {.action = KITH_SCRUB_START};
    struct kith_error error;
    const char *what = args->count > 0 ? args->positional[0] : "start";
    if (strcmp(what, "stop") == 0) {
        cmd.action = KITH_SCRUB_STOP;
    } else if (strcmp(what, "status") == 0) {
        cmd.action = KITH_REPAIR_STATUS;
    } else if (strcmp(what, "start") != 0) {
        (void)kith_error_set(&error, KITH_EINVAL, "'%s' is none of start, status, stop", what);
        return kith_ctl_usage(args, &error);
    }
    return run(args, cmd, true);
}
