/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cert_push.c - kithctl cert push: the authority's list of what is revoked, to every member. Each is
 * asked on its own, and those that do not take it are named. */
#include <string.h>

#include "ctl/ask/view.h"
#include "ctl/certs/ca_dir.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "text/columns.h"
#include "tls/pem_file.h"

/* Once one has answered: a node looks for new lists once a second, and writes them to its disk. */
#define PATIENCE_MS 5000u

struct push {
    struct kith_link *link;
    struct kith_view view;
    bool viewed;
    struct kith_link_ask *asks; /* [view.count] */
    struct kith_error *errors;  /* the same; OK: it has the list */
    uint32_t taken;
};

static enum kith_err list_read(const struct kith_ctl_args *args, struct kith_buf *list,
                               struct kith_error *error)
{
    const char *ca = kith_ctl_value(args, "ca");
    char path[PATH_MAX];
    enum kith_err err = kith_ca_path(ca ? ca : KITH_CA_DIR_DEFAULT, "crl.pem", path, error);
    if (err == KITH_OK) {
        err = kith_pem_read(path, KITH_PEM_PUBLIC, KITH_REVOKED_MAX, list, error);
    }
    if (err == KITH_ETOOBIG) {
        (void)kith_error_wrap(error, "it is too large to be sent: copy it to each node, to the file "
                                     "that its --crl names");
    }
    return err;
}

/* What became of it at one node. */
static void outcome(const struct kith_link_ask *ask, struct kith_error *ret_error)
{
    const struct kith_msg_box *box = ask->box;
    memset(ret_error, 0, sizeof *ret_error);
    if (!box) {
        *ret_error = ask->error;
    } else if (box->msg.kind != KITH_MSG_ADMIN_RES) {
        (void)kith_error_set(ret_error, KITH_EFORMAT, "%s gave an answer of the wrong kind (%s)",
                             ask->address, kith_msg_kind_name(box->msg.kind));
    } else if (box->msg.u.admin_res.status.err != KITH_OK) {
        const struct kith_status *status = &box->msg.u.admin_res.status;
        (void)kith_error_set(ret_error, status->err, "%s",
                             status->message && *status->message ? status->message
                                                                 : kith_err_text((int)status->err));
    }
}

static enum kith_err push_all(const struct kith_ctl_args *args, struct kith_bytes list,
                              struct push *push, struct kith_error *error)
{
    enum kith_err err = kith_link_new(&push->link, error);
    if (err == KITH_OK) {
        err = kith_view_ask(push->link, args, &push->view, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    push->viewed = true;
    push->asks = kith_calloc(push->view.count, sizeof *push->asks);
    push->errors = kith_calloc(push->view.count, sizeof *push->errors);
    if (!push->asks || !push->errors) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < push->view.count; i++) {
        push->asks[i].address = push->view.nodes[i].address;
    }
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_REVOKED_CMD;
    msg.u.revoked_cmd.list = list;
    kith_link_ask(push->link, push->asks, push->view.count, &msg, args->timeout_ms, PATIENCE_MS);
    for (uint32_t i = 0; i < push->view.count; i++) {
        outcome(&push->asks[i], &push->errors[i]);
        push->taken += push->errors[i].code == KITH_OK ? 1 : 0;
    }
    return KITH_OK;
}

static void push_release(struct push *push)
{
    for (uint32_t i = 0; push->asks && i < push->view.count; i++) {
        kith_msg_box_drop(push->asks[i].box);
    }
    kith_free(push->asks);
    kith_free(push->errors);
    if (push->viewed) {
        kith_view_release(&push->view);
    }
    kith_link_free(push->link);
}

static enum kith_err print_text(const struct push *push, struct kith_error *error)
{
    static const char *const heads[] = {"NODE", "ADDRESS", "LIST"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, 3);
    for (uint32_t i = 0; i < push->view.count; i++) {
        const struct kith_error *why = &push->errors[i];
        char name[KITH_FORMAT_SIZE], text[KITH_ERROR_MESSAGE_SIZE + 16];
        bool taken = why->code == KITH_OK;
        kith_format_node(&push->view.nodes[i].uuid, name);
        (void)snprintf(text, sizeof text, "%s%s", taken ? "taken" : "not taken: ",
                       taken ? "" : why->message);
        const char *const cells[] = {name, push->view.nodes[i].address, text};
        kith_columns_add(&columns, taken ? KITH_COLOUR_NONE : KITH_COLOUR_BAD, cells);
    }
    bool good = kith_columns_print(&columns, stdout, kith_colours_shown(stdout));
    kith_columns_release(&columns);
    if (!good) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    (void)printf("%u of %u nodes have it.%s\n", push->taken, push->view.count,
                 push->taken < push->view.count
                     ? " The others let in who is revoked until then: when they are up, run this "
                       "again."
                     : "");
    return KITH_OK;
}

static enum kith_err print_json(const struct push *push, struct kith_error *error)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < push->view.count; i++) {
        const struct kith_error *why = &push->errors[i];
        bool taken = why->code == KITH_OK;
        (void)json_array_append_new( /* counted below */
            list, json_pack("{s:s, s:b, s:o}", "address", push->view.nodes[i].address, "taken",
                            taken ? 1 : 0, "error",
                            taken ? json_null()
                                  : kith_json_text(why->message, strlen(why->message))));
    }
    if (json_array_size(list) != push->view.count) {
        json_decref(list);
        list = NULL;
    }
    return kith_json_print(
        list ? json_pack("{s:i, s:o}", "taken", (int)push->taken, "nodes", list) : NULL, error);
}

int kith_ctl_cert_push(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_buf list;
    struct push push;
    memset(&push, 0, sizeof push);
    kith_buf_init(&list);
    enum kith_err err = list_read(args, &list, &error);
    if (err == KITH_OK) {
        err = push_all(args, kith_buf_bytes(&list), &push, &error);
    }
    if (err == KITH_OK) {
        err = args->json ? print_json(&push, &error) : print_text(&push, &error);
    }
    bool all = err == KITH_OK && push.taken == push.view.count;
    push_release(&push);
    kith_buf_release(&list);
    return err != KITH_OK ? kith_ctl_fail(args, &error) : all ? KITH_CTL_OK : KITH_CTL_FAILED;
}
