/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon_door.c - connects the door (door.h) to the daemon: an embedded client for its Kv calls,
 * opened at the first one after the node serves, and a connection of its own to the core for the
 * operator's messages.
 *
 * Opening a client waits for the network, so a thread does it; calls that come meanwhile wait in a
 * list. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "shell/access.h"
#include "shell/daemon_int.h"

#define CLIENT_OPEN_MS 2000u /* it connects to its own process */
#define DEFERRED_MAX   1024u /* calls that wait for the client */

struct door_ask {
    struct door_ask *next;
    uint64_t id;
    kith_door_answer answer;
    void *arg;
    struct kith_msg_box *box;
};

struct door_deferred {
    struct door_deferred *next;
    struct kith_rpc_call *call;
    size_t method_size; /* with its NUL; the request follows it */
    size_t request_size;
    char bytes[];
};

/* ---- The embedded client ---- */

static void *open_client(void *arg)
{
    struct daemon *daemon = arg;
    const char *servers[] = {daemon->own_server};
    struct kith_client_options options = {.server_count = 1,
                                          .servers = servers,
                                          .connect_timeout_ms = CLIENT_OPEN_MS,
                                          .writer = "door",
                                          .tls = daemon->options->tls.cert != NULL
                                                     ? &daemon->options->tls
                                                     : NULL};
    struct kith_client *client = NULL;
    struct kith_error error = {KITH_OK, ""};
    if (kith_client_open(&options, &client, &error) != KITH_OK) {
        kith_log_error("kithd", "the client for simple calls: %s", error.message);
        client = NULL;
    }
    pthread_mutex_lock(&daemon->door_lock);
    atomic_store(&daemon->client, client);
    daemon->client_state = client == NULL ? DAEMON_CLIENT_FAILED : DAEMON_CLIENT_OPEN;
    struct door_deferred *list = daemon->deferred;
    daemon->deferred = NULL;
    daemon->deferred_end = &daemon->deferred;
    daemon->deferred_count = 0;
    pthread_mutex_unlock(&daemon->door_lock);
    while (list != NULL) {
        struct door_deferred *entry = list;
        list = entry->next;
        kith_door_call(daemon->door, entry->call, entry->bytes,
                       kith_bytes_make(entry->bytes + entry->method_size, entry->request_size));
        kith_free(entry);
    }
    return NULL;
}

/* Starts the thread; door_lock held. */
static void begin_opening(struct daemon *daemon)
{
    if (daemon->client_state == DAEMON_CLIENT_FAILED) {
        pthread_join(daemon->client_thread, NULL);
        daemon->client_state = DAEMON_CLIENT_NONE;
    }
    if (pthread_create(&daemon->client_thread, NULL, open_client, daemon) == 0) {
        daemon->client_state = DAEMON_CLIENT_OPENING;
    }
}

/* Keeps the call until the client is open; false: handle it now. */
static bool defer(struct daemon *daemon, struct kith_rpc_call *call, const char *method,
                  struct kith_bytes request)
{
    if (!atomic_load(&daemon->ready) || atomic_load(&daemon->client) != NULL ||
        strncmp(method, "/kith.v1.Kv/", 12) != 0) {
        return false;
    }
    size_t method_size = strlen(method) + 1;
    struct door_deferred *entry = kith_malloc(sizeof *entry + method_size + request.size);
    if (entry == NULL) {
        return false;
    }
    entry->next = NULL;
    entry->call = call;
    entry->method_size = method_size;
    entry->request_size = request.size;
    memcpy(entry->bytes, method, method_size);
    if (request.size > 0) {
        memcpy(entry->bytes + method_size, request.data, request.size);
    }
    pthread_mutex_lock(&daemon->door_lock);
    if (!daemon->door_closed && (daemon->client_state == DAEMON_CLIENT_NONE ||
                                 daemon->client_state == DAEMON_CLIENT_FAILED)) {
        begin_opening(daemon);
    }
    bool kept =
        daemon->client_state == DAEMON_CLIENT_OPENING && daemon->deferred_count < DEFERRED_MAX;
    if (kept) {
        *daemon->deferred_end = entry;
        daemon->deferred_end = &entry->next;
        daemon->deferred_count++;
    }
    pthread_mutex_unlock(&daemon->door_lock);
    if (!kept) {
        kith_free(entry);
    }
    return kept;
}

void daemon_call(void *arg, struct kith_rpc_call *call, const char *method,
                 struct kith_bytes request)
{
    struct daemon *daemon = arg;
    const struct kith_cert *who = kith_rpc_call_who(call);
    struct kith_error error;
    if (who != NULL && kith_access_check_call(&who->grant, method, &error) != KITH_OK) {
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
        return;
    }
    if (!defer(daemon, call, method, request)) {
        kith_door_call(daemon->door, call, method, request);
    }
}

static struct kith_client *door_client(void *arg)
{
    struct daemon *daemon = arg;
    return atomic_load(&daemon->client);
}

/* ---- Messages to the core ---- */

void daemon_ask(struct daemon *daemon, struct kith_msg_box *box, kith_door_answer answer,
                void *answer_arg)
{
    struct kith_error error;
    struct door_ask *ask = kith_malloc(sizeof *ask);
    bool closed = true;
    if (ask != NULL) {
        *ask = (struct door_ask){.answer = answer, .arg = answer_arg, .box = box};
        pthread_mutex_lock(&daemon->door_lock);
        closed = daemon->door_closed;
        if (!closed) { /* under the lock: nothing comes after the core thread has closed the door */
            daemon_put(daemon, KITH_INBOX_ASK, 0, ask);
        }
        pthread_mutex_unlock(&daemon->door_lock);
    }
    if (closed) {
        kith_error_set(&error, ask == NULL ? KITH_ENOMEM : KITH_ECLOSED, "this node is %s",
                       ask == NULL ? "out of memory" : "ending");
        kith_msg_box_drop(box);
        kith_free(ask);
        answer(answer_arg, NULL, &error);
    }
}

static void door_submit(void *arg, struct kith_msg_box *box, kith_door_answer answer,
                        void *answer_arg)
{
    daemon_ask(arg, box, answer, answer_arg);
}

static void end_ask(struct door_ask *ask, const struct kith_msg *msg, const char *why)
{
    struct kith_error error;
    if (msg == NULL) {
        kith_error_set(&error, KITH_EUNKNOWN, "%s", why);
    }
    ask->answer(ask->arg, msg, msg == NULL ? &error : NULL);
    kith_msg_box_drop(ask->box);
    kith_free(ask);
}

struct kith_msg_box *daemon_ask_begin(struct daemon *daemon, struct door_ask *ask)
{
    ask->id = ++daemon->ask_last;
    ask->box->msg.id = ask->id;
    ask->next = daemon->asks;
    daemon->asks = ask;
    return kith_msg_box_hold(ask->box);
}

void daemon_ask_answer(struct daemon *daemon, const struct kith_msg *msg)
{
    for (struct door_ask **at = &daemon->asks; *at != NULL; at = &(*at)->next) {
        struct door_ask *ask = *at;
        if (ask->id == msg->id) {
            *at = ask->next;
            end_ask(ask, msg, NULL);
            return;
        }
    }
}

void daemon_asks_end(struct daemon *daemon, const char *why)
{
    while (daemon->asks != NULL) {
        struct door_ask *ask = daemon->asks;
        daemon->asks = ask->next;
        end_ask(ask, NULL, why);
    }
}

/* ---- Beginning and end ---- */

enum kith_err daemon_door_open(struct daemon *daemon)
{
    struct kith_door_options options = {
        .arg = daemon, .client = door_client, .submit = door_submit};
    daemon->deferred_end = &daemon->deferred;
    if (pthread_mutex_init(&daemon->door_lock, NULL) != 0) {
        return KITH_ENOMEM;
    }
    return kith_door_new(&options, &daemon->door);
}

void daemon_door_close(struct daemon *daemon)
{
    if (daemon->door == NULL) {
        return;
    }
    pthread_mutex_lock(&daemon->door_lock);
    daemon->door_closed = true;
    bool started = daemon->client_state != DAEMON_CLIENT_NONE;
    pthread_mutex_unlock(&daemon->door_lock);
    if (started) {
        pthread_join(daemon->client_thread, NULL);
    }
    struct kith_client *client = atomic_load(&daemon->client);
    if (client != NULL) {
        kith_client_close(client);
    }
    const struct kith_inbox_item *items;
    uint32_t count = 0;
    while ((count = kith_inbox_take(&daemon->inbox, &items)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            daemon_discard_item(daemon, &items[i]);
        }
    }
    daemon_asks_end(daemon, "this node is ending");
}

void daemon_door_free(struct daemon *daemon)
{
    if (daemon->door != NULL) {
        kith_door_free(daemon->door);
        pthread_mutex_destroy(&daemon->door_lock);
    }
}

void daemon_ask_discard(struct door_ask *ask)
{
    end_ask(ask, NULL, "this node is ending");
}
