/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local.c - local up, down and status. */
#include "ctl/local.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/config.h"
#include "base/memory.h"
#include "ctl/cluster.h"
#include "ctl/format.h"
#include "ctl/status.h"

#define UP_TIMEOUT_MS       60000u /* recovery after a crash reads the log: seconds, not minutes */
#define POLL_MS             100u   /* between two questions to nodes that are not ready */
#define ASK_TIMEOUT_MS      5000u  /* of one such question */
#define DOWN_TIMEOUT_MS     30000  /* for an orderly end; then SIGKILL */
#define LOCAL_NODES_DEFAULT 3u
#define CACHE_MIN           (8ull << 20) /* bytes; kithd takes no less */

/* One run of `local up`. */
struct up {
    const struct kith_ctl_args *args;
    uint64_t wanted;      /* nodes by the command line; 0 = it does not say */
    uint64_t cache_bytes; /* the same */
    struct kith_local local;
    struct kith_local_process processes[KITH_LOCAL_NODES_MAX];
    bool started[KITH_LOCAL_NODES_MAX];
    uint32_t before; /* nodes of earlier runs */
    char addresses[KITH_LOCAL_NODES_MAX][32];
    struct kith_link *link;
    uint64_t deadline_ms;
    uint32_t failed; /* the node whose log explains the error, from 1; 0 = none */
};

static uint64_t mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void say(const struct kith_ctl_args *args, const char *format, ...) KITH_PRINTF(2, 3);
static void say(const struct kith_ctl_args *args, const char *format, ...)
{
    if (!args->json) { /* then stdout is for the one answer */
        va_list list;
        va_start(list, format);
        (void)vprintf(format, list);
        va_end(list);
        (void)fflush(stdout); /* progress is no use later; main checks stdout at the end */
    }
}

static void addresses_set(struct up *up)
{
    for (uint32_t i = 0; i < up->local.count; i++) {
        (void)snprintf(up->addresses[i], sizeof(up->addresses[i]), "127.0.0.1:%u",
                       up->local.nodes[i].port);
    }
}

/* ---- ending ---- */

static enum kith_err node_end(const struct kith_ctl_args *args, uint32_t index,
                              const struct kith_local_process *process, struct kith_error *error)
{
    if (process->fd < 0) {
        say(args, "node%u  is not running\n", index + 1);
        return KITH_OK;
    }
    if (kith_local_wait_end(process, DOWN_TIMEOUT_MS)) {
        say(args, "node%u  stopped\n", index + 1);
        return KITH_OK;
    }
    (void)fprintf(
        stderr,
        "kithctl: node%u (pid %d) did not end within %d s: it is killed. What it "
        "acknowledged is safe.\n",
        index + 1, (int)process->pid, DOWN_TIMEOUT_MS / 1000);
    enum kith_err err = kith_local_signal(process, SIGKILL, error);
    if (err == KITH_OK && !kith_local_wait_end(process, DOWN_TIMEOUT_MS)) {
        err = kith_error_set(error, KITH_EIO,
                             "node%u (pid %d) does not even end by SIGKILL: it hangs "
                             "in the kernel, is its disk in order?",
                             index + 1, (int)process->pid);
    }
    return err;
}

/* ---- up: processes ---- */

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
        say(up->args, "node%u  runs already (pid %d) on 127.0.0.1:%u\n", index + 1,
            (int)process->pid, up->local.nodes[index].port);
        return KITH_OK;
    }
    err = port_choose(up, index, error);
    if (err == KITH_OK) {
        err = kith_local_start(&up->local, index, program, process, error);
    }
    if (err == KITH_OK) {
        up->started[index] = true;
        say(up->args, "node%u  started (pid %d) on 127.0.0.1:%u\n", index + 1,
            (int)up->local.nodes[index].pid, up->local.nodes[index].port);
    }
    return err;
}

static enum kith_err start_all(struct up *up, struct kith_error *error)
{
    char program[PATH_MAX];
    enum kith_err err = kith_local_program(program, error);
    for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
        err = node_start(up, i, program, error);
    }
    /* also after a failure: what was started must be found again */
    struct kith_error saving;
    if (kith_local_save(&up->local, err == KITH_OK ? error : &saving) != KITH_OK &&
        err == KITH_OK) {
        err = error->code;
    }
    addresses_set(up);
    return err;
}

/* ---- up: the cluster ---- */

/* Waits a moment; false when the deadline has passed. */
static bool pause_short(const struct up *up)
{
    struct timespec moment = {0, POLL_MS * 1000000L};
    (void)nanosleep(&moment, NULL);
    return mono_ms() < up->deadline_ms;
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
        say(up->args, "node%u  %s\n", index + 1, index == 0 ? "made the cluster" : "joined");
    }
    return err;
}

/* The cluster has refused node `first`, which this run has added: it and those after it are ended
 * and forgotten. Else every later run would be refused as well, and the data could not be had. */
static void added_forget(struct up *up, uint32_t first)
{
    struct kith_error error;
    uint32_t failed = 0;
    for (uint32_t i = first; i < up->local.count; i++) { /* all at once, then wait for each */
        if (kith_local_signal(&up->processes[i], SIGTERM, &error) != KITH_OK) {
            (void)kith_ctl_fail(up->args, &error); /* shown; the refusal is the command's status */
            failed++;
        }
    }
    for (uint32_t i = first; i < up->local.count; i++) {
        if (node_end(up->args, i, &up->processes[i], &error) != KITH_OK) {
            (void)kith_ctl_fail(up->args, &error);
            failed++;
        }
    }
    if (failed > 0) {
        return; /* what may still run must be found again */
    }
    up->local.count = first;
    if (kith_local_save(&up->local, &error) != KITH_OK) {
        (void)kith_ctl_fail(up->args, &error);
        return;
    }
    say(up->args, "the cluster keeps its %u nodes\n", first);
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
    bool member[KITH_LOCAL_NODES_MAX] = {false};
    up->deadline_ms = mono_ms() + UP_TIMEOUT_MS;
    for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
        err = node_wait(up, i, &member[i], error);
    }
    for (uint32_t i = 0; err == KITH_OK && i < up->local.count; i++) {
        err = member[i] ? KITH_OK : node_admit(up, i, error);
        if (err == KITH_EREFUSED && i >= up->before) {
            added_forget(up, i);
        }
    }
    if (err != KITH_OK) {
        return err;
    }
    up->failed = 0;
    up->deadline_ms = mono_ms() + UP_TIMEOUT_MS;
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
        (void)printf("\nSee: kithctl local status %s      Stop: kithctl local down %s\n",
                     up->local.dir, up->local.dir);
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

static int up_fail(struct up *up, const struct kith_error *error)
{
    char data[PATH_MAX];
    char log[PATH_MAX];
    struct kith_error other;
    int status = kith_ctl_fail(up->args, error);
    if (up->failed > 0 &&
        kith_local_paths(&up->local, up->failed - 1, data, log, &other) == KITH_OK) {
        kith_local_log_tail(log);
    }
    return status;
}

int kith_ctl_local_up(const struct kith_ctl_args *args)
{
    struct kith_error error;
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
    enum kith_err err = kith_local_load(args->positional[0], true, &up->local, &error);
    if (err == KITH_OK) {
        err = count_set(up, &error);
    }
    if (err == KITH_OK) {
        err = start_all(up, &error);
    }
    if (err == KITH_OK) {
        err = form(up, &error);
    }
    kith_link_free(up->link);
    for (uint32_t i = 0; i < KITH_LOCAL_NODES_MAX; i++) {
        if (up->processes[i].fd >= 0) {
            (void)close(up->processes[i].fd);
        }
    }
    int status = err == KITH_OK ? up_report(up) : up_fail(up, &error);
    free(up);
    return status;
}

/* ---- down ---- */

int kith_ctl_local_down(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_local local;
    struct kith_local_process processes[KITH_LOCAL_NODES_MAX];
    if (kith_local_load(args->positional[0], false, &local, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    if (local.count == 0) {
        (void)kith_error_set(&error, KITH_ENOTFOUND, "%s holds no local cluster (no cluster.json)",
                             local.dir);
        return kith_ctl_fail(args, &error);
    }
    int status = KITH_CTL_OK;
    uint32_t running = 0;
    for (uint32_t i = 0; i < local.count; i++) { /* all at once, then wait for each */
        processes[i].fd = -1;
        enum kith_err err = kith_local_find(&local, i, &processes[i], &error);
        if (err == KITH_OK && processes[i].fd >= 0) {
            running++;
            err = kith_local_signal(&processes[i], SIGTERM, &error);
        }
        status = err == KITH_OK ? status : kith_ctl_fail(args, &error);
    }
    for (uint32_t i = 0; i < local.count; i++) {
        if (node_end(args, i, &processes[i], &error) != KITH_OK) {
            status = kith_ctl_fail(args, &error);
        } else {
            local.nodes[i].pid = 0;
        }
        if (processes[i].fd >= 0) {
            (void)close(processes[i].fd);
        }
    }
    enum kith_err err = kith_local_save(&local, &error);
    if (err == KITH_OK && args->json) {
        json_t *answer = json_pack("{s:i}", "stopped", (int)running);
        err = kith_json_print(kith_json_named("dir", local.dir, answer), &error);
    }
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    return status;
}

/* ---- status ---- */

int kith_ctl_local_status(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_local local;
    char addresses[KITH_LOCAL_NODES_MAX][32];
    const char *servers[KITH_LOCAL_NODES_MAX];
    if (kith_local_load(args->positional[0], false, &local, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    if (local.count == 0) {
        (void)kith_error_set(&error, KITH_ENOTFOUND,
                             "%s holds no local cluster; make one: kithctl local up %s", local.dir,
                             local.dir);
        return kith_ctl_fail(args, &error);
    }
    uint32_t running = 0;
    for (uint32_t i = 0; i < local.count; i++) {
        struct kith_local_process process;
        (void)snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", local.nodes[i].port);
        servers[i] = addresses[i];
        if (kith_local_find(&local, i, &process, &error) != KITH_OK) {
            return kith_ctl_fail(args, &error);
        }
        running += process.fd >= 0;
        say(args, "node%u  %s  %s", i + 1, addresses[i],
            process.fd >= 0 ? "runs" : "is not running");
        if (process.fd >= 0) {
            say(args, " (pid %d)", (int)process.pid);
            (void)close(process.fd);
        }
        say(args, "\n");
    }
    if (running == 0) {
        (void)kith_error_set(&error, KITH_EUNREACH, "no node runs; start them: kithctl local up %s",
                             local.dir);
        return kith_ctl_fail(args, &error);
    }
    return kith_status_show(args, servers, local.count);
}
