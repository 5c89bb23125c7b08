/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ask/door.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ask/own_cert.h"

/* Where every server refuses connections nobody is there: a node that is being started again is
 * back within that, or takes longer than a person wants to wait without being told. */
#define TURNED_DOWN_MS 1000u

static void writer_name(char *out, size_t size)
{
    char host[64] = "localhost";
    struct passwd entry;
    struct passwd *found = NULL;
    char memory[4096];
    (void)gethostname(host, sizeof(host) - 1);
    (void)getpwuid_r(geteuid(), &entry, memory, sizeof(memory), &found);
    if (found) {
        (void)snprintf(out, size, "%s@%s", found->pw_name, host);
    } else {
        (void)snprintf(out, size, "%u@%s", (unsigned)geteuid(), host);
    }
}

enum kith_err kith_door_open(const struct kith_ctl_args *args, const char *level,
                             struct kith_door *ret_door, struct kith_error *error)
{
    ret_door->deadline_ms = kith_mono_ms() + args->timeout_ms;
    const char *servers[KITH_CTL_SERVERS_MAX];
    char writer[256]; /* the client cuts it to KITH_WRITER_MAX */
    struct kith_client_options options;
    memset(&options, 0, sizeof(options));
    for (uint32_t i = 0; i < args->server_count; i++) {
        servers[i] = args->servers[i];
    }
    writer_name(writer, sizeof(writer));
    options.server_count = args->server_count;
    options.servers = servers;
    options.connect_timeout_ms = (uint32_t)args->timeout_ms;
    options.turned_down_ms = TURNED_DOWN_MS;
    options.op_timeout_ms = (uint32_t)args->timeout_ms;
    options.writer = writer;
    if (level && kith_level_parse(level, &options.read_level) != KITH_OK) {
        return kith_error_set(error, KITH_EINVAL,
                              "--level is one, quorum, local-quorum, each-quorum or all, not '%s'",
                              level);
    }
    options.write_level = options.read_level;
    struct kith_identity_found identity;
    enum kith_err err = kith_ctl_identity(&identity, &options.tls, error);
    if (err != KITH_OK) {
        return err;
    }
    err = kith_client_open(&options, &ret_door->client, error);
    if (err == KITH_EUNREACH) {
        struct kith_error told = *error;
        const char *remedy = kith_ctl_nobody(told.message);
        size_t room = sizeof(told.message) - strlen(remedy) - sizeof("; ");
        bool cut = strlen(told.message) > room; /* many servers, each with its reason */
        (void)kith_error_set(error, err, "%.*s%s; %s", (int)(cut ? room - 4 : room),
                             told.message, cut ? "...)" : "", remedy);
    }
    return err;
}

uint32_t kith_door_left_ms(const struct kith_door *door)
{
    uint64_t now_ms = kith_mono_ms();
    return now_ms < door->deadline_ms ? (uint32_t)(door->deadline_ms - now_ms) : 1;
}

enum kith_err kith_door_call(struct kith_client *client, const struct kith_client_op *op,
                             struct kith_client_answer *answer, struct kith_error *error)
{
    enum kith_err err = kith_client_call(client, op, answer);
    if (err != KITH_OK) {
        const char *message = answer->result.message;
        return kith_error_set(error, err, "%s",
                              message && *message ? message : kith_err_text((int)err));
    }
    return KITH_OK;
}
