/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"

#define HOST_SIZE 256u

struct kith_http {
    struct MHD_Daemon *daemon;
    kith_http_answerer answerer;
    void *arg;
    bool loopback;
    pthread_mutex_t lock;
    struct {
        struct MHD_Connection *connection; /* NULL: the place is free */
        int fd;
        uint64_t since_ms;
    } open[KITH_HTTP_CONNECTIONS]; /* protected by lock: none of these is closed meanwhile */
};

static const struct {
    const char *name, *value;
} headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
    {"Connection", "close"}, /* one request each: who waits holds nothing up */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- Addresses ---- */

/* Takes "host:port" apart; the brackets of IPv6 go. */
static enum kith_err split(const char *text, char host[HOST_SIZE], const char **ret_port,
                           struct kith_error *error)
{
    const char *colon = strrchr(text, ':');
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    bool v6 = size > 2 && text[0] == '[' && colon[-1] == ']';
    char *end = NULL;
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, &end, 10);
    bool number = colon != NULL && colon[1] >= '0' && colon[1] <= '9' && *end == '\0';
    if (size == 0 || size >= HOST_SIZE || !number || port > UINT16_MAX ||
        (!v6 && strcspn(text, ":[]") < size)) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s: not an address; write HOST:PORT, IPv6 in brackets, or no", text);
    }
    (void)snprintf(host, HOST_SIZE, "%.*s", (int)(v6 ? size - 2 : size), v6 ? text + 1 : text);
    *ret_port = colon + 1;
    return KITH_OK;
}

enum kith_err kith_http_check(const char *listen_at, struct kith_error *error)
{
    char host[HOST_SIZE];
    const char *port = NULL;
    return split(listen_at, host, &port, error);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static enum kith_err listening_failed(const char *listen_at, int number, struct kith_error *error)
{
    enum kith_err err = number == EADDRINUSE                        ? KITH_EBUSY
                        : number == EACCES || number == EPERM ? KITH_EPERM
                                                                    : KITH_EIO;
    return kith_error_set(error, err, "%s: %s", listen_at, strerror(number));
}

/* A socket that listens there. */
static enum kith_err open_socket(const char *listen_at, int *ret_fd, bool *ret_loopback,
                                 char address[KITH_HTTP_ADDRESS_SIZE], struct kith_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    char host[HOST_SIZE], shown[INET6_ADDRSTRLEN];
    const char *port = NULL;
    const int on = 1;
    enum kith_err err = split(listen_at, host, &port, error);
    if (err != KITH_OK) {
        return err;
    }
    int number = getaddrinfo(host, port, &hints, &list);
    if (number != 0) {
        return kith_error_set(error, KITH_EIO, "%s: %s", listen_at, gai_strerror(number));
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) != 0 ||
        listen(fd, (int)KITH_HTTP_CONNECTIONS) != 0 ||
        getsockname(fd, (struct sockaddr *)&own, &size) != 0) {
        err = listening_failed(listen_at, errno, error);
        freeaddrinfo(list);
        if (fd >= 0) {
            (void)close(fd);
        }
        return err;
    }
    freeaddrinfo(list);
    bool v6 = own.ss_family == AF_INET6;
    const struct sockaddr_in *in = (const void *)&own;
    const struct sockaddr_in6 *in6 = (const void *)&own;
    (void)inet_ntop(own.ss_family, v6 ? (const void *)&in6->sin6_addr : &in->sin_addr, shown,
                    sizeof shown);
    (void)snprintf(address, KITH_HTTP_ADDRESS_SIZE, v6 ? "[%s]:%u" : "%s:%u", shown,
                   ntohs(v6 ? in6->sin6_port : in->sin_port));
    *ret_loopback = is_loopback((struct sockaddr *)&own);
    *ret_fd = fd;
    return KITH_OK;
}

/* Whether a Host header names this machine's loopback, or an address. */
static bool host_fits(const char *value)
{
    char host[HOST_SIZE];
    struct in6_addr any;
    size_t size = strlen(value);
    if (size == 0 || size >= HOST_SIZE) {
        return false;
    }
    (void)snprintf(host, sizeof host, "%s", value);
    char *colon = strrchr(host, ':');
    if (host[0] == '[') {
        char *end = strchr(host, ']');
        if (end != NULL) {
            *end = '\0';
        }
        return end != NULL && inet_pton(AF_INET6, host + 1, &any) == 1;
    }
    if (colon != NULL) {
        *colon = '\0';
    }
    return strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, &any) == 1;
}

/* ---- Requests ---- */

static void say(struct kith_http_answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    answer->type = "text/plain; charset=utf-8";
    kith_buf_clear(&answer->body);
    kith_buf_put(&answer->body, text, strlen(text));
}

static enum MHD_Result respond(struct MHD_Connection *connection, struct kith_http_answer *answer)
{
    if (answer->body.failed) {
        kith_buf_release(&answer->body);
        kith_buf_init(&answer->body);
        say(answer, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->body.size, answer->body.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    enum MHD_Result result = MHD_add_response_header(response, "Content-Type", answer->type);
    for (size_t i = 0; result == MHD_YES && i < sizeof headers / sizeof headers[0]; i++) {
        result = MHD_add_response_header(response, headers[i].name, headers[i].value);
    }
    if (result == MHD_YES && answer->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        result = MHD_add_response_header(response, "Allow", "GET, HEAD");
    }
    if (result == MHD_YES) {
        result = MHD_queue_response(connection, answer->status, response);
    }
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct kith_http *http = arg;
    struct kith_http_answer answer = {.status = MHD_HTTP_OK, .type = "text/plain"};
    (void)version;
    (void)upload;
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (*request == NULL && reads) { /* the headers are there; a body would follow */
        *request = http;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        return MHD_NO; /* nobody has anything to say to us */
    }
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    kith_buf_init(&answer.body);
    if (!reads) {
        say(&answer, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    } else if (http->loopback && host != NULL && !host_fits(host)) {
        say(&answer, 421, "this server is localhost: ask it by that name, or by its address\n");
    } else if (url[0] != '/') { /* another server's, as one asks a proxy; or nothing sensible */
        say(&answer, MHD_HTTP_BAD_REQUEST, "a path begins with /\n");
    } else {
        http->answerer(http->arg, url, &answer);
    }
    enum MHD_Result result = respond(connection, &answer);
    kith_buf_release(&answer.body);
    return result;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **place,
                          enum MHD_ConnectionNotificationCode code)
{
    struct kith_http *http = arg;
    (void)place;
    bool begins = code == MHD_CONNECTION_NOTIFY_STARTED;
    const union MHD_ConnectionInfo *info =
        begins ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD) : NULL;
    pthread_mutex_lock(&http->lock);
    for (uint32_t i = 0; i < KITH_HTTP_CONNECTIONS; i++) {
        if (http->open[i].connection == (begins ? NULL : connection)) {
            http->open[i].connection = begins && info != NULL ? connection : NULL;
            http->open[i].fd = begins && info != NULL ? info->connect_fd : -1;
            http->open[i].since_ms = now_ms();
            break;
        }
    }
    pthread_mutex_unlock(&http->lock);
}

void kith_http_tick(struct kith_http *http, uint64_t life_ms)
{
    uint64_t now = now_ms();
    pthread_mutex_lock(&http->lock);
    for (uint32_t i = 0; i < KITH_HTTP_CONNECTIONS; i++) {
        if (http->open[i].connection != NULL && now >= http->open[i].since_ms + life_ms) {
            (void)shutdown(http->open[i].fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&http->lock);
}

static void on_log(void *arg, const char *format, va_list args) KITH_PRINTF(2, 0);
static void on_log(void *arg, const char *format, va_list args)
{
    char line[KITH_ERROR_MESSAGE_SIZE];
    (void)arg;
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    kith_log_debug("metrics", "%s", line);
}

/* ---- Beginning and end ---- */

enum kith_err kith_http_start(const char *listen_at, kith_http_answerer answerer, void *arg,
                              struct kith_http **ret_http,
                              char ret_address[KITH_HTTP_ADDRESS_SIZE], struct kith_error *error)
{
    struct kith_http *http = kith_calloc(1, sizeof *http);
    char address[KITH_HTTP_ADDRESS_SIZE];
    int fd = -1;
    if (http == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    http->answerer = answerer;
    http->arg = arg;
    enum kith_err err = open_socket(listen_at, &fd, &http->loopback, address, error);
    if (err != KITH_OK || pthread_mutex_init(&http->lock, NULL) != 0) {
        if (err == KITH_OK) {
            (void)close(fd);
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
        kith_free(http);
        return err;
    }
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)KITH_HTTP_REQUEST_MAX,
        MHD_OPTION_CONNECTION_LIMIT, KITH_HTTP_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        KITH_HTTP_PER_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT, KITH_HTTP_IDLE_S,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_END);
    if (http->daemon == NULL) {
        (void)close(fd);
        pthread_mutex_destroy(&http->lock);
        kith_free(http);
        return kith_error_set(error, KITH_EIO, "%s: the server does not start", listen_at);
    }
    (void)snprintf(ret_address, KITH_HTTP_ADDRESS_SIZE, "%s", address);
    *ret_http = http;
    return KITH_OK;
}

void kith_http_stop(struct kith_http *http)
{
    if (http != NULL) {
        MHD_stop_daemon(http->daemon);
        pthread_mutex_destroy(&http->lock);
        kith_free(http);
    }
}
