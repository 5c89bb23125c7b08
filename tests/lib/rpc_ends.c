/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rpc_ends.c - see rpc_ends.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "lib/rpc_ends.h"

void end_lock(struct end *end)
{
    pthread_mutex_lock(&end->lock);
}

void end_unlock(struct end *end)
{
    pthread_cond_broadcast(&end->changed);
    pthread_mutex_unlock(&end->lock);
}

void end_see(struct end *end)
{
    end_lock(end);
    end_unlock(end);
}

void end_echo(struct end *end)
{
    end_lock(end);
    end->echo = true;
    end_unlock(end);
}

static void on_accepted(void *arg, uint64_t conn, enum kith_rpc_class cls, const char *peer,
                        const struct kith_cert *who)
{
    struct end *end = arg;
    (void)cls;
    assert_non_null(peer);
    end_lock(end);
    end->accepted++;
    end->known = who != NULL;
    if (who) {
        end->who = *who;
    }
    end->last_accepted = conn;
    end_unlock(end);
}

static void on_opened(void *arg, uint64_t conn)
{
    struct end *end = arg;
    (void)conn;
    end_lock(end);
    end->opened++;
    end_unlock(end);
}

void end_on_closed(void *arg, uint64_t conn, const char *reason)
{
    struct end *end = arg;
    (void)conn;
    if (end->on_closed) {
        end->on_closed(end->on_closed_arg);
    }
    end_lock(end);
    end->closed++;
    (void)snprintf(end->reason, sizeof end->reason, "%s", reason);
    end_unlock(end);
}

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct end *end = arg;
    end_lock(end);
    while (end->hold) {
        pthread_cond_wait(&end->changed, &end->lock);
    }
    end->messages++;
    end->out_of_order |= box->msg.id != end->next_id;
    end->next_id = box->msg.id + 1;
    bool echo = end->echo;
    if (box->blob) {
        end->checksum = kith_checksum_of(kith_bytes_make(box->blob->data, box->blob->size));
    }
    end_unlock(end);
    if (echo) {
        struct kith_msg answer = {.id = box->msg.id, .kind = KITH_MSG_PING};
        if (box->msg.kind == KITH_MSG_CHUNK_PUT_REQ) {
            answer.kind = KITH_MSG_CHUNK_RES;
            answer.u.chunk_res.payload = box->blob;
        }
        (void)!kith_rpc_send(end->rpc, conn, &answer);
    }
    kith_msg_box_drop(box);
}

struct pages {
    struct end *end;
    struct kith_rpc_call *call;
    uint32_t left;
};

static void next_page(void *arg)
{
    struct pages *pages = arg;
    end_lock(pages->end);
    pages->end->drained++;
    end_unlock(pages->end);
    uint8_t page[1000] = {0x0a, 0xe5, 0x07};
    if (pages->left > 0 && kith_rpc_stream(pages->call, kith_bytes_make(page, sizeof page))) {
        pages->left--;
        kith_rpc_when_drained(pages->call, next_page, pages);
        return;
    }
    end_lock(pages->end);
    pages->end->stream_gone = pages->left > 0;
    end_unlock(pages->end);
    kith_rpc_finish(pages->call, kith_bytes_make(NULL, 0), NULL);
    kith_free(pages);
}

static void on_call(void *arg, struct kith_rpc_call *call, const char *method,
                    struct kith_bytes request)
{
    struct end *end = arg;
    end_lock(end);
    if (strcmp(method, "/kith.v1.Test/Hold") == 0) {
        end->held = call;
    }
    end->calls++;
    end_unlock(end);
    if (strcmp(method, "/kith.v1.Kv/Get") == 0) {
        kith_rpc_finish(call, request, NULL);
    } else if (strcmp(method, "/kith.v1.Test/Hold") == 0) {
        return; /* the test ends it */
    } else if (strcmp(method, "/kith.v1.Kv/Scan") == 0) {
        struct pages *pages = kith_malloc(sizeof *pages);
        assert_non_null(pages);
        *pages = (struct pages){end, call, 100};
        next_page(pages);
    } else if (strcmp(method, "/kith.v1.Kv/Put") == 0) {
        uint32_t left = kith_rpc_call_timeout_ms(call);
        struct kith_error error;
        (void)kith_error_set(&error, KITH_EUNREACH, "%s",
                             left > 3000 && left <= 5100 ? "ok" : "bad");
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
    } else {
        struct kith_error error;
        (void)kith_error_set(&error, KITH_EVERSION, "no method %s", method);
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
    }
}

bool ends_driven;
bool ends_near;
const struct kith_identity_files *ends_tls;

static void *drive(void *arg)
{
    struct end *end = arg;
    while (!atomic_load(&end->stop)) {
        kith_rpc_drive(end->rpc,
                       UINT64_MAX); /* so every wait must be ended by an event or a wake */
    }
    end_lock(end); /* who stops it may still be about to wake it */
    end_unlock(end);
    kith_rpc_free(end->rpc);
    return NULL;
}

void end_start(struct end *end, const struct kith_rpc_options *options)
{
    memset(end, 0, sizeof *end);
    pthread_mutex_init(&end->lock, NULL);
    pthread_cond_init(&end->changed, NULL);
    const struct kith_rpc_handlers handlers = {end,        on_accepted,   on_opened,
                                               on_message, end_on_closed, on_call};
    struct kith_rpc_options own = {.threads = 0};
    if (options) {
        own = *options;
    }
    own.driven = ends_driven;
    own.tls = own.tls ? own.tls : ends_tls;
    assert_int_equal(kith_rpc_new(&own, &handlers, &end->rpc, NULL), KITH_OK);
    if (ends_driven) {
        assert_int_equal(pthread_create(&end->driver, NULL, drive, end), 0);
    }
}

void end_stop(struct end *end)
{
    if (ends_driven) {
        end_lock(end);
        atomic_store(&end->stop, true);
        kith_rpc_wake(end->rpc);
        end_unlock(end);
        pthread_join(end->driver, NULL);
    } else {
        kith_rpc_free(end->rpc);
    }
    pthread_cond_destroy(&end->changed);
    pthread_mutex_destroy(&end->lock);
}

void end_address(char *address, size_t size, uint16_t port)
{
    (void)snprintf(address, size, "127.0.0.1:%u", (unsigned)port);
}

/* proc_net(5): only who listens and his ends of connections bear the name. */
static uint32_t near_count(const char *address)
{
    char line[512], name[64];
    uint32_t count = 0;
    FILE *list = fopen("/proc/net/unix", "re");
    assert_non_null(list);
    (void)snprintf(name, sizeof name, " @kithfs/%s\n", address);
    while (fgets(line, sizeof line, list)) {
        size_t size = strlen(line), wanted = strlen(name);
        count += size > wanted && strcmp(line + size - wanted, name) == 0 ? 1 : 0;
    }
    (void)fclose(list);
    return count;
}

void ends_near_wait(const char *address, uint32_t want)
{
    const struct timespec pause = {0, 10000000};
    double until = end_now_ms() + 1e3 * WAIT_MAX_S;
    uint32_t got = near_count(address);
    while (got != want && end_now_ms() < until) {
        nanosleep(&pause, NULL);
        got = near_count(address);
    }
    assert_int_equal(got, want);
}

void end_wait(struct end *end, const uint32_t *counter, uint32_t want)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MAX_S;
    pthread_mutex_lock(&end->lock);
    int failed = 0;
    while (*counter < want && failed == 0) {
        failed = pthread_cond_timedwait(&end->changed, &end->lock, &until);
    }
    uint32_t got = *counter;
    pthread_mutex_unlock(&end->lock);
    if (failed != 0) {
        fail_msg("waited for %u, got %u", want, got);
    }
}

double end_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

void pair_start(struct pair *pair, enum kith_rpc_class cls, const struct kith_rpc_options *options)
{
    struct kith_rpc_options serve = options ? *options : (struct kith_rpc_options){.threads = 0};
    serve.near = ends_near ? "127.0.0.1:0" : NULL;
    end_start(&pair->server, &serve);
    end_start(&pair->client, options);
    uint16_t port = 0;
    struct kith_error error;
    if (kith_rpc_listen(pair->server.rpc, "127.0.0.1:0", &port, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    end_address(pair->address, sizeof pair->address, port);
    assert_int_equal(kith_rpc_connect(pair->client.rpc, pair->address, cls, &pair->conn, NULL),
                     KITH_OK);
    end_wait(&pair->client, &pair->client.opened, 1);
    end_wait(&pair->server, &pair->server.accepted, 1);
    ends_near_wait(pair->address, ends_near ? 2 : 0);
}

void pair_stop(struct pair *pair)
{
    end_stop(&pair->client);
    end_stop(&pair->server);
    assert_int_equal(pair->client.closed, pair->client.opened);
    assert_int_equal(pair->server.closed, pair->server.accepted);
}

struct kith_msg end_ping(uint64_t id)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING, .id = id};
    return msg;
}
