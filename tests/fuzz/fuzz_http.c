/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes from a browser, or from who is none, to a node's page: over a real connection, to the
 * end of it. The answers are whole HTTP, they are not cut short, and what is asked for begins with
 * a slash. The page is never given to a request whose host is a name of the web. */
#include "fuzz.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/assert.h"
#include "metrics/http.h"

#define PAGE       "the page"
#define ANSWER_MAX 65536u
#define ENOUGH_MS  20

const uint32_t kith_fuzz_mutations = 300; /* each is a connection, and may wait for ENOUGH_MS */

static struct kith_http *http;
static struct sockaddr_in address;
static atomic_uint asked;

static void answer_it(void *arg, const char *path, struct kith_http_answer *answer)
{
    (void)arg;
    KITH_ASSERT(path[0] == '/' && strlen(path) < KITH_HTTP_REQUEST_MAX);
    atomic_fetch_add(&asked, 1u);
    kith_buf_put(&answer->body, PAGE, strlen(PAGE));
}

static void stop(void)
{
    kith_http_stop(http);
}

static void start(void)
{
    char where[KITH_HTTP_ADDRESS_SIZE];
    KITH_ASSERT(kith_http_start("127.0.0.1:0", answer_it, NULL, &http, where, NULL) == KITH_OK);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(strrchr(where, ':') + 1));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    KITH_ASSERT(atexit(stop) == 0);
}

/* All that comes back. *ret_whole: not cut short by us, as one who says only half of what he has to
 * say is waited for (KITH_HTTP_IDLE_S). */
static size_t ask(const uint8_t *data, size_t size, char *answer, bool *ret_whole)
{
    const struct linger abrupt = {1, 0};     /* no port waits: there are many of these */
    const struct timeval patience = {30, 0}; /* longer than any may be silent: nothing hangs */
    size_t got = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    KITH_ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    KITH_ASSERT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    KITH_ASSERT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt) == 0);
    for (size_t at = 0; at < size;) {
        ssize_t sent = send(fd, data + at, size - at, MSG_NOSIGNAL);
        if (sent <= 0) {
            break; /* refused in the middle: fine */
        }
        at += (size_t)sent;
    }
    struct pollfd answered = {fd, POLLIN, 0};
    *ret_whole = poll(&answered, 1, ENOUGH_MS) > 0;
    if (!*ret_whole) {
        kith_http_tick(http, 0);
    }
    ssize_t more = 1;
    while (more > 0 && got < ANSWER_MAX) {
        more = recv(fd, answer + got, ANSWER_MAX - got, 0);
        got += more > 0 ? (size_t)more : 0;
    }
    (void)close(fd);
    return got;
}

/* A request as a browser sends it whom a page of the web has led here. */
static bool is_evil(const uint8_t *data, size_t size)
{
    static const char head[] = " HTTP/1.1\r\nHost: evil.example\r\n";
    const uint8_t *line = memchr(data, '\r', size);
    size_t before = sizeof " HTTP/1.1" - 1;
    return line != NULL && (size_t)(line - data) > before &&
           size - (size_t)(line - data) + before >= sizeof head - 1 &&
           memcmp(line - before, head, sizeof head - 1) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[ANSWER_MAX + 1];
    if (http == NULL) {
        start();
    }
    unsigned before = atomic_load(&asked);
    bool whole = false;
    size_t got = ask(data, size, answer, &whole);
    answer[got] = '\0';
    KITH_ASSERT(got < ANSWER_MAX);
    if (got == 0 || !whole) {
        return 0; /* closed without a word: it was no request */
    }
    KITH_ASSERT(strncmp(answer, "HTTP/1.", 7) == 0);
    KITH_ASSERT(strstr(answer, "\r\n\r\n") != NULL);
    if (strncmp(answer + 8, " 200 ", 5) == 0) {
        KITH_ASSERT(atomic_load(&asked) == before + 1);
        KITH_ASSERT(strstr(answer, "X-Frame-Options: DENY\r\n") != NULL);
        KITH_ASSERT(!is_evil(data, size));
    }
    return 0;
}
