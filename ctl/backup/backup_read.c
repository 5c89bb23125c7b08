/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_read.h"

#include <string.h>

#define TABLES_MAX 4u /* that are learnt while one partition is read */

static enum kith_err view_read(struct kith_backup_reader *reader, struct kith_error *error)
{
    kith_arena_reset(&reader->arena);
    return kith_client_view(reader->client, &reader->arena, &reader->view) == KITH_OK
               ? KITH_OK
               : kith_error_set(error, KITH_ENOMEM, "out of memory");
}

enum kith_err kith_backup_reader_init(struct kith_backup_reader *reader,
                                      struct kith_client *client, struct kith_backup_limit *limit,
                                      uint32_t timeout_ms, struct kith_error *error)
{
    memset(reader, 0, sizeof *reader);
    kith_arena_init(&reader->arena, 0);
    reader->client = client;
    reader->limit = limit;
    reader->timeout_ms = timeout_ms;
    reader->table = kith_client_table(client);
    enum kith_err err = reader->table ? view_read(reader, error)
                                      : kith_error_set(error, KITH_ENOTREADY, "no table is known");
    return err == KITH_OK ? kith_backup_asker_new(&reader->asker, error) : err;
}

void kith_backup_reader_release(struct kith_backup_reader *reader)
{
    kith_msg_box_drop(reader->box);
    kith_backup_asker_free(reader->asker);
    if (reader->table) {
        kith_table_drop(reader->table);
    }
    kith_arena_release(&reader->arena);
}

/* A node has a newer table. */
static void table_learn(struct kith_backup_reader *reader, struct kith_bytes bytes)
{
    struct kith_table *table = NULL;
    if (kith_table_decode(bytes, &table) != KITH_OK) {
        return;
    }
    if (kith_uuid_equal(&table->cluster, &reader->table->cluster) &&
        table->partitions == reader->table->partitions &&
        kith_table_id_compare(&table->id, &reader->table->id) > 0) {
        struct kith_table *before = reader->table;
        reader->table = table;
        reader->stale = true;
        table = before;
    }
    kith_table_drop(table);
}

static uint64_t size_of(const struct kith_leaf_res *res)
{
    uint64_t size = (res->hash_count + res->sum_count) * (uint64_t)sizeof(struct kith_checksum);
    for (uint32_t i = 0; i < res->row_count; i++) {
        size += sizeof(struct kith_group) + res->rows[i].name.size + res->rows[i].state.size;
    }
    return size;
}

static enum kith_err ask(void *arg, struct kith_leaf_req *req, struct kith_leaf_res *ret_res,
                         struct kith_error *error)
{
    struct kith_backup_reader *reader = arg;
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_LEAF_REQ;
    msg.u.leaf_req = *req;
    msg.u.leaf_req.table = reader->table->id;
    msg.u.leaf_req.partition = reader->partition;
    kith_msg_box_drop(reader->box);
    reader->box = NULL;
    enum kith_err err = kith_backup_ask(reader->asker, reader->address, &msg, reader->timeout_ms,
                                        &reader->box, error);
    if (err != KITH_OK) {
        return err;
    }
    const struct kith_msg *answer = &reader->box->msg;
    bool fits = answer->kind == KITH_MSG_LEAF_RES;
    const struct kith_status *status =
        fits ? &answer->u.leaf_res.status : &answer->u.admin_res.status;
    if (fits && status->err == KITH_ESTALE) {
        table_learn(reader, answer->u.leaf_res.table);
    }
    if (!fits && answer->kind != KITH_MSG_ADMIN_RES) {
        return kith_error_set(error, KITH_EFORMAT, "%s: an answer of the wrong kind (%s)",
                              reader->address, kith_msg_kind_name(answer->kind));
    }
    if (!fits || status->err != KITH_OK) {
        return kith_error_set(error, status->err != KITH_OK ? status->err : KITH_EFORMAT, "%s: %s",
                              reader->address, status->message ? status->message : "");
    }
    *ret_res = answer->u.leaf_res;
    uint64_t size = size_of(ret_res);
    reader->bytes += size;
    kith_backup_limit_wait(reader->limit, size);
    return KITH_OK;
}

static const char *address_of(const struct kith_backup_reader *reader, uint16_t member)
{
    const struct kith_uuid *uuid = &reader->table->members[member].uuid;
    for (uint32_t i = 0; i < reader->view.node_count; i++) {
        if (kith_uuid_equal(&reader->view.nodes[i].uuid, uuid)) {
            return reader->view.nodes[i].address;
        }
    }
    return "";
}

static enum kith_err take_owner(struct kith_backup_reader *reader, struct kith_backup_state *state,
                                uint16_t member, struct kith_backup_took *took,
                                struct kith_error *error)
{
    bool settled = false;
    reader->address = address_of(reader, member);
    const struct kith_backup_owner owner = {reader->address, reader, ask};
    if (*reader->address == '\0') {
        (void)kith_error_set(&took->error, KITH_EUNREACH, "an owner's address is not known yet");
        return KITH_OK;
    }
    enum kith_err err = kith_backup_state_take(state, &owner, &settled, &took->error);
    if (err == KITH_OK) {
        took->answered++;
        took->settled += settled ? 1 : 0;
        if (!settled) {
            (void)strncpy(took->restless, reader->address, sizeof took->restless - 1);
        }
    } else if (err == KITH_EPERM || err == KITH_ENOMEM) {
        *error = took->error; /* it is not this node alone */
        if (err == KITH_EPERM) {
            (void)kith_error_set(error, err, "%.400s: a backup needs an administrator's",
                                 took->error.message);
        }
        return err;
    }
    return KITH_OK;
}

enum kith_err kith_backup_read(struct kith_backup_reader *reader, struct kith_backup_state *state,
                               struct kith_backup_took *ret_took, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    reader->partition = state->partition;
    reader->stale = true;
    for (uint32_t tries = 0; err == KITH_OK && reader->stale && tries < TABLES_MAX; tries++) {
        reader->stale = false;
        err = view_read(reader, error);
        kith_backup_state_begin(state);
        memset(ret_took, 0, sizeof *ret_took);
        const uint16_t *owners = kith_table_owners(reader->table, state->partition);
        ret_took->owners = reader->table->owner_slots;
        /* N - W + 1, W being a majority: one of them at least has each write that was acknowledged */
        ret_took->need = ret_took->owners - (ret_took->owners / 2 + 1) + 1;
        for (uint32_t i = 0; err == KITH_OK && i < ret_took->owners && !reader->stale; i++) {
            err = take_owner(reader, state, owners[i], ret_took, error);
        }
    }
    return err;
}
