/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any text as what kithctl reads that it has not just written: the plan in the cluster, the list of
 * a mount about versions, the nodes of a local cluster, and a line of the authority's index.
 * Refused, or what says the same when it is written and read again. The first byte says which. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "ctl/certs/ca_dir.h"
#include "ctl/files/beside.h"
#include "ctl/local/local.h"
#include "ctl/plan/plan.h"

static void take_plan(struct kith_bytes text)
{
    struct kith_plan plan, again;
    struct kith_error error;
    struct kith_buf first, second;
    enum kith_err err = kith_plan_decode(text, &plan, &error);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT || err == KITH_EVERSION);
    KITH_ASSERT(plan.count <= KITH_PLAN_CHANGES_MAX && (err == KITH_OK || plan.count == 0));
    if (err != KITH_OK) {
        return;
    }
    kith_buf_init(&first);
    kith_buf_init(&second);
    KITH_ASSERT(kith_plan_encode(&plan, &first) == KITH_OK);
    KITH_ASSERT(kith_plan_decode(kith_buf_bytes(&first), &again, &error) == KITH_OK);
    KITH_ASSERT(again.count == plan.count);
    KITH_ASSERT(kith_plan_encode(&again, &second) == KITH_OK);
    KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&first), kith_buf_bytes(&second)));
    again.count = 0;
    for (uint32_t i = 0; i < plan.count; i++) { /* one after the other: of a node only one stays */
        KITH_ASSERT(kith_plan_add(&again, &plan.changes[i], NULL, &error) == KITH_OK);
        KITH_ASSERT(again.count <= i + 1);
    }
    kith_buf_release(&first);
    kith_buf_release(&second);
}

static void take_beside(struct kith_bytes text)
{
    struct kith_arena arena;
    struct kith_beside_version *versions = NULL;
    uint32_t count = 0;
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_beside_parse(&arena, "/mnt", text, &versions, &count);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT);
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        KITH_ASSERT(versions[i].number == i + 1 && strchr(versions[i].name, '/') == NULL);
        KITH_ASSERT(strncmp(versions[i].path, "/mnt/", 5) == 0);
        KITH_ASSERT(strcmp(versions[i].path + 5, versions[i].name) == 0);
        (void)kith_beside_same(versions[i].name, "base", versions[0].name);
    }
    kith_arena_release(&arena);
}

static void take_local(const char *text)
{
    static struct kith_local local, again;
    struct kith_error error;
    enum kith_err err = kith_local_decode(text, &local, &error);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT);
    KITH_ASSERT(local.count <= KITH_LOCAL_NODES_MAX);
    if (err != KITH_OK) {
        KITH_ASSERT(error.message[0] != '\0');
        return;
    }
    char *written = kith_local_encode(&local);
    KITH_ASSERT(written != NULL && kith_local_decode(written, &again, &error) == KITH_OK);
    KITH_ASSERT(again.count == local.count);
    for (uint32_t i = 0; i < local.count; i++) {
        KITH_ASSERT(again.nodes[i].port == local.nodes[i].port);
        KITH_ASSERT(again.nodes[i].pid == local.nodes[i].pid && local.nodes[i].pid >= 0);
    }
    free(written);
}

/* A line that was taken stays what it is, though times may be written in other ways. */
static void take_line(struct kith_bytes line)
{
    struct kith_cert cert, again;
    struct kith_buf written;
    enum kith_err err = kith_ca_line_parse(line, &cert);
    KITH_ASSERT(err == KITH_OK || err == KITH_EFORMAT);
    if (err != KITH_OK) {
        return;
    }
    KITH_ASSERT(kith_cert_name_fits(cert.grant.name) && cert.serial[0] != '\0');
    KITH_ASSERT(cert.grant.volume_count <= KITH_CERT_VOLUMES_MAX);
    KITH_ASSERT(cert.grant.all_volumes == (cert.grant.volume_count == 0));
    if (cert.not_before_s < 0 || cert.not_after_s < 0) {
        return; /* before 1970 nobody had one */
    }
    kith_buf_init(&written);
    kith_ca_line(&cert, &written);
    KITH_ASSERT(!written.failed && written.data[written.size - 1] == '\n');
    KITH_ASSERT(kith_ca_line_parse(kith_bytes_make(written.data, written.size - 1), &again) ==
                KITH_OK);
    KITH_ASSERT(strcmp(again.serial, cert.serial) == 0);
    KITH_ASSERT(again.not_after_s == cert.not_after_s && again.not_before_s == cert.not_before_s);
    KITH_ASSERT(again.grant.role == cert.grant.role);
    KITH_ASSERT(again.grant.read_only == cert.grant.read_only);
    KITH_ASSERT(again.grant.volume_count == cert.grant.volume_count);
    KITH_ASSERT(memcmp(again.grant.volumes, cert.grant.volumes, sizeof cert.grant.volumes) == 0);
    kith_buf_release(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct kith_bytes text = kith_bytes_make(data + 1, size - 1);
    if (data[0] == 'p') {
        take_plan(text);
    } else if (data[0] == 'b') {
        take_beside(text);
    } else if (data[0] == 'c') {
        take_line(text);
    } else {
        char *copy = kith_malloc(size);
        KITH_ASSERT(copy != NULL);
        memcpy(copy, data + 1, size - 1);
        copy[size - 1] = '\0';
        take_local(copy);
        kith_free(copy);
    }
    return 0;
}
