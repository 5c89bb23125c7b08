/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client.c - the client over real connections, against one node in this process that knows
 * just enough: hello, table, get, put, chunks, watches. What the client decides is tested in
 * test_client_core.c and its neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"
#include "rpc/rpc.h"

#define THREADS 8u
#define ROUNDS  200u

static const struct kith_group GROUP = {{1}};

struct node {
    struct kith_rpc *rpc;
    char address[32];
    struct kith_table *table;
    atomic_bool silent;
    pthread_mutex_t lock;
    uint8_t state[4096]; /* of the only row; protected by lock, as is all below */
    size_t state_size;
    uint64_t counter;
    struct kith_blob *chunk;
    uint64_t watched_on; /* the connection that watches; 0 = none did */
    bool tells;          /* a change before each answer to a get */
};

/* What the node tells of GROUP: row "a" has changed. Call with its lock. */
static void tell(struct node *node)
{
    struct kith_bytes name = kith_bytes_make("a", 1);
    struct kith_msg msg = {.kind = KITH_MSG_WATCH_EVENT};
    msg.u.watch_event.group = GROUP;
    msg.u.watch_event.name_count = 1;
    msg.u.watch_event.names = &name;
    assert_int_equal(KITH_OK, kith_rpc_send(node->rpc, node->watched_on, &msg));
}

static void put_one(struct node *node, const struct kith_put_req *put, struct kith_arena *arena,
                    struct kith_put_result *result)
{
    struct kith_row old, context, next;
    struct kith_buf buf;
    struct kith_dot dot = {{1, 1}, ++node->counter};
    struct kith_row_update update = {.has_sibling = true, .value = put->updates[0].value};
    assert_int_equal(KITH_OK,
                     kith_row_decode(arena, kith_bytes_make(node->state, node->state_size), &old));
    /* the newest context: each write replaces the one before */
    context = old;
    update.context = context.clock;
    assert_int_equal(KITH_OK,
                     kith_row_put(arena, &old, &update, &dot, dot.counter, &put->request, &next));
    kith_buf_init(&buf);
    kith_row_encode(&next, &buf);
    assert_true(buf.size <= sizeof(node->state));
    memcpy(node->state, buf.data, buf.size);
    node->state_size = buf.size;
    kith_buf_clear(&buf);
    next.sibling_count = 0;
    kith_row_encode(&next, &buf);
    result->dot = dot;
    result->context = kith_bytes_make(kith_arena_copy(arena, buf.data, buf.size), buf.size);
    kith_buf_release(&buf);
}

static void answer(struct node *node, const struct kith_msg *req, struct kith_msg *res,
                   struct kith_arena *arena)
{
    static struct kith_got_row row;
    static struct kith_put_result result;
    struct kith_bytes state = kith_bytes_make(node->state, node->state_size);
    if (req->kind == KITH_MSG_GET_REQ) {
        memset(&row, 0, sizeof(row));
        if (state.size > 0) {
            row.hash = kith_checksum_of(state);
            row.state = req->u.get_req.digest ? kith_bytes_make(NULL, 0) : state;
        }
        res->kind = KITH_MSG_GET_RES;
        res->u.get_res.status.message = "";
        res->u.get_res.row_count = 1;
        res->u.get_res.rows = &row;
    } else if (req->kind == KITH_MSG_PUT_REQ) {
        put_one(node, &req->u.put_req, arena, &result);
        res->kind = KITH_MSG_PUT_RES;
        res->u.put_res.status.message = "";
        res->u.put_res.copies = 1;
        res->u.put_res.result_count = 1;
        res->u.put_res.results = &result;
    } else if (req->kind == KITH_MSG_CHUNK_PUT_REQ) {
        kith_blob_drop(node->chunk);
        node->chunk = kith_blob_hold(req->u.chunk_put_req.payload);
        res->kind = KITH_MSG_CHUNK_RES;
        res->u.chunk_res.status.message = "";
    } else {
        assert_int_equal(KITH_MSG_CHUNK_GET_REQ, req->kind);
        res->kind = KITH_MSG_CHUNK_RES;
        res->u.chunk_res.status.message = "";
        res->u.chunk_res.payload = node->chunk;
        res->u.chunk_res.chunk_size = (uint32_t)node->chunk->size;
    }
}

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct node *node = arg;
    struct kith_arena arena = {0};
    struct kith_buf table;
    struct kith_msg res;
    struct kith_member_info member;
    memset(&res, 0, sizeof(res));
    memset(&member, 0, sizeof(member));
    kith_buf_init(&table);
    res.id = box->msg.id;
    (void)pthread_mutex_lock(&node->lock);
    if (box->msg.kind == KITH_MSG_HELLO) {
        res.kind = KITH_MSG_HELLO;
        res.u.hello.protocol = kith_protocol_ours();
        res.u.hello.role = KITH_ROLE_NODE;
        res.u.hello.cluster = node->table->cluster;
        res.u.hello.node = node->table->members[0].uuid;
        res.u.hello.address = node->address;
        res.u.hello.software = "";
    } else if (box->msg.kind == KITH_MSG_TABLE_REQ) {
        kith_table_encode(node->table, &table);
        member.uuid = node->table->members[0].uuid;
        memcpy(member.address, node->address, sizeof(node->address));
        res.kind = KITH_MSG_TABLE_RES;
        res.u.table_res.status.message = "";
        res.u.table_res.table = kith_buf_bytes(&table);
        res.u.table_res.member_count = 1;
        res.u.table_res.members = &member;
    } else if (box->msg.kind == KITH_MSG_WATCH_REQ && !atomic_load(&node->silent)) {
        res.kind = KITH_MSG_WATCH_RES;
        res.u.watch_res.session = conn;
        node->watched_on = conn;
        res.u.watch_res.status.message = "";
    } else if (!atomic_load(&node->silent)) {
        if (box->msg.kind == KITH_MSG_GET_REQ && node->tells) {
            tell(node);
        }
        answer(node, &box->msg, &res, &arena);
    }
    if (res.kind != 0) {
        enum kith_err err = kith_rpc_send(node->rpc, conn, &res);
        assert_true(err == KITH_OK || err == KITH_ECLOSED);
    }
    (void)pthread_mutex_unlock(&node->lock);
    kith_buf_release(&table);
    kith_arena_release(&arena);
    kith_msg_box_drop(box);
}

static void on_accepted(void *arg, uint64_t conn, enum kith_rpc_class cls, const char *peer,
                        const struct kith_cert *who)
{
    (void)who;
    (void)arg;
    (void)conn;
    (void)cls;
    (void)peer;
}

static void on_closed(void *arg, uint64_t conn, const char *reason)
{
    (void)arg;
    (void)conn;
    (void)reason;
}

static int setup(void **state)
{
    static struct node node;
    struct kith_rpc_options options = {.threads = 1};
    struct kith_rpc_handlers handlers = {
        .arg = &node, .accepted = on_accepted, .message = on_message, .closed = on_closed};
    struct kith_error error;
    struct kith_uuid cluster = {{5}};
    struct kith_member member = {.uuid = {{6}}, .weight = 1};
    uint16_t owners[4] = {0};
    uint16_t port = 0;
    memset(&node, 0, sizeof(node));
    assert_int_equal(0, pthread_mutex_init(&node.lock, NULL));
    assert_int_equal(KITH_OK,
                     kith_table_new(&cluster, 1, 1, 4, 3, &member, 1, owners, &node.table));
    assert_int_equal(KITH_OK, kith_rpc_new(&options, &handlers, &node.rpc, &error));
    assert_int_equal(KITH_OK, kith_rpc_listen(node.rpc, "127.0.0.1:0", &port, &error));
    (void)snprintf(node.address, sizeof(node.address), "127.0.0.1:%u", port);
    *state = &node;
    return 0;
}

static int teardown(void **state)
{
    struct node *node = *state;
    kith_rpc_free(node->rpc);
    kith_blob_drop(node->chunk);
    kith_table_drop(node->table);
    (void)pthread_mutex_destroy(&node->lock);
    return 0;
}

static struct kith_client *open_client(struct node *node)
{
    /* the first server is down: one that answers is enough */
    const char *servers[] = {"127.0.0.1:1", node->address};
    struct kith_client_options options = {.server_count = 2, .servers = servers, .writer = "test"};
    struct kith_client *client = NULL;
    struct kith_error error;
    if (kith_client_open(&options, &client, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    return client;
}

#define BOUND_MS 60000u /* what is waited for comes far sooner, also on a loaded machine */

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static enum kith_err call_get(struct kith_client *client, uint32_t timeout_ms,
                              struct kith_client_answer *answer)
{
    struct kith_bytes name = kith_bytes_make("a", 1);
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .timeout_ms = timeout_ms};
    op.u.get.group = GROUP;
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    return kith_client_call(client, &op, answer);
}

static enum kith_err call_put(struct kith_client *client, struct kith_bytes value,
                              struct kith_client_answer *answer)
{
    struct kith_put_update update = {
        .name = kith_bytes_make("a", 1), .has_sibling = true, .value = value};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    return kith_client_call(client, &op, answer);
}

static void test_open_fails(void **state)
{
    (void)state;
    const char *servers[] = {"127.0.0.1:1", "127.0.0.1:2"};
    struct kith_client_options options = {
        .server_count = 2, .servers = servers, .connect_timeout_ms = 500};
    struct kith_client *client = NULL;
    struct kith_error error;
    uint64_t start = now_ms();
    assert_int_equal(KITH_EUNREACH, kith_client_open(&options, &client, &error));
    assert_in_range(now_ms() - start, 500, BOUND_MS);
    assert_non_null(
        strstr(error.message, "no node of 127.0.0.1:1,127.0.0.1:2 answered within 500 ms"));
    assert_non_null(strstr(error.message, "127.0.0.1:2: "));
    assert_null(strstr(error.message, "no answer yet")); /* but why */
}

/* Where nobody is, waiting is no use; but where one server is only slow, it is. */
static void test_open_turned_down(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* accepts, and says nothing */
    assert_int_equal(0, bind(silent, (struct sockaddr *)&address, size));
    assert_int_equal(0, listen(silent, 1));
    assert_int_equal(0, getsockname(silent, (struct sockaddr *)&address, &size));
    char slow[32];
    (void)snprintf(slow, sizeof(slow), "127.0.0.1:%u", ntohs(address.sin_port));
    const char *servers[] = {"127.0.0.1:1", "127.0.0.1:2", slow};
    struct kith_client_options options = {.server_count = 2,
                                          .servers = servers,
                                          .connect_timeout_ms = BOUND_MS,
                                          .turned_down_ms = 300};
    struct kith_client *client = NULL;
    struct kith_error error;
    uint64_t start = now_ms();
    assert_int_equal(KITH_EUNREACH, kith_client_open(&options, &client, &error));
    assert_in_range(now_ms() - start, 300, BOUND_MS / 2);
    assert_non_null(
        strstr(error.message, "no node of 127.0.0.1:1,127.0.0.1:2 answered within 300 ms"));
    assert_non_null(strstr(error.message, "127.0.0.1:2: connection refused"));
    options.server_count = 3;
    options.connect_timeout_ms = 2000;
    start = now_ms();
    assert_int_equal(KITH_EUNREACH, kith_client_open(&options, &client, &error));
    assert_in_range(now_ms() - start, 2000, BOUND_MS);
    assert_int_equal(0, close(silent));
}

static void test_round_trip(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct kith_client_answer answer;
    struct kith_uuid cluster = kith_client_cluster(client);
    assert_true(kith_uuid_equal(&cluster, &node->table->cluster));
    assert_int_equal(KITH_OK, call_put(client, kith_bytes_make("hello", 5), &answer));
    assert_int_equal(1, answer.result.u.put.results[0].dot.counter);
    kith_client_answer_release(&answer);
    assert_true(kith_client_writable(client, &GROUP));
    assert_int_equal(KITH_OK, call_get(client, 0, &answer));
    assert_memory_equal("hello", answer.result.u.rows.rows[0].row.siblings[0].value.data, 5);
    kith_client_answer_release(&answer);
    kith_client_close(client);
}

static void test_chunk(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct kith_client_answer answer;
    struct kith_blob *blob = kith_blob_new(KITH_CHUNK_MAX);
    assert_non_null(blob);
    for (size_t i = 0; i < blob->size; i++) {
        blob->data[i] = (uint8_t)(i * 31);
    }
    struct kith_client_op put = {.kind = KITH_CLIENT_CHUNK_PUT};
    put.u.chunk_put.id = kith_client_chunk_id(client, KITH_VOLUME_FS);
    put.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(blob->data, blob->size));
    put.u.chunk_put.payload = blob;
    assert_int_equal(KITH_OK, kith_client_call(client, &put, &answer));
    kith_client_answer_release(&answer);
    struct kith_client_op get = {.kind = KITH_CLIENT_CHUNK_GET};
    get.u.chunk_get.id = put.u.chunk_put.id;
    get.u.chunk_get.checksum = put.u.chunk_put.checksum;
    assert_int_equal(KITH_OK, kith_client_call(client, &get, &answer));
    assert_int_equal(blob->size, answer.result.u.chunk.payload->size);
    assert_memory_equal(blob->data, answer.result.u.chunk.payload->data, blob->size);
    kith_client_answer_release(&answer);
    kith_blob_drop(blob);
    kith_client_close(client);
}

static void test_deadline(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct kith_client_answer answer;
    atomic_store(&node->silent, true);
    uint64_t start = now_ms();
    assert_int_equal(KITH_ETIMEOUT, call_get(client, 300, &answer));
    assert_in_range(now_ms() - start, 299, BOUND_MS);
    kith_client_answer_release(&answer);
    kith_client_close(client);
}

struct worker {
    struct kith_client *client;
    pthread_t thread;
    const char *wrong;
};

static void *one_thread(void *arg)
{
    struct worker *worker = arg;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < ROUNDS && worker->wrong == NULL; i++) {
        struct kith_client_answer answer;
        uint64_t mine = 0;
        if (call_put(worker->client, kith_bytes_make("value", 5), &answer) == KITH_OK) {
            mine = answer.result.u.put.results[0].dot.counter;
        } else {
            worker->wrong = "put failed";
        }
        kith_client_answer_release(&answer);
        if (call_get(worker->client, 0, &answer) == KITH_OK) {
            uint64_t now = answer.result.u.rows.rows[0].row.clock.entries[0].counter;
            worker->wrong = now < mine || now < seen ? "went back in time" : worker->wrong;
            seen = now;
        } else {
            worker->wrong = "get failed";
        }
        kith_client_answer_release(&answer);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct kith_client *client = open_client(*state);
    struct worker workers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.client = client};
        assert_int_equal(0, pthread_create(&workers[i].thread, NULL, one_thread, &workers[i]));
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(0, pthread_join(workers[i].thread, NULL));
        if (workers[i].wrong != NULL) {
            fail_msg("%s", workers[i].wrong);
        }
    }
    kith_client_close(client);
}

static void count_canceled(void *arg, const struct kith_client_result *result)
{
    if (result->err == KITH_ECANCELED) {
        atomic_fetch_add((atomic_uint *)arg, 1);
    }
}

static void test_close_cancels(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct kith_bytes name = kith_bytes_make("a", 1);
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    atomic_uint canceled = 0;
    op.u.get.group = GROUP;
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    atomic_store(&node->silent, true);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(KITH_OK, kith_client_submit(client, &op, count_canceled, &canceled));
    }
    kith_client_close(client);
    assert_int_equal(100, atomic_load(&canceled));
}

/* ---- Watches ---- */

struct watcher {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint32_t changed; /* protected by lock */
    bool a_only;      /* all that was told so far was of row "a"; protected by lock */
    uint32_t seen;    /* changes that had been told when the get ended; protected by lock */
    bool got;
    atomic_uint slow_ms; /* a callback takes so long */
    atomic_bool inside;
    atomic_bool entered; /* a callback was there */
};

static void watcher_init(struct watcher *watcher)
{
    memset(watcher, 0, sizeof(*watcher));
    watcher->a_only = true;
    assert_int_equal(0, pthread_mutex_init(&watcher->lock, NULL));
    assert_int_equal(0, pthread_cond_init(&watcher->cond, NULL));
}

static void watcher_release(struct watcher *watcher)
{
    (void)pthread_cond_destroy(&watcher->cond);
    (void)pthread_mutex_destroy(&watcher->lock);
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {0, (long)ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

static void changed(void *arg, const struct kith_bytes *names, uint32_t count)
{
    struct watcher *watcher = arg;
    atomic_store(&watcher->inside, true);
    atomic_store(&watcher->entered, true);
    pause_ms(atomic_load(&watcher->slow_ms));
    (void)pthread_mutex_lock(&watcher->lock);
    watcher->changed++;
    watcher->a_only = watcher->a_only && count == 1 &&
                      kith_bytes_equal(names[0], kith_bytes_make("a", 1));
    (void)pthread_cond_broadcast(&watcher->cond);
    (void)pthread_mutex_unlock(&watcher->lock);
    atomic_store(&watcher->inside, false);
}

static void got(void *arg, const struct kith_client_result *result)
{
    struct watcher *watcher = arg;
    (void)pthread_mutex_lock(&watcher->lock);
    watcher->got = result->err == KITH_OK;
    watcher->seen = watcher->changed;
    (void)pthread_cond_broadcast(&watcher->cond);
    (void)pthread_mutex_unlock(&watcher->lock);
}

/* Waits until the watch is live (or is not); says under which number. */
static uint64_t await_live(const struct kith_watch *watch, bool live)
{
    uint64_t until = now_ms() + BOUND_MS;
    uint64_t epoch = kith_watch_epoch(watch);
    while ((epoch != 0) != live) {
        assert_true(now_ms() < until);
        pause_ms(1);
        epoch = kith_watch_epoch(watch);
    }
    return epoch;
}

static void await_changes(struct watcher *watcher, uint32_t count)
{
    (void)pthread_mutex_lock(&watcher->lock);
    while (watcher->changed < count) {
        (void)pthread_cond_wait(&watcher->cond, &watcher->lock);
    }
    assert_true(watcher->a_only);
    (void)pthread_mutex_unlock(&watcher->lock);
}

static void tell_now(struct node *node)
{
    (void)pthread_mutex_lock(&node->lock);
    tell(node);
    (void)pthread_mutex_unlock(&node->lock);
}

static void test_watch(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct watcher watcher;
    watcher_init(&watcher);
    struct kith_watch *watch = kith_client_watch(client, &GROUP, changed, &watcher);
    assert_non_null(watch);
    uint64_t epoch = await_live(watch, true);
    tell_now(node);
    tell_now(node);
    await_changes(&watcher, 2);
    /* the change that came before the answer is told before it */
    (void)pthread_mutex_lock(&node->lock);
    node->tells = true;
    (void)pthread_mutex_unlock(&node->lock);
    struct kith_bytes name = kith_bytes_make("a", 1);
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = GROUP;
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    atomic_store(&watcher.slow_ms, 20);
    assert_int_equal(KITH_OK, kith_client_submit(client, &op, got, &watcher));
    (void)pthread_mutex_lock(&watcher.lock);
    while (!watcher.got) {
        (void)pthread_cond_wait(&watcher.cond, &watcher.lock);
    }
    assert_int_equal(3, watcher.seen);
    (void)pthread_mutex_unlock(&watcher.lock);
    assert_int_equal(epoch, kith_watch_epoch(watch));
    kith_client_unwatch(client, watch);
    kith_client_close(client);
    watcher_release(&watcher);
}

/* Silence ends it by the clock alone; the next number is another. */
static void test_watch_lapses(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct watcher watcher;
    watcher_init(&watcher);
    struct kith_watch *watch = kith_client_watch(client, &GROUP, changed, &watcher);
    assert_non_null(watch);
    uint64_t epoch = await_live(watch, true);
    atomic_store(&node->silent, true);
    uint64_t start = now_ms();
    uint64_t looked = start;
    while (kith_watch_epoch(watch) != 0) { /* however late this thread looks again */
        assert_in_range(looked - start, 0, KITH_WATCH_LEASE_MS);
        pause_ms(1);
        looked = now_ms();
    }
    atomic_store(&node->silent, false);
    assert_int_equal(epoch + 1, await_live(watch, true));
    kith_client_unwatch(client, watch);
    kith_client_close(client);
    watcher_release(&watcher);
}

/* When unwatch has returned no callback runs, and none comes. */
static void test_unwatch_waits(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    for (uint32_t i = 0; i < 20; i++) {
        struct watcher watcher;
        watcher_init(&watcher);
        atomic_store(&watcher.slow_ms, 10);
        struct kith_watch *watch = kith_client_watch(client, &GROUP, changed, &watcher);
        struct kith_watch *other = kith_client_watch(client, &GROUP, changed, &watcher);
        assert_non_null(watch);
        assert_non_null(other);
        (void)await_live(watch, true);
        tell_now(node);
        tell_now(node);
        while (i % 2 == 0 && !atomic_load(&watcher.entered)) {
            pause_ms(1);
        }
        kith_client_unwatch(client, watch);
        kith_client_unwatch(client, other);
        assert_false(atomic_load(&watcher.inside));
        watcher_release(&watcher); /* memory that nobody may touch any more */
        memset(&watcher, 0xff, sizeof(watcher));
    }
    kith_client_close(client);
}

static void *read_epoch(void *arg)
{
    const struct kith_watch *watch = arg;
    uint64_t last = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t epoch = kith_watch_epoch(watch);
        if (epoch != 0 && epoch < last) {
            return arg; /* went back */
        }
        last = epoch != 0 ? epoch : last;
    }
    return NULL;
}

static void test_watches_many(void **state)
{
    struct node *node = *state;
    struct kith_client *client = open_client(node);
    struct watcher watcher;
    watcher_init(&watcher);
    struct kith_watch *watches[KITH_WATCHES_MAX];
    pthread_t thread;
    void *wrong = NULL;
    for (uint32_t i = 0; i < KITH_WATCHES_MAX; i++) {
        struct kith_group group = {{1, (uint8_t)(i >> 8), (uint8_t)i}};
        watches[i] = kith_client_watch(client, i == 0 ? &GROUP : &group, changed, &watcher);
        assert_non_null(watches[i]);
    }
    assert_null(kith_client_watch(client, &GROUP, changed, &watcher));
    assert_int_equal(0, pthread_create(&thread, NULL, read_epoch, watches[0]));
    for (uint32_t i = 0; i < KITH_WATCHES_MAX; i++) {
        (void)await_live(watches[i], true);
    }
    tell_now(node);
    await_changes(&watcher, 1);
    assert_int_equal(0, pthread_join(thread, &wrong));
    assert_null(wrong);
    for (uint32_t i = 0; i < KITH_WATCHES_MAX / 2; i++) {
        kith_client_unwatch(client, watches[i]);
    }
    kith_client_close(client); /* the others end with it */
    watcher_release(&watcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_open_turned_down),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_lapses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwatch_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watches_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
