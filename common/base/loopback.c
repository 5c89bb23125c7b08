/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/loopback.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_SIZE 256u

static bool is_loopback(const struct addrinfo *at)
{
    if (at->ai_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, at->ai_addr, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (at->ai_family != AF_INET6) {
        return false;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, at->ai_addr, sizeof in6);
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

enum kith_err kith_loopback_only(const char *address, bool *ret_only, struct kith_error *error)
{
    char host[HOST_SIZE];
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t)(colon - address) : 0;
    bool bracketed = size > 2 && address[0] == '[' && address[size - 1] == ']';
    if (size == 0 || size >= sizeof host) {
        return kith_error_set(error, KITH_EINVAL, "'%.200s' is no address: host:port is wanted",
                              address);
    }
    (void)snprintf(host, sizeof host, "%.*s", (int)(bracketed ? size - 2 : size),
                   address + (bracketed ? 1 : 0));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    if (strcmp(host, "localhost") != 0) {
        hints.ai_flags |= AI_NUMERICHOST;
    }
    struct addrinfo *list;
    int failed = getaddrinfo(host, NULL, &hints, &list);
    if (failed != 0) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s: %s; give the address as a number, as 127.0.0.1:7070 or [::1]:7070",
                              address, gai_strerror(failed));
    }
    *ret_only = true;
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        *ret_only = *ret_only && is_loopback(at);
    }
    freeaddrinfo(list);
    return KITH_OK;
}
