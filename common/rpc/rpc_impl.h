/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rpc_impl.h - what the files of common/rpc share.
 *
 *     rpc.c         the object, its queue threads, its channels and its end
 *     rpc_server.c  listening, accepting, telling streams from calls
 *     rpc_conn.c    one stream: opening, reading, closing
 *     rpc_send.c    one stream's queue: packing, corking, limits
 *     rpc_recv.c    from what gRPC received to messages
 *     rpc_call.c    unary and server-streaming calls
 *     rpc_read.c    when to read on
 *     rpc_timer.c   time limits of connections
 *     rpc_near.c    peers on the same machine
 *     rpc_accept.c  between the kernel and gRPC: who is let in, by
 *     rpc_gate.c    how many may be, and how fast
 *     rpc_args.c    channel arguments
 *     rpc_tls.c     credentials: certificates, or none
 *
 * Locks: rpc->lock (connections, channels, counts), conn->lock, call->lock, those of rpc_tls.c and
 * rpc_accept.c.
 * None is held while gRPC or a handler is called, and rpc->lock is never taken inside another one.
 */
#ifndef KITH_RPC_IMPL_H
#define KITH_RPC_IMPL_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "rpc/rpc.h"

#define RPC_BUCKETS 256u          /* of the connection table: some hundred connections at most */
#define RPC_ACCEPTS 16u           /* requests for incoming calls that wait in gRPC */
#define RPC_REASON_SIZE 256u
#define RPC_PACK_MAX (1u << 20) /* bytes packed into one gRPC message; a larger frame goes alone */
#define RPC_PUT_OFF_MS 5u /* for what comes unasked: nothing of that is urgent */
#define RPC_PORTS_MAX 2u /* that a server listens on: TCP, and the local socket */
#define RPC_TLS_LOOK_MS 1000u /* how often certificates are looked at: as often as files are */
#define RPC_SCHEME_MAX 32u /* bytes that a target of gRPC has before the address */
#define RPC_METADATA_KEY "kith-protocol" /* in the initial metadata of both sides */

/* gRPC hands things from thread to thread with locks and atomics of its own, which ThreadSanitizer
 * does not see, as libgrpc is not built for it: these two tell it. Nothing in other builds. */
#if defined(__SANITIZE_THREAD__)
#define RPC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RPC_TSAN 1
#endif
#endif
#ifdef RPC_TSAN
void __tsan_acquire(void *at);
void __tsan_release(void *at);
#define rpc_hand_over(at) __tsan_release(at)
#define rpc_take_over(at) __tsan_acquire(at)
#else
#define rpc_hand_over(at) ((void)(at))
#define rpc_take_over(at) ((void)(at))
#endif

/* What a completion does; the tag given to gRPC. */
struct rpc_tag {
    void (*done)(void *owner, bool ok);
    void *owner;
    bool failed; /* posted with rpc_post as a failure */
};
static inline struct rpc_tag rpc_tag_make(void (*done)(void *owner, bool ok), void *owner)
{
    return (struct rpc_tag){done, owner, false};
}

/* A peer's certificate, believed once. Immutable. */
struct rpc_who {
    uint32_t refs; /* atomic */
    uint64_t edition; /* of the certificates and lists by which it was believed */
    struct kith_cert cert;
    size_t pem_size;
    char pem[];
};

struct rpc_tls;
struct rpc_verify;
struct rpc_door;

/* A gRPC channel to an address, shared by the streams to it. Dropped from the list at its first
 * failure: gRPC's channels remember failures (back-off), a new one tries at once. */
struct rpc_channel {
    struct rpc_channel *next; /* protected by rpc->lock, as is all here */
    uint32_t refs;
    bool listed;
    uint64_t edition; /* of the certificates that it was made with; 0 = none */
    struct rpc_verify *verify; /* NULL: plain text */
    grpc_channel *channel;
    char address[KITH_ADDRESS_SIZE];
};

struct kith_rpc {
    struct kith_rpc_options options;
    struct kith_rpc_handlers handlers;
    struct rpc_tls *tls; /* NULL: plain text */
    grpc_completion_queue *queue;
    grpc_server *server;
    uint64_t excess;  /* atomic: what queues hold above a share for each; rpc_send.c. Rarely written */
    uint64_t shed_ms; /* atomic: when it was too much, and looked at */
    struct rpc_door *door; /* set before the server is started, until it has ended; NULL: none */
    pthread_t *threads;
    uint32_t thread_count;
    grpc_channel *wake_channel; /* leads nowhere */
    grpc_call *wake_call;       /* an empty batch on it completes at once */
    struct rpc_tag wake_tag;
    /* driven, the driver's */
    uint32_t linger; /* looks in vain that are left before it sleeps at once */
    uint32_t slept;  /* how often it has slept at once */
    uint32_t swarm;  /* looks for a second event that are left */
    bool told;      /* driven, the driver's: `closed` has been given in this event */
    struct rpc_conn *unread; /* driven, the driver's: streams to read on */
    pthread_t driver;        /* driven: who called kith_rpc_drive last; atomic */
    struct rpc_tag server_down_tag;
    pthread_t timer;
    pthread_cond_t timer_changed; /* with lock */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock */
    struct rpc_conn *buckets[RPC_BUCKETS];
    struct rpc_channel *channels;
    uint64_t next_id;
    uint32_t live; /* connections, calls and accepts that have not ended */
    uint32_t calls;
    struct kith_rpc_call *first_call, *last_call; /* in the order of their ids */
    bool listening;
    bool stopping;
    bool server_down;
    bool timer_stop;
    struct rpc_conn *put_off; /* streams whose read waits for a send (rpc_read.c); held */
    uint64_t tls_ms; /* when certificates are looked at next */
    uint64_t put_off_ms; /* when it has waited long enough; 0 = the list is empty; atomic, too */

    struct kith_rpc_stats stats; /* atomic, relaxed */
};

/* One gRPC message in the queue of a connection. */
struct rpc_packet {
    struct rpc_packet *next;
    struct kith_buf buf;
    struct kith_blob *payload; /* follows buf */
    uint32_t messages;
};

struct rpc_conn {
    struct kith_rpc *rpc;
    struct rpc_conn *next; /* in its bucket; rpc->lock */
    uint64_t limit_ms;     /* to be up, or to have ended; 0 = none; rpc->lock */
    uint64_t id;
    enum kith_rpc_class cls;
    bool is_server;
    uint32_t refs; /* atomic */
    grpc_call *call;
    struct rpc_channel *channel; /* NULL on the server's side */
    struct rpc_who *who;         /* the server's side, with TLS; else NULL */
    uint64_t checked;            /* its peer was believed by that edition, too; rpc->lock */
    char peer[KITH_ADDRESS_SIZE];

    pthread_mutex_t lock;
    /* protected by lock */
    struct rpc_packet *head, *tail; /* queued, not under way */
    struct rpc_packet *spare;       /* an empty one with its memory */
    size_t queued_bytes;            /* with those under way */
    size_t sending_bytes;
    bool sending;
    bool lone; /* what is being sent is all that waits for an answer */
    bool opened;
    bool closing;  /* no more is taken; ends when the queue is empty */
    bool ending;   /* the end has been sent */
    bool over;     /* the call has ended, or was canceled */
    bool unread;   /* the next read has been put off */
    uint64_t due_ms;     /* when that one is to begin at the latest */
    uint64_t leave_ms;   /* when what waits in the queue leaves at the latest; 0 = nothing waits */
    uint32_t unanswered; /* questions sent by the opener of the stream */
    uint32_t pending; /* batches that have not completed; at 0 the connection is closed */
    char reason[RPC_REASON_SIZE];

    /* used by one batch each */
    struct rpc_tag open_tag, send_tag, recv_tag, status_tag, end_tag;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    grpc_byte_buffer *received;
    int canceled;
    struct rpc_conn *next_unread;  /* in rpc->unread */
    struct rpc_conn *next_put_off; /* in rpc->put_off; rpc->lock, like the next */
    bool put_off;
};

/* rpc.c */
void rpc_live_add(struct kith_rpc *rpc);
void rpc_live_drop(struct kith_rpc *rpc);
/* A channel to the address, held; drop it with `failed` when the connection was not ended
 * in order. */
enum kith_err rpc_channel_get(struct kith_rpc *rpc, const char *address,
                              struct rpc_channel **ret_channel, struct kith_error *error);
void rpc_channel_drop(struct kith_rpc *rpc, struct rpc_channel *channel, bool failed);
struct rpc_conn *rpc_find(struct kith_rpc *rpc, uint64_t id); /* holds */
static inline void rpc_count(uint64_t *counter, uint64_t by)
{
    __atomic_add_fetch(counter, by, __ATOMIC_RELAXED);
}
/* Starts a batch; it cannot fail but by a mistake of ours. */
void rpc_start(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);

/* Has the tag handled by who waits in the queue. */
void rpc_post(struct kith_rpc *rpc, struct rpc_tag *tag, bool ok);

/* rpc_server.c */
void rpc_server_stop(struct kith_rpc *rpc);

/* rpc_conn.c */
void rpc_conn_hold(struct rpc_conn *conn);
void rpc_conn_drop(struct rpc_conn *conn);
/* Takes the call and `who` over. NULL (and both unreferenced) when memory is short. */
struct rpc_conn *rpc_conn_new(struct kith_rpc *rpc, enum kith_rpc_class cls, grpc_call *call,
                              struct rpc_channel *channel, const char *peer, struct rpc_who *who);
void rpc_conn_serve(struct rpc_conn *conn);
void rpc_read_start(struct rpc_conn *conn);
/* Counts one batch as ended; gives `closed` with the last. */
void rpc_conn_done(struct rpc_conn *conn);
/* conn->lock held: sets the reason if there is none yet. */
void rpc_conn_set_reason(struct rpc_conn *conn, const char *reason);
/* Ends it in order, or at once. */
void rpc_conn_close(struct rpc_conn *conn, const char *reason);
void rpc_conn_cancel(struct rpc_conn *conn, grpc_status_code code, const char *reason);
/* Sends the end of the stream; called once, with the queue empty and conn->ending set. */
void rpc_conn_end(struct rpc_conn *conn);

/* The limit set with rpc_timer_set has passed. */
void rpc_conn_late(struct rpc_conn *conn);

/* rpc_read.c */
/* Begins the next read, or puts it off. It has been counted as pending. */
void rpc_read_on(struct rpc_conn *conn);
/* After a send, and at the end: begins the read that was put off, if one was. */
void rpc_read_resume(struct rpc_conn *conn);
void rpc_read_all(struct kith_rpc *rpc);  /* driven: what waited for the driver */
void rpc_read_late(struct kith_rpc *rpc); /* rpc->lock held, let go in between */
/* Driven: does what is due of what was put off; when to look again (CLOCK_MONOTONIC, in ms). */
uint64_t rpc_read_drive(struct kith_rpc *rpc);
/* Has the timer look at the connection at `due_ms`, or before. */
void rpc_put_off(struct rpc_conn *conn, uint64_t due_ms);
uint64_t rpc_late_ms(void); /* when what is put off now has waited long enough */
void rpc_read_sent(struct rpc_conn *conn, enum kith_msg_kind kind); /* conn->lock held */
void rpc_read_got(struct rpc_conn *conn, enum kith_msg_kind kind);

/* rpc_timer.c */
int rpc_timer_start(struct kith_rpc *rpc); /* 0, or an errno; then there is nothing to stop */
void rpc_timer_stop(struct kith_rpc *rpc);
void rpc_timer_set(struct rpc_conn *conn, uint32_t after_ms); /* 0 = no limit */

/* rpc_send.c */
enum kith_err rpc_conn_send(struct rpc_conn *conn, const struct kith_msg *msg);
void rpc_conn_sent(void *owner, bool ok);
void rpc_send_late(struct rpc_conn *conn); /* what has waited leaves */
void rpc_conn_drop_queue(struct rpc_conn *conn); /* conn->lock held */
void rpc_cork_enter(void);
void rpc_cork_leave(void);

/* rpc_recv.c */
/* Gives the messages in `bytes` to the handlers. */
enum kith_err rpc_conn_deliver(struct rpc_conn *conn, grpc_byte_buffer *bytes,
                               struct kith_error *error);

/* rpc_call.c */
/* Takes the call and `who` over. */
void rpc_call_serve(struct kith_rpc *rpc, grpc_call *call, grpc_slice method,
                    gpr_timespec deadline, struct rpc_who *who);
/* The timer's: ends those whose caller is not to be believed any more. */
void rpc_call_look(struct kith_rpc *rpc, const struct kith_identity *identity);

/* rpc_args.c */
#define RPC_ARGS_MAX 32u
struct rpc_args {
    grpc_channel_args header; /* points into list */
    grpc_arg list[RPC_ARGS_MAX];
    grpc_resource_quota *quota; /* of a server, else NULL; held */
};
void rpc_client_args(const struct kith_rpc_options *options, struct rpc_args *ret_args);
void rpc_server_args(const struct kith_rpc_options *options, struct rpc_args *ret_args);
void rpc_args_release(struct rpc_args *args); /* once they have been used */

/* rpc_tls.c */
KITH_MUST_CHECK enum kith_err rpc_tls_new(const struct kith_identity_files *files,
                                          struct rpc_tls **ret_tls, struct kith_error *error);
void rpc_tls_free(struct rpc_tls *tls);
/* For one channel, whose edition and verify it sets. NULL: no memory. */
grpc_channel_credentials *rpc_channel_credentials(struct kith_rpc *rpc,
                                                  struct rpc_channel *channel);
/* For one port. */
grpc_server_credentials *rpc_server_credentials(struct kith_rpc *rpc);
/* EPERM: our certificate is no node's, and nobody would talk to us. */
KITH_MUST_CHECK enum kith_err rpc_tls_may_listen(struct kith_rpc *rpc, const char *address,
                                                 struct kith_error *error);
uint64_t rpc_tls_edition(struct kith_rpc *rpc); /* what a new channel would have; 0 = no TLS */
void rpc_verify_drop(struct rpc_verify *verify);
/* Whether the channel's peer was refused by us, and why. */
bool rpc_verify_refused(struct rpc_verify *verify, char reason[RPC_REASON_SIZE]);
/* Who calls; held. NULL with an error: nobody that is to be answered. Only with TLS. */
struct rpc_who *rpc_tls_caller(struct kith_rpc *rpc, grpc_call *call, struct kith_error *error);
struct rpc_who *rpc_who_hold(struct rpc_who *who);
void rpc_who_drop(struct rpc_who *who); /* NULL is fine */
void rpc_tls_look(struct kith_rpc *rpc); /* the timer's, every RPC_TLS_LOOK_MS */
/* Whether a holder who was believed by that edition must be looked at again; and whether he is
 * still to be believed. */
bool rpc_who_suspect(const struct rpc_who *who, uint64_t checked, uint64_t edition);
KITH_MUST_CHECK enum kith_err rpc_who_check(const struct rpc_who *who,
                                            const struct kith_identity *identity,
                                            struct kith_error *error);
/* A line that anybody can cause: each place of the code has a limit of its own. */
#define rpc_tls_log(...)                                                                           \
    do {                                                                                           \
        static struct kith_log_limit rpc_limit;                                                    \
        kith_log_limited(&rpc_limit, KITH_LOG_WARN, "tls", __VA_ARGS__);                           \
    } while (0)
/* What OpenSSL's words in the text mean; NULL: they are not known, or none. */
const char *rpc_tls_reason(const char *text);

/* The target, for connecting and for listening, by which processes of this machine find who listens
 * at `address` as `near`. False: the address is too long for that. */
bool rpc_near_target(const char *address, char *target, size_t size);
/* Whether somebody listens there. */
bool rpc_near_listens(const char *address);
/* The local socket's name. False: the address is too long. */
bool rpc_near_name(const char *address, struct sockaddr_un *ret_name, socklen_t *ret_size);

/* rpc_accept.c */
/* Before the server is started: for its TCP port, and the local socket of that address (or NULL).
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err rpc_door_open(struct kith_rpc *rpc, uint16_t port, const char *near);
void rpc_door_close(struct kith_rpc *rpc); /* after the server's end */
/* Whoever made the call may be here. Costs next to nothing while all are known. */
void rpc_door_known(struct kith_rpc *rpc, grpc_call *call);
/* At most how many connections there are, and of whom nobody knows yet who they are. */
void rpc_door_count(struct kith_rpc *rpc, uint32_t *ret_total, uint32_t *ret_unknown);

#endif
