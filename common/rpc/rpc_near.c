/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Peers on the same machine. A listener that says by which address processes of its machine ask for
 * it (kith_rpc_options.near) listens on a local socket, too; its abstract name (unix(7)) holds that
 * address. It costs the kernel less than TCP on the loopback (a get a sixth less of all CPU, a put
 * alone an eighth less of its time: tests/bench/README.md), and to gRPC it is a target like
 * another. The name belongs to the network namespace, and ends with the process.
 *
 * Who connects is told nothing: he looks whether anybody listens by the name of the address. It
 * proves no more than the port does, for any process can take either; who a peer is must be proved
 * within the connection. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/rpc_impl.h"

#define NAME_PREFIX "kithfs/"

/* Of the name's characters only those that need no quotes in a URI, which gRPC's targets are, and a
 * listener's are not. */
static char plain(char c)
{
    bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == ':' || c == '-';
    return (char)(is_plain ? c : '_');
}

bool rpc_near_name(const char *address, struct sockaddr_un *name, socklen_t *ret_size)
{
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    char *text = name->sun_path + 1; /* the 0 before it makes it abstract */
    size_t room = sizeof name->sun_path - 1, prefix = strlen(NAME_PREFIX), size = strlen(address);
    if (prefix + size >= room) {
        return false;
    }
    memcpy(text, NAME_PREFIX, prefix);
    for (size_t i = 0; i < size; i++) {
        text[prefix + i] = plain(address[i]);
    }
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + prefix + size);
    return true;
}

bool rpc_near_target(const char *address, char *target, size_t size)
{
    struct sockaddr_un name;
    socklen_t name_size;
    if (!rpc_near_name(address, &name, &name_size)) {
        return false;
    }
    int written = snprintf(target, size, "unix-abstract:%s", name.sun_path + 1);
    return written > 0 && (size_t)written < size;
}

bool rpc_near_listens(const char *address)
{
    struct sockaddr_un name;
    socklen_t size;
    if (!rpc_near_name(address, &name, &size)) {
        return false;
    }
    /* It would wait where the listener accepts nobody (EAGAIN): TCP has a time limit for that. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool listens = fd >= 0 && connect(fd, (const struct sockaddr *)&name, size) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return listens;
}
