/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How gRPC is set up: channel arguments. */
#include "base/assert.h"
#include "base/memory.h"
#include "rpc/rpc_impl.h"

/* One HTTP/2 frame holds a whole chunk with its header, so that it is not cut into 16 KiB
 * pieces. */
#define FRAME_BYTES (2 << 20)
/* What a stream may have under way before its reader has taken any: a few chunks. */
#define WINDOW_BYTES (8 << 20)
/* At once on one TCP connection; calls are limited apart. A mount has two, and other programs
 * rarely more than a hundred. Each may have its window in our memory. */
#define STREAMS_MAX 1024
/* Options.receive_total_bytes: far more than a hundred windows that are full, and far less than the
 * thousands of them that one connection may have. Measured: a client that begins messages and does
 * not end them had 2.1 GiB of a node whatever he sent, and it went on serving. */
#define RECEIVE_SHARE     8u
#define RECEIVE_MAX_BYTES ((uint64_t)2 << 30)
#define RECEIVE_MIN_BYTES ((uint64_t)256 << 20)
/* For who has not proved yet who he is, as long as our own clients try: gRPC's own limit is two
 * minutes. */
#define HANDSHAKE_MS 5000
#define IDLE_MS    30000   /* without any stream or call; our own clients close them at once */
#define BACKOFF_MS 100     /* only for what happens inside gRPC: a failed channel is thrown away */

static void add(struct rpc_args *args, const char *key, int value)
{
    KITH_ASSERT(args->header.num_args < RPC_ARGS_MAX);
    grpc_arg *arg = &args->list[args->header.num_args++];
    arg->type = GRPC_ARG_INTEGER;
    arg->key = (char *)(uintptr_t)key;
    arg->value.integer = value;
}

static void add_text(struct rpc_args *args, const char *key, const char *value)
{
    KITH_ASSERT(args->header.num_args < RPC_ARGS_MAX);
    grpc_arg *arg = &args->list[args->header.num_args++];
    arg->type = GRPC_ARG_STRING;
    arg->key = (char *)(uintptr_t)key;
    arg->value.string = (char *)(uintptr_t)value;
}

static void add_common(struct rpc_args *args, const struct kith_rpc_options *options)
{
    int keepalive = (int)options->keepalive_ms;
    add(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)KITH_MESSAGE_MAX);
    add(args, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int)KITH_MESSAGE_MAX);
    add(args, GRPC_ARG_KEEPALIVE_TIME_MS, keepalive);
    add(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive);
    add(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    add(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    /* its pings cost; the windows are wide from the start */
    add(args, GRPC_ARG_HTTP2_BDP_PROBE, 0);
    add(args, GRPC_ARG_HTTP2_MAX_FRAME_SIZE, FRAME_BYTES);
    add(args, GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, WINDOW_BYTES);
    add(args, GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, FRAME_BYTES);
    add(args, GRPC_ARG_ENABLE_CENSUS, 0);
    add(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    add(args, GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
    add(args, GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
    add(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0); /* no bombs */
}

void rpc_client_args(const struct kith_rpc_options *options, struct rpc_args *ret_args)
{
    ret_args->header = (grpc_channel_args){0, ret_args->list};
    ret_args->quota = NULL;
    add_common(ret_args, options);
    add(ret_args, GRPC_ARG_ENABLE_RETRIES, 0);
    add(ret_args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    add(ret_args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    /* a new channel must be a new connection, not one of gRPC's global pool with its back-off */
    add(ret_args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    add(ret_args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_MS);
    add(ret_args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_MS);
    /* this is also how long gRPC tries one connection */
    add(ret_args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, (int)options->connect_timeout_ms);
    if (options->tls) { /* of whatever address: tls/cert.h */
        add_text(ret_args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, KITH_CERT_DNS);
    }
}

static grpc_resource_quota *receive_quota(const struct kith_rpc_options *options)
{
    uint64_t bytes = options->receive_total_bytes;
    if (bytes == 0) {
        bytes = kith_memory_bytes() / RECEIVE_SHARE;
        bytes = bytes > RECEIVE_MAX_BYTES ? RECEIVE_MAX_BYTES : bytes;
        bytes = bytes < RECEIVE_MIN_BYTES ? RECEIVE_MIN_BYTES : bytes;
    }
    grpc_resource_quota *quota = grpc_resource_quota_create("kithfs");
    grpc_resource_quota_resize(quota, (size_t)bytes);
    return quota;
}

void rpc_args_release(struct rpc_args *args)
{
    if (args->quota) {
        grpc_resource_quota_unref(args->quota);
        args->quota = NULL;
    }
}

void rpc_server_args(const struct kith_rpc_options *options, struct rpc_args *ret_args)
{
    ret_args->header = (grpc_channel_args){0, ret_args->list};
    ret_args->quota = receive_quota(options);
    grpc_arg *quota = &ret_args->list[ret_args->header.num_args++];
    quota->type = GRPC_ARG_POINTER;
    quota->key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA;
    quota->value.pointer.p = ret_args->quota;
    quota->value.pointer.vtable = grpc_resource_quota_arg_vtable();
    add_common(ret_args, options);
    add(ret_args, GRPC_ARG_ALLOW_REUSEPORT, 0); /* a second daemon on the port must fail */
    add(ret_args, GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_MAX);
    add(ret_args, GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    add(ret_args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
    add(ret_args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS);
    /* who was refused by what he calls has a connection still */
    add(ret_args, GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS);
}
