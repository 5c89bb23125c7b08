/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cluster.c - init and join: a node without a cluster gets one. */
#include "ctl/ask/cluster.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ctl/ask/own_cert.h"
#include "ctl/format.h"

#define NAME_MAX_BYTES (sizeof(((struct kith_cluster *)0)->name) - 1) /* without the NUL */
#define ZONE_MAX_BYTES (KITH_ZONE_SIZE - 1)
#define STARTING_PAUSE_MS 50 /* a node without data has started within some tens of ms */
#define ATTEMPT_MS 1000u /* what a further attempt has at least: one that is cut short may yet happen */

static enum kith_err order_once(struct kith_link *link, const char *address,
                                const struct kith_msg *order, uint64_t timeout_ms,
                                struct kith_error *error)
{
    struct kith_link_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.address = address;
    kith_link_ask(link, &ask, 1, order, timeout_ms, timeout_ms);
    if (!ask.box) {
        *error = ask.error;
        if (error->code == KITH_EUNREACH) {
            (void)kith_error_set(error, error->code, "no answer from %s; %s",
                                 ask.error.message, kith_ctl_nobody(ask.error.message));
        }
        return error->code;
    }
    enum kith_err err = KITH_OK;
    if (ask.box->msg.kind != KITH_MSG_ADMIN_RES) {
        err = kith_error_set(error, KITH_EFORMAT, "%s gave an answer of the wrong kind (%s)",
                             address, kith_msg_kind_name(ask.box->msg.kind));
    } else if (ask.box->msg.u.admin_res.status.err != KITH_OK) {
        const struct kith_status *status = &ask.box->msg.u.admin_res.status;
        err = kith_error_set(error, status->err, "%s: %s", address,
                             status->message && *status->message ? status->message
                                                                 : kith_err_text((int)status->err));
    }
    kith_msg_box_drop(ask.box);
    return err;
}

enum kith_err kith_ctl_order(struct kith_link *link, const char *address,
                             const struct kith_msg *order, uint64_t timeout_ms,
                             struct kith_error *error)
{
    const struct timespec pause = {0, STARTING_PAUSE_MS * 1000000L};
    uint64_t deadline_ms = kith_mono_ms() + timeout_ms;
    uint64_t attempt_ms = timeout_ms / 2 < ATTEMPT_MS ? timeout_ms / 2 : ATTEMPT_MS;
    for (;;) {
        uint64_t now_ms = kith_mono_ms();
        uint64_t left_ms = now_ms < deadline_ms ? deadline_ms - now_ms : 1;
        enum kith_err err = order_once(link, address, order, left_ms, error);
        /* nothing has happened; nobody can be told by a node when it has started */
        if (err != KITH_ENOTREADY ||
            kith_mono_ms() + STARTING_PAUSE_MS + attempt_ms >= deadline_ms) {
            return err;
        }
        (void)nanosleep(&pause, NULL); /* earlier is no harm */
    }
}

/* An option's whole number, 0 where it is not given. */
static enum kith_err number(const struct kith_ctl_args *args, const char *name, uint32_t max,
                            uint32_t *ret_number, struct kith_error *error)
{
    uint64_t value = 0;
    enum kith_err err = kith_ctl_number(args, name, 1, max, &value, error);
    *ret_number = (uint32_t)value;
    return err;
}

/* An option's text of min to max bytes, `otherwise` where it is not given. */
static enum kith_err text(const struct kith_ctl_args *args, const char *name, size_t min,
                          size_t max, const char *otherwise, const char **ret_text,
                          struct kith_error *error)
{
    const char *given = kith_ctl_value(args, name);
    *ret_text = given ? given : otherwise;
    if (given && (strlen(given) < min || strlen(given) > max)) {
        return kith_error_set(error, KITH_EINVAL, "--%s takes %zu to %zu bytes, this is %zu", name,
                              min, max, strlen(given));
    }
    return KITH_OK;
}

static enum kith_err partitions(const struct kith_ctl_args *args, uint32_t *ret_number,
                                struct kith_error *error)
{
    enum kith_err err = number(args, "partitions", KITH_PARTITIONS_MAX, ret_number, error);
    if (err == KITH_OK && (*ret_number & (*ret_number - 1)) != 0) {
        err =
            kith_error_set(error, KITH_EINVAL, "--partitions: %u is no power of two", *ret_number);
    }
    return err;
}

static int order_run(const struct kith_ctl_args *args, const char *address,
                     const struct kith_msg *order, const char *done)
{
    struct kith_error error;
    struct kith_link *link = NULL;
    enum kith_err err = kith_link_new(&link, &error);
    if (err == KITH_OK) {
        err = kith_ctl_order(link, address, order, args->timeout_ms, &error);
    }
    kith_link_free(link);
    if (err == KITH_OK && args->json) {
        err = kith_json_print(json_pack("{s:s, s:s}", "result", "ok", "node", address), &error);
    } else if (err == KITH_OK) {
        (void)printf("%s %s. See: kithctl status --servers %s\n", address, done, address);
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

enum kith_err kith_ctl_address(const char *text, char ret_address[KITH_ADDRESS_SIZE],
                               struct kith_error *error)
{
    struct kith_ctl_args *scratch = kith_calloc(1, sizeof(*scratch));
    if (!scratch) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    enum kith_err err = kith_ctl_servers(text, scratch, error);
    if (err == KITH_OK && scratch->server_count != 1) {
        err = kith_error_set(error, KITH_EINVAL, "'%s' is more than one address", text);
    }
    if (err == KITH_OK) {
        (void)snprintf(ret_address, KITH_ADDRESS_SIZE, "%s", scratch->servers[0]);
    }
    kith_free(scratch);
    return err;
}

/* The cluster's name, under either of its options; else, in `own`, that which its certificates have. */
static enum kith_err cluster_name(const struct kith_ctl_args *args, char own[KITH_CERT_NAME_SIZE],
                                  const char **ret_name, struct kith_error *error)
{
    if (!kith_ctl_own_cluster(own) || strlen(own) > NAME_MAX_BYTES) {
        (void)snprintf(own, KITH_CERT_NAME_SIZE, "kith");
    }
    const char *by_name = kith_ctl_value(args, "name");
    if (by_name && kith_ctl_value(args, "cluster")) {
        return kith_error_set(error, KITH_EINVAL, "--name and --cluster are the same");
    }
    return text(args, by_name ? "name" : "cluster", 1, NAME_MAX_BYTES, own, ret_name, error);
}

/* What only certificates have. */
static enum kith_err no_folder(const struct kith_ctl_args *args, struct kith_error *error)
{
    static const char *const names[] = {"node", "days"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (kith_ctl_value(args, names[i])) {
            return kith_error_set(error, KITH_EINVAL,
                                  "--%s goes with 'init DIR', and a DIR has a '/' in it", names[i]);
        }
    }
    return KITH_OK;
}

int kith_ctl_init(const struct kith_ctl_args *args)
{
    if (strchr(args->positional[0], '/') || strcmp(args->positional[0], ".") == 0) {
        return kith_ctl_init_dir(args);
    }
    struct kith_error error;
    char node[KITH_ADDRESS_SIZE];
    char own[KITH_CERT_NAME_SIZE];
    struct kith_msg order;
    memset(&order, 0, sizeof(order));
    order.kind = KITH_MSG_INIT_REQ;
    struct kith_init_req *init = &order.u.init_req;
    if (kith_ctl_address(args->positional[0], node, &error) != KITH_OK ||
        no_folder(args, &error) != KITH_OK ||
        cluster_name(args, own, &init->name, &error) != KITH_OK ||
        text(args, "zone", 0, ZONE_MAX_BYTES, "", &init->zone, &error) != KITH_OK ||
        partitions(args, &init->partitions, &error) != KITH_OK ||
        number(args, "replicas", KITH_REPLICAS_MAX, &init->replicas, &error) != KITH_OK ||
        number(args, "weight", KITH_WEIGHT_MAX, &init->weight, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    return order_run(args, node, &order, "is a cluster of one now");
}

int kith_ctl_join(const struct kith_ctl_args *args)
{
    struct kith_error error;
    char node[KITH_ADDRESS_SIZE];
    char through[KITH_ADDRESS_SIZE];
    struct kith_msg order;
    memset(&order, 0, sizeof(order));
    order.kind = KITH_MSG_JOIN_CMD;
    struct kith_join_cmd *join = &order.u.join_cmd;
    const char *door = kith_ctl_value(args, "through");
    door = door ? door : args->servers[0];
    if (kith_ctl_address(args->positional[0], node, &error) != KITH_OK ||
        text(args, "zone", 0, ZONE_MAX_BYTES, "", &join->zone, &error) != KITH_OK ||
        kith_ctl_address(door, through, &error) != KITH_OK ||
        number(args, "weight", KITH_WEIGHT_MAX, &join->weight, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    if (strcmp(node, through) == 0) {
        (void)kith_error_set(
            &error, KITH_EINVAL,
            "%s cannot join through itself; --through names a member of the cluster", node);
        return kith_ctl_usage(args, &error);
    }
    join->through = through;
    return order_run(args, node, &order, "has joined");
}
