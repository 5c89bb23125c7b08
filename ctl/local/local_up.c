/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local_up.c - local up: all of it, or nothing. A run that fails takes back what it has made, as
 * far as nothing can be lost by it:
 *
 * - the nodes that it has made and started end; but one that has joined a cluster that was running
 *   before runs on, for that cluster counts on it. So do those of earlier runs: two of three serve,
 *   and none does not;
 * - a node that it has added, and that has not joined, is forgotten, and its data and log are
 *   removed if they were not there before;
 * - a cluster of which it has made every node goes whole, with DIR if that is of this run too. But
 *   once every node has joined, somebody may have stored something: then all files stay. */
#include "ctl/local/local.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/memory.h"
#include "ctl/ask/cluster.h"
#include "ctl/format.h"
#include "ctl/local/local_certs.h"
#include "ctl/screens/status.h"

#define UP_TIMEOUT_MS       60000u /* recovery after a crash reads the log: seconds, not minutes */
#define POLL_MS             100u   /* between two questions to nodes that are not ready */
#define ASK_TIMEOUT_MS      5000u  /* of one such question */
#define LOCAL_NODES_DEFAULT 3u
#define CACHE_MIN           (8ull << 20) /* bytes; kithd takes no less */

/* One run of `local up`. */
struct up {
    const struct kith_ctl_args *args;
    uint64_t wanted;      /* nodes by the command line; 0 = it does not say */
    uint64_t cache_bytes; /* the same */
    struct kith_local local;
    struct kith_local_process processes[KITH_LOCAL_NODES_MAX];
    bool tried[KITH_LOCAL_NODES_MAX]; /* it was to be started; `present`: what there was before */
    struct kith_local_present present[KITH_LOCAL_NODES_MAX];
    bool started[KITH_LOCAL_NODES_MAX];
    bool joined[KITH_LOCAL_NODES_MAX]; /* it is of a cluster, or may be */
    bool formed;                       /* every node is */
    bool ran;                          /* a node did before */
    bool begun;                        /* something may have been made */
    bool certs_made;
    uint32_t before;                   /* nodes of earlier runs */
    char addresses[KITH_LOCAL_NODES_MAX][32];
    struct kith_link *link;
    uint64_t deadline_ms;
    uint32_t failed; /* the node whose log explains the error, from 1; 0 = none */
};

static void addresses_set(struct up *up)
{
    for (uint32_t i = 0; i < up->local.count; i++) {
        (void)snprintf(up->addresses[i], sizeof(up->addresses[i]), "127.0.0.1:%u",
                       up->local.nodes[i].port);
    }
}

/* ---- Processes ---- */

/* What the command line alone can show to be wrong, before anything is made. */
static enum kith_err options_read(struct up *up, struct kith_error *error)
{
    enum kith_err err =
        kith_ctl_number(up->args, "nodes", 1, KITH_LOCAL_NODES_MAX, &up->wanted, error);
    const char *text = kith_ctl_value(up->args, "cache");
    if (err != KITH_OK || !text) {
        return err;
    }
    err = kith_size_parse(text, &up->cache_bytes, error);
    if (err != KITH_OK) {
        return kith_error_wrap(error, "--cache");
    }
    if (up->cache_bytes < CACHE_MIN) {
        return kith_error_set(error, KITH_EINVAL, "--cache: '%s' is less than %llu MiB", text,
                              CACHE_MIN >> 20);
    }
    return KITH_OK;
}

static enum kith_err count_set(struct up *up, struct kith_error *error)
{
    uint32_t count = up->local.count > 0 ? up->local.count : LOCAL_NODES_DEFAULT;
    up->before = up->local.count;
    if (up->wanted > 0 && up->wanted < up->before) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s has %u nodes already; a node cannot be taken away by --nodes",
                              up->local.dir, up->before);
    }
    up->local.count = up->wanted > 0 ? (uint32_t)up->wanted : count;
    /* Nodes on one machine share what a node alone would take. */
    up->local.cache_bytes = up->cache_bytes > 0
                                ? up->cache_bytes
                                : kith_memory_cache(kith_memory_bytes(), up->local.count);
    return KITH_OK;
}

/* The recorded port where it is free, else another. A node's address may change: it is told again.
 */
static enum kith_err port_choose(struct up *up, uint32_t index, struct kith_error *error)
{
    uint16_t *port = &up->local.nodes[index].port;
    enum kith_err err = *port ? kith_local_port(port, error) : KITH_EBUSY;
    for (uint32_t tries = 0; err == KITH_EBUSY && tries < 100; tries++) {
        uint16_t other = 0;
        err = kith_local_port(&other, error);
        for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
            if (i != index && up->local.nodes[i].port == other) {
                err = KITH_EBUSY; /* another node of ours that is not listening yet */
            }
        }
        if (err == KITH_OK) {
            *port = other;
        }
    }
    return err == KITH_EBUSY ? kith_error_set(error, KITH_EBUSY, "no free port on 127.0.0.1") : err;
}

static enum kith_err node_start(struct up *up, uint32_t index, const char *program,
                                struct kith_error *error)
{
    struct kith_local_process *process = &up->processes[index];
    enum kith_err err = kith_local_find(&up->local, index, process, error);
    if (err != KITH_OK) {
        return err;
    }
    if (process->fd >= 0) {
        up->local.nodes[index].pid = process->pid;
        up->ran = true;
        kith_local_say(up->args, "node%u  runs already (pid %d) on 127.0.0.1:%u\n", index + 1,
                       (int)process->pid, up->local.nodes[index].port);
        return KITH_OK;
    }
    err = kith_local_present(&up->local, index, &up->present[index], error);
    if (err == KITH_OK) {
        err = port_choose(up, index, error);
    }
    if (err == KITH_OK) {
        up->begun = up->tried[index] = true;
        err = kith_local_start(&up->local, index, program, process, error);
    }
    if (err == KITH_OK) {
        up->started[index] = true;
        kith_local_say(up->args, "node%u  started (pid %d) on 127.0.0.1:%u\n", index + 1,
                       (int)up->local.nodes[index].pid, up->local.nodes[index].port);
    }
    return err;
}

/* A cluster that is new gets certificates, unless it shall have none. */
static enum kith_err certs_have(struct up *up, struct kith_error *error)
{
    bool insecure = kith_ctl_value(up->args, "insecure") != NULL;
    if (insecure && up->local.secure) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s has certificates already, and keeps them: --insecure is for a "
                              "cluster that is made",
                              up->local.dir);
    }
    enum kith_err err = KITH_OK;
    if (!insecure && !up->local.secure && up->before == 0) {
        up->begun = true;
        err = kith_local_certs_make(&up->local, error);
        up->certs_made = err == KITH_OK;
    }
    return err == KITH_OK ? kith_local_certs_use(&up->local, error) : err;
}

static enum kith_err start_all(struct up *up, struct kith_error *error)
{
    char program[PATH_MAX];
    enum kith_err err = kith_local_program(program, error);
    if (err == KITH_OK) {
        err = certs_have(up, error);
    }
    for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
        err = node_start(up, i, program, error);
    }
    if (err == KITH_OK) {
        err = kith_local_save(&up->local, error);
    }
    addresses_set(up);
    return err;
}

/* ---- The cluster ---- */

/* Waits a moment; false when the deadline has passed. */
static bool pause_short(const struct up *up)
{
    struct timespec moment = {0, POLL_MS * 1000000L};
    (void)nanosleep(&moment, NULL);
    return kith_mono_ms() < up->deadline_ms;
}

/* Whether the process is still there; it may have ended with a message in its log. */
static bool node_alive(const struct up *up, uint32_t index)
{
    return up->processes[index].fd >= 0 && !kith_local_wait_end(&up->processes[index], 0);
}

/* A node that ran already was on its way to its end: somebody had told it to. */
static enum kith_err node_start_again(struct up *up, uint32_t index, struct kith_error *error)
{
    char program[PATH_MAX];
    enum kith_err err = kith_local_program(program, error);
    (void)close(up->processes[index].fd);
    up->processes[index].fd = -1;
    if (err == KITH_OK) {
        err = node_start(up, index, program, error);
    }
    if (err == KITH_OK) {
        err = kith_local_save(&up->local, error);
    }
    addresses_set(up);
    return err;
}

/* Until the node answers; *ret_member: it belongs to a cluster. */
static enum kith_err node_wait(struct up *up, uint32_t index, bool *ret_member,
                               struct kith_error *error)
{
    struct kith_msg question;
    memset(&question, 0, sizeof(question));
    question.kind = KITH_MSG_STATUS_REQ;
    for (;;) {
        struct kith_link_ask ask;
        memset(&ask, 0, sizeof(ask));
        ask.address = up->addresses[index];
        kith_link_ask(up->link, &ask, 1, &question, ASK_TIMEOUT_MS, ASK_TIMEOUT_MS);
        /* a node that is still starting refuses: it does not know its cluster yet */
        if (ask.box && ask.box->msg.kind == KITH_MSG_STATUS_RES &&
            ask.box->msg.u.status_res.status.err == KITH_OK) {
            *ret_member = !kith_uuid_is_nil(&ask.box->msg.u.status_res.node.cluster);
            kith_msg_box_drop(ask.box);
            return KITH_OK;
        }
        if (ask.box) {
            (void)kith_error_set(&ask.error, KITH_ENOTREADY, "still starting");
            kith_msg_box_drop(ask.box);
        }
        up->failed = index + 1;
        if (!node_alive(up, index) && !up->started[index]) {
            enum kith_err err = node_start_again(up, index, error);
            if (err != KITH_OK) {
                return err;
            }
        } else if (!node_alive(up, index)) {
            char how[64];
            kith_local_end_text(&up->processes[index], how, sizeof(how));
            return kith_error_set(
                error, KITH_EUNREACH,
                "node%u has ended again%s%s; mend what its log says, then run this again",
                index + 1, how[0] != '\0' ? ": " : "", how);
        }
        if (!pause_short(up)) {
            return kith_error_set(error, KITH_ETIMEOUT, "node%u does not answer (%s)", index + 1,
                                  ask.error.message);
        }
    }
}

static enum kith_err node_admit(struct up *up, uint32_t index, struct kith_error *error)
{
    struct kith_msg order;
    memset(&order, 0, sizeof(order));
    if (index == 0) {
        order.kind = KITH_MSG_INIT_REQ;
        order.u.init_req.name = "local";
        order.u.init_req.zone = "";
    } else {
        order.kind = KITH_MSG_JOIN_CMD;
        order.u.join_cmd.through = up->addresses[0];
        order.u.join_cmd.zone = "";
        order.u.join_cmd.weight = 1;
    }
    up->failed = index + 1;
    enum kith_err err =
        kith_ctl_order(up->link, up->addresses[index], &order, UP_TIMEOUT_MS / 2, error);
    if (err == KITH_OK) {
        kith_local_say(up->args, "node%u  %s\n", index + 1,
                       index == 0 ? "made the cluster" : "joined");
    }
    return err;
}

/* Every node up, under one table, and seen by all others. */
static bool settled(struct up *up, struct kith_error *error)
{
    const char *servers[KITH_LOCAL_NODES_MAX];
    struct kith_view view;
    for (uint32_t i = 0; i < up->local.count; i++) {
        servers[i] = up->addresses[i];
    }
    if (kith_view_read(up->link, servers, up->local.count, ASK_TIMEOUT_MS, ASK_TIMEOUT_MS, &view,
                       error) != KITH_OK) {
        return false;
    }
    bool good = view.count >= up->local.count;
    if (!good) {
        (void)kith_error_set(error, KITH_ETIMEOUT, "%u of %u nodes are members", view.count,
                             up->local.count);
    }
    for (uint32_t i = 0; i < view.count; i++) {
        if (good && !view.nodes[i].agrees) {
            (void)kith_error_set(error, KITH_ETIMEOUT, "%s is not in step with the others",
                                 view.nodes[i].address);
            good = false;
        }
    }
    kith_view_release(&view);
    return good;
}

static enum kith_err form(struct up *up, struct kith_error *error)
{
    enum kith_err err = kith_link_new(&up->link, error);
    up->deadline_ms = kith_mono_ms() + UP_TIMEOUT_MS;
    for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
        err = node_wait(up, i, &up->joined[i], error);
    }
    for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
        if (!up->joined[i]) {
            err = node_admit(up, i, error);
            up->joined[i] = err != KITH_EREFUSED; /* else it may have, whatever went wrong */
        }
    }
    if (err != KITH_OK) {
        return err;
    }
    up->formed = true;
    up->failed = 0;
    err = kith_local_env_write(&up->local, error);
    if (err != KITH_OK) {
        return err;
    }
    up->deadline_ms = kith_mono_ms() + UP_TIMEOUT_MS;
    while (!settled(up, error)) {
        if (!pause_short(up)) {
            return kith_error_wrap(error, "the nodes did not find together within %u s",
                                   UP_TIMEOUT_MS / 1000);
        }
    }
    return KITH_OK;
}

static int up_report(struct up *up)
{
    struct kith_error error;
    if (!up->args->json) {
        (void)printf("%u nodes are up: ", up->local.count);
        for (uint32_t i = 0; i < up->local.count; i++) {
            (void)printf("%s%s", i > 0 ? "," : "", up->addresses[i]);
        }
        (void)printf("\nSee: kithctl local status %s      Stop: kithctl local down %s\n"
                     "For other commands: . %s/env\n",
                     up->local.dir, up->local.dir, up->local.dir);
        return KITH_CTL_OK;
    }
    json_t *list = json_array();
    for (uint32_t i = 0; i < up->local.count; i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:i, s:b}", "address", up->addresses[i],
                                                    "pid", (int)up->local.nodes[i].pid, "started",
                                                    up->started[i]));
    }
    if (json_array_size(list) != up->local.count) {
        json_decref(list);
        list = NULL;
    }
    json_t *answer = json_pack("{s:o}", "nodes", list); /* NULL where list is */
    answer = kith_json_named("dir", up->local.dir, answer);
    if (kith_json_print(answer, &error) != KITH_OK) {
        return kith_ctl_fail(up->args, &error);
    }
    return KITH_CTL_OK;
}

/* ---- Taking back ---- */

/* Ends those that this run has started, all at once; false: one may still run. */
static bool started_end(struct up *up, uint32_t *ret_ended)
{
    struct kith_error error;
    bool ends[KITH_LOCAL_NODES_MAX];
    bool good = true;
    *ret_ended = 0;
    for (uint32_t i = 0; i < up->local.count; i++) {
        bool serves = i < up->before || (up->ran && up->joined[i]); /* see the top of this file */
        ends[i] = up->started[i] && node_alive(up, i) && !serves;
        if (ends[i] && kith_local_signal(&up->processes[i], SIGTERM, &error) != KITH_OK) {
            (void)kith_ctl_fail(up->args, &error); /* beside what the run has failed by */
            ends[i] = good = false;
        }
    }
    for (uint32_t i = 0; i < up->local.count; i++) {
        if (!ends[i]) {
            continue;
        }
        if (kith_local_end(up->args, i, &up->processes[i], &error) == KITH_OK) {
            up->local.nodes[i].pid = 0;
            ++*ret_ended;
        } else {
            (void)kith_ctl_fail(up->args, &error);
            good = false;
        }
    }
    return good;
}

/* How many nodes stay known. */
static uint32_t kept(const struct up *up)
{
    bool whole = up->before == 0 && !up->ran && !up->formed; /* made by this run alone */
    uint32_t count = up->before;
    for (uint32_t i = 0; i < up->local.count; i++) {
        whole = whole && !up->present[i].data;
    }
    for (uint32_t i = up->before; i < up->local.count && !whole; i++) {
        count = up->joined[i] ? i + 1 : count;
    }
    return count;
}

/* Removes what is behind the first `count` nodes; *ret_removed: nodes of which something was. */
static enum kith_err added_remove(struct up *up, uint32_t count, uint32_t *ret_removed,
                                  struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    *ret_removed = 0;
    for (uint32_t i = count; err == KITH_OK && i < up->local.count; i++) {
        struct kith_local_process other = {-1, 0};
        if (!up->tried[i]) {
            continue;
        }
        err = kith_local_find(&up->local, i, &other, error);
        if (err == KITH_OK && other.fd >= 0) { /* somebody has started it by hand */
            (void)close(other.fd);
            continue;
        }
        if (err == KITH_OK) {
            err = kith_local_remove(&up->local, i, &up->present[i], error);
        }
        *ret_removed += !up->present[i].data;
    }
    return err;
}

/* See the top of this file. What was done, in words; "" where there was nothing to do. */
static void take_back(struct up *up, char *ret_text, size_t size)
{
    struct kith_error error;
    uint32_t ended = 0;
    uint32_t removed = 0;
    ret_text[0] = '\0';
    if (!up->begun) {
        if (up->local.made && rmdir(up->local.dir) == 0) {
            (void)snprintf(ret_text, size, "%s removed", up->local.dir);
        }
        return;
    }
    bool good = started_end(up, &ended);
    uint32_t count = good ? kept(up) : up->local.count; /* what may still run must be found again */
    enum kith_err err = added_remove(up, count, &removed, &error);
    if (err == KITH_OK && count == 0 && up->certs_made) {
        err = kith_local_certs_remove(&up->local, &error);
    }
    up->local.count = err == KITH_OK ? count : up->local.count;
    if (err == KITH_OK && up->local.count == 0 && !up->local.has_state) {
        err = kith_local_forget(&up->local, &error);
    } else {
        struct kith_error saving;
        enum kith_err saved = kith_local_save(&up->local, err == KITH_OK ? &error : &saving);
        err = err == KITH_OK ? saved : err;
    }
    bool gone = err == KITH_OK && count == 0 && up->local.made && rmdir(up->local.dir) == 0;
    int used = snprintf(ret_text, size, "%u started node%s stopped", ended, ended == 1 ? "" : "s");
    if (removed > 0) {
        used += snprintf(ret_text + used, size - (size_t)used,
                         ", what was made of %u node%s removed", removed, removed == 1 ? "" : "s");
    }
    if (err != KITH_OK) {
        (void)snprintf(ret_text + used, size - (size_t)used, "; but %s", error.message);
    } else if (gone) {
        (void)snprintf(ret_text + used, size - (size_t)used, ", and %s with it", up->local.dir);
    } else if (count > 0) {
        (void)snprintf(ret_text + used, size - (size_t)used, "; the cluster keeps its %u node%s",
                       count, count == 1 ? "" : "s");
    }
}

#define TAKEN_SIZE (PATH_MAX + KITH_ERROR_MESSAGE_SIZE + 128)

static int up_fail(struct up *up, const struct kith_error *error)
{
    char data[PATH_MAX];
    char log[PATH_MAX];
    char taken[TAKEN_SIZE];
    struct kith_error other;
    char *tail = NULL; /* read before it may be removed */
    int status = KITH_CTL_FAILED;
    if (up->failed > 0 &&
        kith_local_paths(&up->local, up->failed - 1, data, log, &other) == KITH_OK) {
        tail = kith_local_log_tail(log);
    }
    if (!up->args->json) {
        status = kith_ctl_fail(up->args, error);
        if (tail && *tail) {
            (void)fprintf(stderr, "The end of %s:\n", log);
            for (const char *at = tail; *at;) {
                size_t length = strcspn(at, "\n");
                (void)fprintf(stderr, "  %.*s\n", (int)length, at);
                at += length + (at[length] == '\n');
            }
        }
    }
    take_back(up, taken, sizeof(taken));
    if (up->args->json) {
        json_t *more = json_object(); /* where memory is short, the error goes without it */
        if (taken[0] != '\0') {
            (void)json_object_set_new(more, "taken_back", kith_json_text(taken, strlen(taken)));
        }
        if (tail) {
            (void)json_object_set_new(more, "log", kith_json_text(log, strlen(log)));
            (void)json_object_set_new(more, "log_end", kith_json_text(tail, strlen(tail)));
        }
        status = kith_ctl_fail_more(up->args, error, more);
    } else if (taken[0] != '\0') {
        (void)fprintf(stderr, "kithctl: local up: taken back: %s\n", taken);
    }
    free(tail);
    return status;
}

static enum kith_err up_run(struct up *up, int *ret_hold, struct kith_error *error)
{
    enum kith_err err = kith_local_hold(up->args->positional[0], true, &up->local, ret_hold, error);
    if (err == KITH_OK) {
        err = count_set(up, error);
    }
    if (err == KITH_OK) {
        err = start_all(up, error);
    }
    if (err == KITH_OK) {
        err = form(up, error);
    }
    kith_link_free(up->link);
    return err;
}

int kith_ctl_local_up(const struct kith_ctl_args *args)
{
    struct kith_error error;
    int hold = -1;
    struct up *up = calloc(1, sizeof(*up));
    if (!up) {
        (void)kith_error_set(&error, KITH_ENOMEM, "out of memory");
        return kith_ctl_fail(args, &error);
    }
    up->args = args;
    for (uint32_t i = 0; i < KITH_LOCAL_NODES_MAX; i++) {
        up->processes[i].fd = -1;
    }
    if (options_read(up, &error) != KITH_OK) {
        free(up);
        return kith_ctl_usage(args, &error);
    }
    int status = up_run(up, &hold, &error) == KITH_OK ? up_report(up) : up_fail(up, &error);
    for (uint32_t i = 0; i < KITH_LOCAL_NODES_MAX; i++) {
        if (up->processes[i].fd >= 0) {
            (void)close(up->processes[i].fd);
        }
    }
    if (hold >= 0) {
        (void)close(hold);
    }
    free(up);
    return status;
}
