/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon_run.c - how kithd begins and ends. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "shell/access.h"
#include "shell/daemon_int.h"
#include "store/crypt_key.h"

#define PUT_RETRY_NS 10000000L

/* ---- What other threads say ---- */

void daemon_put(struct daemon *daemon, enum kith_inbox_kind kind, uint64_t conn, void *pointer)
{
    while (kith_inbox_put(&daemon->inbox, kind, conn, pointer) != KITH_OK) {
        struct timespec pause = {0, PUT_RETRY_NS}; /* only memory can be short, see inbox.h */
        nanosleep(&pause, NULL);
    }
}

/* The core's thread waits in the transport; what it puts itself it will see anyhow. */
static void wake_core(void *arg)
{
    struct daemon *daemon = arg;
    if (!pthread_equal(pthread_self(), daemon->core_thread)) {
        kith_rpc_wake(daemon->rpc);
    }
}

/* ---- Who may what: access.h. These handlers run on the core's thread ---- */

/* Whether this node has opened it: then a node is behind it, for the transport talks to no other.
 */
static bool is_ours(struct daemon *daemon, uint64_t conn)
{
    uint64_t core = 0;
    return kith_conn_map_get(&daemon->to_core, conn, &core);
}

/* Whether the message goes on to the core; else its sender has been told. */
static bool allowed(struct daemon *daemon, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_cert_grant *grant = kith_holders_find(&daemon->holders, conn);
    struct kith_error error;
    struct kith_msg answer;
    if (grant == NULL && is_ours(daemon, conn)) {
        return true;
    }
    enum kith_err err = grant != NULL
                            ? kith_access_check(grant, msg, &error)
                            : kith_error_set(&error, KITH_EPERM, "nobody knows whose this is");
    if (err == KITH_OK) {
        return true;
    }
    kith_log_debug("kithd", "connection %llu: refused: %s", (unsigned long long)conn,
                   error.message);
    if (grant == NULL || !kith_access_answer(msg, &error, &answer) ||
        kith_rpc_send(daemon->rpc, conn, &answer) != KITH_OK) {
        kith_rpc_close(daemon->rpc, conn, error.message);
    }
    return false;
}

static void rpc_accepted(void *arg, uint64_t conn, enum kith_rpc_class cls, const char *peer,
                         const struct kith_cert *who)
{
    struct daemon *daemon = arg;
    struct kith_error error;
    if (who != NULL && kith_holders_add(&daemon->holders, conn, who, &error) != KITH_OK) {
        static struct kith_log_limit limit;
        kith_log_limited(&limit, KITH_LOG_WARN, "kithd", "a connection from %s was closed: %s",
                         peer, error.message);
        kith_rpc_close(daemon->rpc, conn, error.message); /* nothing is heard from it any more */
        return;
    }
    kith_log_debug("kithd", "connection %llu accepted from %s%s", (unsigned long long)conn, peer,
                   cls == KITH_RPC_BULK ? " (bulk)" : "");
    daemon_put(arg, cls == KITH_RPC_BULK ? KITH_INBOX_ACCEPTED_BULK : KITH_INBOX_ACCEPTED, conn,
               NULL);
}

static void rpc_opened(void *arg, uint64_t conn)
{
    daemon_put(arg, KITH_INBOX_OPENED, conn, NULL);
}

static void answer_list(struct daemon *daemon, uint64_t conn, uint64_t id,
                        const struct kith_error *error)
{
    struct kith_msg answer = {.kind = KITH_MSG_ADMIN_RES, .id = id};
    if (error != NULL) {
        answer.u.admin_res.status = (struct kith_status){error->code, error->message};
    } else {
        answer.u.admin_res.status.message = "";
    }
    if (kith_rpc_send(daemon->rpc, conn, &answer) != KITH_OK) {
        kith_log_debug("kithd", "connection %llu: it does not hear what became of its list",
                       (unsigned long long)conn);
    }
}

/* On the transport's timer thread. */
static void list_taken(void *arg, uint64_t conn, uint64_t id, const struct kith_error *error)
{
    if (error == NULL) {
        kith_log_info("kithd", "taken: a list of revoked certificates from an administrator");
    } else {
        kith_log_warn("kithd", "a list of revoked certificates was not taken: %s", error->message);
    }
    answer_list(arg, conn, id, error);
}

/* It is verified, and written to the disk, which the core's thread must not wait for. */
static void take_list(struct daemon *daemon, uint64_t conn, const struct kith_msg *msg)
{
    struct kith_error error;
    if (kith_rpc_offer_list(daemon->rpc, msg->u.revoked_cmd.list, list_taken, daemon, conn, msg->id,
                            &error) != KITH_OK) {
        answer_list(daemon, conn, msg->id, &error);
    }
}

static void rpc_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct daemon *daemon = arg;
    if (daemon->options->tls.cert != NULL && !allowed(daemon, conn, &box->msg)) {
        kith_msg_box_drop(box);
        return;
    }
    if (box->msg.kind == KITH_MSG_REVOKED_CMD && !is_ours(daemon, conn)) {
        take_list(daemon, conn, &box->msg);
        kith_msg_box_drop(box);
        return;
    }
    daemon_metrics_came(daemon, conn, &box->msg);
    if (kith_inbox_put(&daemon->inbox, KITH_INBOX_MESSAGE, conn, box) != KITH_OK) {
        /* far more than the core would take: a stream with a hole in it is worth nothing */
        kith_msg_box_drop(box);
        kith_rpc_close(daemon->rpc, conn, "this node is overloaded");
    }
}

static void rpc_closed(void *arg, uint64_t conn, const char *reason)
{
    kith_log_debug("kithd", "connection %llu ended: %s", (unsigned long long)conn, reason);
    kith_holders_remove(&((struct daemon *)arg)->holders, conn);
    daemon_put(arg, KITH_INBOX_CLOSED, conn, NULL);
}

static void store_completed(void *arg, struct kith_store_results *results)
{
    daemon_put(arg, KITH_INBOX_STORED, 0, results);
}

static void store_failed(void *arg, const char *message)
{
    struct daemon *daemon = arg;
    snprintf(daemon->fatal_message, sizeof daemon->fatal_message, "%s", message);
    daemon_put(daemon, KITH_INBOX_FATAL, 0, NULL);
}

/* ---- Signals ---- */

struct signals {
    struct daemon *daemon;
    pthread_t thread;
    sigset_t set;
    atomic_bool end;
    atomic_bool told; /* to end */
    bool started;
};

static void *signals_main(void *arg)
{
    struct signals *signals = arg;
    pthread_setname_np(pthread_self(), "signals");
    for (;;) {
        int number = 0;
        if (sigwait(&signals->set, &number) != 0) {
            continue;
        }
        if (atomic_load(&signals->end)) {
            return NULL;
        }
        if (number == SIGHUP) {
            struct kith_error error;
            if (kith_log_open(signals->daemon->options->log_file, &error) != KITH_OK) {
                kith_log_error("kithd", "%s", error.message);
            }
        } else if (atomic_exchange(&signals->told, true)) {
            kith_log_error("kithd", "told to end twice: ending at once");
            _exit(2);
        } else {
            kith_log_info("kithd", "ending (signal %d)", number);
            daemon_put(signals->daemon, KITH_INBOX_STOP, 0, NULL);
        }
    }
}

static enum kith_err signals_start(struct signals *signals, struct daemon *daemon,
                                   struct kith_error *error)
{
    signals->daemon = daemon;
    sigemptyset(&signals->set);
    sigaddset(&signals->set, SIGTERM);
    sigaddset(&signals->set, SIGINT);
    sigaddset(&signals->set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &signals->set, NULL) != 0 ||
        pthread_create(&signals->thread, NULL, signals_main, signals) != 0) {
        return kith_error_set(error, KITH_ENOMEM, "cannot start a thread");
    }
    signals->started = true;
    return KITH_OK;
}

static void signals_end(struct signals *signals)
{
    if (signals->started) {
        atomic_store(&signals->end, true);
        pthread_kill(signals->thread, SIGTERM);
        pthread_join(signals->thread, NULL);
        (void)pthread_sigmask(SIG_UNBLOCK, &signals->set, NULL);
    }
}

/* ---- Files in the data directory ---- */

enum kith_err daemon_file_write(const struct daemon *daemon, const char *name, const char *line,
                                struct kith_error *error)
{
    char path[4096], temporary[4096];
    snprintf(path, sizeof path, "%s/%s", daemon->options->data, name);
    snprintf(temporary, sizeof temporary, "%s/%s.new", daemon->options->data, name);
    FILE *file = fopen(temporary, "we");
    bool good = file != NULL && fprintf(file, "%s\n", line) > 0;
    int saved = errno;
    if (file != NULL && fclose(file) != 0) {
        saved = errno;
        good = false;
    }
    if (good && rename(temporary, path) != 0) {
        saved = errno;
        good = false;
    }
    return good ? KITH_OK
                : kith_error_set(error, KITH_EIO, "%s: cannot be written: %s", path,
                                 strerror(saved));
}

void daemon_file_remove(const struct daemon *daemon, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", daemon->options->data, name);
    if (unlink(path) != 0 && errno != ENOENT) {
        kith_log_warn("kithd", "%s: %s", path, strerror(errno));
    }
}

/* ---- The address ---- */

/* "host:port" or "[v6]:port" with this port; a wildcard host becomes this machine's name. */
static enum kith_err make_address(struct daemon *daemon, const char *asked, uint16_t port,
                                  struct kith_error *error)
{
    const char *colon = strrchr(asked, ':');
    size_t host_size = colon == NULL ? strlen(asked) : (size_t)(colon - asked);
    char host[KITH_ADDRESS_SIZE - 8];
    if (host_size == 0 || host_size >= sizeof host) {
        return kith_error_set(error, KITH_EINVAL, "%s: not an address; write host:port", asked);
    }
    memcpy(host, asked, host_size);
    host[host_size] = '\0';
    bool any4 = strcmp(host, "0.0.0.0") == 0;
    bool any6 = strcmp(host, "[::]") == 0;
    snprintf(daemon->own_server, sizeof daemon->own_server, "%s:%u",
             any4   ? "127.0.0.1"
             : any6 ? "[::1]"
                    : host,
             port);
    if (any4 || any6) {
        if (gethostname(host, sizeof host) != 0) {
            return kith_error_set(error, KITH_EIO,
                                  "the name of this machine is not known: %s; use "
                                  "--advertise",
                                  strerror(errno));
        }
        host[sizeof host - 1] = '\0';
    }
    snprintf(daemon->address, sizeof daemon->address, "%s:%u", host, port);
    return KITH_OK;
}

/* The address by which processes of this machine look for this node: the one that others use, too.
 * Where it listens on one only, it is that one: what is advertised may lead to who stands between. */
static enum kith_err make_near(struct daemon *daemon, char *near, size_t size,
                               struct kith_error *error)
{
    const struct kith_daemon_options *options = daemon->options;
    const char *colon = strrchr(options->listen, ':');
    unsigned port = 0; /* any free one; or no number, which listening refuses */
    if (colon != NULL) {
        (void)sscanf(colon + 1, "%5u", &port);
    }
    enum kith_err err = make_address(daemon, options->listen, (uint16_t)port, error);
    bool any = strncmp(options->listen, "0.0.0.0:", 8) == 0 ||
               strncmp(options->listen, "[::]:", 5) == 0;
    (void)snprintf(near, size, "%s",
                   any && options->advertise != NULL ? options->advertise : daemon->address);
    return err;
}

static enum kith_err start_listening(struct daemon *daemon, struct kith_error *error)
{
    struct kith_rpc_options rpc_options = {.driven = true, .role = KITH_ROLE_NODE};
    char near[KITH_ADDRESS_SIZE];
    struct kith_rpc_handlers handlers = {.arg = daemon,
                                         .accepted = rpc_accepted,
                                         .opened = rpc_opened,
                                         .message = rpc_message,
                                         .closed = rpc_closed,
                                         .call = daemon_call};
    uint16_t port = 0;
    struct kith_identity_files tls = daemon->options->tls;
    tls.sent = daemon->sent_list;
    rpc_options.tls = tls.cert != NULL ? &tls : NULL;
    if (snprintf(daemon->sent_list, sizeof daemon->sent_list, "%s/crl.pem",
                 daemon->options->data) >= (int)sizeof daemon->sent_list) {
        return kith_error_set(error, KITH_EINVAL, "--data: the path is too long");
    }
    enum kith_err err = daemon_door_open(daemon);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "out of memory");
    }
    if (daemon->options->local_socket) {
        err = make_near(daemon, near, sizeof near, error);
        rpc_options.near = near;
    }
    if (err == KITH_OK) {
        err = kith_rpc_new(&rpc_options, &handlers, &daemon->rpc, error);
    }
    if (err == KITH_OK) {
        err = kith_rpc_listen(daemon->rpc, daemon->options->listen, &port, error);
    }
    if (err == KITH_OK) { /* sets both: what others and what this process itself connect to */
        err = make_address(daemon, daemon->options->listen, port, error);
    }
    if (err == KITH_OK && daemon->options->advertise != NULL) {
        snprintf(daemon->address, sizeof daemon->address, "%s", daemon->options->advertise);
    }
    if (err == KITH_OK) {
        err = daemon_file_write(daemon, "address", daemon->address, error);
    }
    return err;
}

/* ---- Beginning and end ---- */

static enum kith_err start_store(struct daemon *daemon, struct kith_error *error)
{
    struct kith_store_options options = {.path = daemon->options->data,
                                         .cache_bytes = daemon->options->cache_bytes,
                                         .arg = daemon,
                                         .completed = store_completed,
                                         .fatal = store_failed};
    struct kith_crypt_key key;
    enum kith_err err = KITH_OK;
    memcpy(options.space_percent, daemon->options->space_percent, sizeof options.space_percent);
    while (options.run == 0) {
        daemon_random(&options.run, sizeof options.run);
    }
    if (daemon->options->encrypt) {
        err = kith_crypt_key_load(daemon->options->encrypt_key, &key, error);
        options.key = &key;
    }
    if (err == KITH_OK) {
        err = kith_store_open(&options, &daemon->store, error);
    }
    kith_crypt_wipe(&key, sizeof key);
    if (err != KITH_OK) {
        return err;
    }
    daemon->store_running = true;
    char pid[24];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    return daemon_file_write(daemon, "kithd.pid", pid, error);
}

static enum kith_err start_node(struct daemon *daemon, struct kith_error *error)
{
    struct timespec mono, wall;
    struct kith_start start;
    memset(&start, 0, sizeof start);
    kith_store_start(daemon->store, &start);
    struct kith_bytes record = start.meta[KITH_META_NODE];
    if (record.size >= sizeof start.node.bytes) {
        memcpy(start.node.bytes, record.data, sizeof start.node.bytes);
    }
    daemon_random(start.random, sizeof start.random);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);
    start.mono_ms = (uint64_t)mono.tv_sec * 1000u + (uint64_t)mono.tv_nsec / 1000000u;
    start.wall_ms = (uint64_t)wall.tv_sec * 1000u + (uint64_t)wall.tv_nsec / 1000000u;
    struct kith_node_options options = {.address = daemon->address,
                                        .zone = daemon->options->zone,
                                        .weight = daemon->options->weight,
                                        .software = "kithd " KITH_VERSION,
                                        .repair_rate = daemon->options->repair_rate,
                                        .zone_rate = daemon->options->zone_rate,
                                        .scrub_ms = daemon->options->scrub_ms,
                                        .scrub_rate = daemon->options->scrub_rate,
                                        .sweep_ms = daemon->options->sweep_ms,
                                        .join = daemon->options->join};
    enum kith_err err = kith_node_new(&options, &start, &daemon->node, error);
    if (err != KITH_OK) {
        return kith_error_wrap(error, "%s", daemon->options->data);
    }
    return KITH_OK;
}

static enum kith_err daemon_start(struct daemon *daemon, struct signals *signals,
                                  struct kith_error *error)
{
    daemon->stalled_end = &daemon->stalled;
    daemon->random_at = DAEMON_RANDOM_COUNT;
    daemon->core_thread = pthread_self();
    enum kith_err err = kith_inbox_init(&daemon->inbox, wake_core, daemon);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "out of memory");
    }
    err = signals_start(signals, daemon, error);
    if (err == KITH_OK) {
        err = start_store(daemon, error);
    }
    if (err == KITH_OK) {
        err = start_listening(daemon, error);
    }
    if (err == KITH_OK) {
        err = start_node(daemon, error);
    }
    if (err == KITH_OK) {
        daemon_metrics_start(daemon);
    }
    return err;
}

static enum kith_err daemon_end(struct daemon *daemon, enum kith_err err, struct kith_error *error)
{
    daemon_metrics_stop(daemon);
    if (daemon->node != NULL) {
        daemon_drain(daemon);
    }
    daemon_door_close(daemon);
    if (daemon->rpc != NULL) {
        kith_rpc_free(daemon->rpc);
    }
    daemon_door_free(daemon);
    if (daemon->store != NULL) {
        struct kith_error close_error = {KITH_OK, ""};
        kith_store_stop(daemon->store);
        daemon_discard(daemon);
        daemon_file_remove(daemon, "address"); /* while the lock is ours: the next kithd writes its own */
        daemon_file_remove(daemon, "kithd.pid");
        if (kith_store_close(daemon->store, &close_error) != KITH_OK && err == KITH_OK) {
            *error = close_error;
            err = close_error.code;
        }
    } else {
        daemon_discard(daemon);
    }
    if (daemon->node != NULL) {
        kith_node_free(daemon->node); /* after the store: its operations point into it */
    }
    kith_conn_map_release(&daemon->to_core);
    kith_conn_map_release(&daemon->to_rpc);
    kith_holders_release(&daemon->holders); /* empty: the transport has told of every end */
    kith_free(daemon->own);
    kith_served_free(daemon->requests);
    return err;
}

enum kith_err kith_daemon_run(const struct kith_daemon_options *options, struct kith_error *error)
{
    struct daemon *daemon = kith_calloc(1, sizeof *daemon);
    if (daemon == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    struct signals signals = {.daemon = NULL};
    daemon->options = options;
    enum kith_err err = daemon_start(daemon, &signals, error);
    if (err == KITH_OK && options->log_file != NULL) {
        err = kith_log_take_stderr(error); /* why it does not start is said to who started it */
    }
    if (err == KITH_OK) {
        kith_log_info("kithd", "version %s, data in %s, listening, reached at %s", KITH_VERSION,
                      options->data, daemon->address);
        kith_supervisor_init(&daemon->supervisor);
        kith_supervisor_ready(&daemon->supervisor, daemon->address);
        daemon_loop(daemon);
        kith_supervisor_stopping();
        if (daemon->error.code != KITH_OK) {
            *error = daemon->error;
            err = error->code;
        }
    }
    err = daemon_end(daemon, err, error);
    signals_end(&signals);
    if (err == KITH_ENOTREADY && atomic_load(&signals.told)) {
        err = KITH_OK; /* he who told it to end need not hear of that */
    }
    kith_inbox_release(&daemon->inbox);
    kith_free(daemon);
    if (err == KITH_OK) {
        kith_log_info("kithd", "ended");
    }
    return err;
}
