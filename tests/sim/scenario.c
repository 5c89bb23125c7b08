/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * scenario.c - what clients do, and what each answer must be.
 *
 * Judged here, at the moment of an answer: a write that is acknowledged is in W stores at its
 * durability (invariant 1); a request ends once, by its deadline (8); a chunk that is there has the
 * right bytes, one that is synced is on W disks. What a client may expect after what it has read and
 * written is sessions.c's, what it may believe without asking watches.c's; the rest is the oracle's,
 * at the end. */
#include <string.h>

#include "sim.h"

#define OPS_MAX    8192u
#define TIMEOUT_MS 3000u
#define EQUAL_AMONG 12u /* of the last writes one is written again */
#define SLACK_US   300000u /* between a deadline and the end that must come by then */

static struct sim_op records[OPS_MAX];
static uint32_t record_count;

void scenario_begin(void)
{
    record_count = 0;
}

void scenario_end(void)
{
    for (uint32_t i = 0; i < record_count; i++) {
        for (uint32_t r = 0; r < SIM_NAMES; r++) {
            sim_bytes_clear(&records[i].seen[r]);
            sim_bytes_clear(&records[i].gone[r]);
        }
    }
    record_count = 0;
}

bool scenario_full(void)
{
    return record_count >= OPS_MAX / 2;
}

/* ---- answers ---- */

static uint32_t copies_needed(const struct sim *sim)
{
    return sim->newest->owner_slots / 2 + 1;
}

/* Copies that may have been lost since the request began. */
static uint64_t copies_lost(const struct sim *sim, const struct sim_op *record, bool disk)
{
    return disk ? sim->disk_losses - record->disk_losses : sim->power_losses - record->power_losses;
}

/* A write that is acknowledged is in W stores, as a row or as custody; or it is on the disk of as
 * many as were told, and one of those has noted that there are too few. */
static void check_copies(struct sim *sim, const struct sim_op *record, uint32_t i, uint32_t told)
{
    struct oracle_write *write = &sim->oracle.writes[record->writes[i]];
    struct kith_key key;
    bool thin = told < copies_needed(sim);
    bool disk = record->disk || thin;
    bool noted = false;
    sim_key(record->rows[i], &key);
    uint32_t copies = judge_row_copies(sim, &key, &write->dot, disk);
    for (uint32_t n = 0; n < sim->node_count; n++) {
        noted = noted || store_hints_noted(&sim->nodes[n].store, &key);
    }
    uint64_t lost = copies_lost(sim, record, disk);
    write->disk = disk;
    write->copies = thin ? told : copies_needed(sim);
    if (copies + lost < write->copies || copies + lost == 0) {
        sim_fail(sim, "invariant 1: write %llu is acknowledged with %u copies",
                 (unsigned long long)write->number, copies);
    } else if (thin && !noted && copies + lost < copies_needed(sim)) {
        sim_fail(sim, "write %llu has %u copies, and nobody has noted that",
                 (unsigned long long)write->number, copies);
    }
    sim->thin_acks += thin ? 1 : 0;
}

static void put_done(struct sim *sim, uint32_t client, struct sim_op *record,
                     const struct kith_client_result *result)
{
    for (uint32_t i = 0; i < record->row_count; i++) {
        struct oracle_write *write = &sim->oracle.writes[record->writes[i]];
        struct kith_arena arena;
        struct kith_row row;
        switch (result->err) {
        case KITH_OK:
            write->state = WRITE_OK;
            write->dot = result->u.put.results[i].dot;
            if (result->u.put.owners >= copies_needed(sim)) { /* else no owner may have it to tell */
                watches_acked(sim, record->writes[i]);
            }
            sim->custody_acks += i == 0 && result->u.put.owners < copies_needed(sim) ? 1 : 0;
            sim_bytes_set(&sim->clients[client].context[record->rows[i]],
                          result->u.put.results[i].context);
            kith_arena_init(&arena, 0);
            if (kith_row_decode(&arena, result->u.put.results[i].context, &row) != KITH_OK) {
                sim_fail(sim, "the context of write %llu does not decode",
                         (unsigned long long)write->number);
            } else if (!kith_clock_covers(&row.clock, &write->dot)) {
                sim_fail(sim, "who goes on from write %llu would make a sibling of it",
                         (unsigned long long)write->number);
            } else if (record->power_losses == sim->power_losses) {
                sessions_join(sim, client, record->rows[i], &row.clock,
                              write->is_delete && kith_row_is_gone(&row));
            } else if (write->is_delete && kith_row_is_gone(&row)) {
                sessions_gone(sim, client, record->rows[i], &row.clock);
            }
            kith_arena_release(&arena);
            check_copies(sim, record, i, result->u.put.copies);
            if ((sim->strict >> client & 1u) != 0 &&
                result->u.put.owners < copies_needed(sim)) {
                sim_fail(sim, "a strict write is acknowledged with %u owners",
                         result->u.put.owners);
            }
            break;
        case KITH_EREFUSED:
        case KITH_ELIMIT:
        case KITH_ETOOBIG:
        case KITH_ENOSPC:
        case KITH_EUNREACH:
        case KITH_EINVAL:
            write->state = WRITE_REFUSED;
            break;
        default:
            write->state = WRITE_UNKNOWN;
            sim->ops_unknown += i == 0 ? 1 : 0;
        }
    }
}

static void get_done(struct sim *sim, uint32_t client, struct sim_op *record,
                     const struct kith_client_result *result)
{
    for (uint32_t i = 0; i < result->u.rows.row_count && result->err == KITH_OK; i++) {
        struct kith_buf buf;
        struct kith_row row = result->u.rows.rows[i].row;
        sessions_read(sim, record, i, &row);
        if (!result->degraded && sim->clients[client].read_level == KITH_LEVEL_QUORUM) {
            judge_read(sim, client, record->rows[i], record->begun_us, &row.clock);
            judge_reaped(sim, client, record->rows[i], &row);
            watches_read(sim, client, record->rows[i], &record->readings[i], &row.clock);
        }
        if (record->power_losses == sim->power_losses) {
            sessions_join(sim, client, record->rows[i], &row.clock,
                          row.clock.count == 0 || kith_row_is_gone(&row));
        } else if (kith_row_is_gone(&row)) {
            sessions_gone(sim, client, record->rows[i], &row.clock);
        }
        kith_buf_init(&buf);
        if (sim_chance(sim, 800)) {
            row.sibling_count = 0; /* replaces all it has read; else it keeps them */
        }
        if (row.clock.count > 0) {
            kith_row_encode(&row, &buf);
        }
        sim_bytes_set(&sim->clients[client].context[record->rows[i]], kith_buf_bytes(&buf));
        kith_buf_release(&buf);
    }
}

static void scan_done(struct sim *sim, uint32_t client, struct sim_op *record,
                      const struct kith_client_result *result)
{
    uint32_t at = 0;
    bool quorum = sim->clients[client].read_level == KITH_LEVEL_QUORUM;
    if (result->err != KITH_OK) {
        return;
    }
    for (uint32_t i = record->has_after ? 1 : 0; i < SIM_NAMES; i++) {
        struct kith_key key;
        sim_key(record->rows[i], &key);
        if (result->u.rows.more && kith_bytes_compare(key.name, result->u.rows.last) > 0) {
            break;
        }
        bool there = at < result->u.rows.row_count &&
                     kith_bytes_equal(result->u.rows.rows[at].name, key.name);
        if (there) {
            const struct kith_clock *clock = &result->u.rows.rows[at].row.clock;
            sessions_read(sim, record, i, &result->u.rows.rows[at].row);
            if (!result->degraded && quorum) {
                judge_read(sim, client, record->rows[i], record->begun_us, clock);
                judge_reaped(sim, client, record->rows[i], &result->u.rows.rows[at].row);
                watches_read(sim, client, record->rows[i], &record->readings[i], clock);
            }
            if (record->power_losses == sim->power_losses) {
                sessions_join(sim, client, record->rows[i], clock,
                              kith_row_is_gone(&result->u.rows.rows[at].row));
            }
            at++;
        } else {
            sessions_left_out(sim, record, i);
            if (!result->degraded && quorum) {
                judge_absent(sim, client, record->rows[i], record->begun_us);
            }
            sessions_absent(sim, record, i);
        }
    }
    if (at != result->u.rows.row_count) {
        sim_fail(sim, "a scan gives rows out of order, or that are not of its group");
    }
}

static void chunk_bytes(uint64_t number, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(number * 31 + i);
    }
}

static size_t chunk_size(uint64_t number)
{
    return 1 + number % 61;
}

/* It is in W stores, or on the disk of as many as were told. */
static void check_chunk_copies(struct sim *sim, const struct sim_op *record, uint32_t index,
                               bool disk, uint32_t told)
{
    const struct oracle_chunk *chunk = &sim->oracle.chunks[index];
    uint32_t needed = copies_needed(sim);
    disk = disk || told < needed;
    needed = told < needed ? told : needed;
    uint32_t copies = judge_chunk_copies(sim, &chunk->id, disk, true);
    uint64_t lost = copies_lost(sim, record, disk);
    bool swept = sim->sweeps && record->kind == KITH_CLIENT_CHUNK_SYNC; /* some may be already */
    if (!swept && (copies + lost < needed || copies + lost == 0)) {
        sim_fail(sim, "invariant 1: chunk %llu is acknowledged%s with %u copies",
                 (unsigned long long)chunk->number, disk ? " as durable" : "", copies);
    }
}

static void chunk_done(struct sim *sim, struct sim_op *record,
                       const struct kith_client_result *result)
{
    struct oracle_chunk *chunk = &sim->oracle.chunks[record->chunks[0]];
    if (record->kind == KITH_CLIENT_CHUNK_PUT) {
        chunk->state = result->err == KITH_OK && !chunk->shaken ? WRITE_OK : WRITE_UNKNOWN;
        if (result->err == KITH_OK) {
            check_chunk_copies(sim, record, record->chunks[0], record->disk,
                               result->u.put.copies);
        }
    } else if (record->kind == KITH_CLIENT_CHUNK_GET) {
        uint8_t bytes[64];
        size_t size = chunk_size(chunk->number);
        chunk_bytes(chunk->number, bytes, size);
        if (result->err == KITH_OK && (result->u.chunk.payload->size != size ||
                                       memcmp(result->u.chunk.payload->data, bytes, size) != 0)) {
            sim_fail(sim, "chunk %llu is read with other bytes", (unsigned long long)chunk->number);
        }
        bool stands = chunk->state == WRITE_OK; /* power may have gone since it was asked for */
        bool strict = record->must_ok || !(sim->sweeps || plans_stray(sim, &chunk->id));
        if (stands && strict &&
            (result->err == KITH_ENOTFOUND || result->err == KITH_ECORRUPT)) {
            sim_fail(sim, "invariant 1: acknowledged chunk %llu is not found",
                     (unsigned long long)chunk->number);
        }
    } else if (result->err == KITH_OK) {
        uint32_t m = 0;
        for (uint32_t i = 0; i < record->chunk_count; i++) {
            if (m < result->u.chunk_sync.missing_count &&
                memcmp(&result->u.chunk_sync.missing[m], &sim->oracle.chunks[record->chunks[i]].id,
                       sizeof chunk->id) == 0) {
                m++;
            } else {
                check_chunk_copies(sim, record, record->chunks[i], true,
                                   result->u.chunk_sync.copies);
                sim->oracle.chunks[record->chunks[i]].disk = true;
            }
        }
        if (m != result->u.chunk_sync.missing_count) {
            sim_fail(sim, "a sync misses chunks that it was not asked for, or out of order");
        }
    }
}

void scenario_done(struct sim *sim, uint32_t client, uint64_t tag, enum kith_client_kind kind,
                   const struct kith_client_result *result)
{
    struct sim_op *record = &records[tag];
    sim_trace(sim, "client %u: op %llu ends: %d %s", client, (unsigned long long)tag,
              (int)result->err, result->message ? result->message : "");
    if (!record->out) {
        sim_fail(sim, "invariant 8: op %llu ends twice", (unsigned long long)tag);
        return;
    }
    record->out = false;
    uint64_t thaws_us = sim->frozen_until_us[SIM_NODES_MAX + client];
    uint64_t by_us = record->deadline_us > thaws_us ? record->deadline_us : thaws_us;
    if (sim->now_us > by_us + SLACK_US) {
        sim_fail(sim, "invariant 8: op %llu ends %llu us late", (unsigned long long)tag,
                 (unsigned long long)(sim->now_us - record->deadline_us));
    }
    if (record->must_ok && result->err != KITH_OK && result->err != KITH_EIO) {
        sim_fail(sim, "all is well, and op %llu ends in %s: %s", (unsigned long long)tag,
                 kith_err_text((int)result->err), result->message ? result->message : "");
    }
    if (record->by_us > 0 && sim->now_us > record->by_us) {
        sim_fail(sim, "op %llu took %llu ms, though nothing was amiss where it was asked for",
                 (unsigned long long)tag,
                 (unsigned long long)((sim->now_us - record->begun_us) / 1000));
    }
    sim->clients[record->owner].under_way--;
    sim->ops_done++;
    if (result->degraded) {
        sim_trace(sim, "op %llu is degraded", (unsigned long long)tag);
    }
    sim->ops_ok += result->err == KITH_OK ? 1 : 0;
    sim->degraded += result->err == KITH_OK && result->degraded ? 1 : 0;
    switch (kind) {
    case KITH_CLIENT_PUT:
        put_done(sim, record->owner, record, result);
        return;
    case KITH_CLIENT_GET:
    case KITH_CLIENT_SCAN:
        sessions_shaken(sim, record);
        if (result->err == KITH_EIO) {
            sessions_lost(sim, record);
        } else if (kind == KITH_CLIENT_GET) {
            get_done(sim, record->owner, record, result);
        } else {
            scan_done(sim, record->owner, record, result);
        }
        return;
    default:
        chunk_done(sim, record, result);
    }
}

/* ---- requests ---- */

static struct sim_op *record_new(struct sim *sim, uint32_t client, enum kith_client_kind kind)
{
    KITH_ASSERT(record_count < OPS_MAX);
    struct sim_op *record = &records[record_count];
    record_count++;
    memset(record, 0, sizeof *record);
    record->out = true;
    record->kind = kind;
    record->owner = client;
    record->power_losses = sim->power_losses;
    record->disk_losses = sim->disk_losses;
    record->begun_us = sim->now_us;
    record->deadline_us = sim->now_us + TIMEOUT_MS * 1000u;
    sim->clients[client].under_way++;
    return record;
}

static struct sim_op *submit_get(struct sim *sim, uint32_t client, uint32_t row,
                                    enum kith_level level)
{
    struct sim_op *record = record_new(sim, client, KITH_CLIENT_GET);
    uint64_t tag = record_count - 1;
    struct kith_bytes names[SIM_NAMES];
    struct kith_key key;
    record->row_count = level == KITH_LEVEL_QUORUM ? 1 + sim_below(sim, 3) : 1;
    for (uint32_t i = 0; i < record->row_count; i++) {
        uint32_t each = row / SIM_NAMES * SIM_NAMES + (row + i) % SIM_NAMES;
        sim_key(each, &key);
        names[i] = key.name;
        sessions_note(sim, record, i, each);
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .timeout_ms = TIMEOUT_MS, .level = level};
    op.u.get.group = key.group;
    op.u.get.name_count = record->row_count;
    op.u.get.names = names;
    sim_trace(sim, "client %u: op %llu gets %u rows from row %u, level %d", client,
              (unsigned long long)tag, record->row_count, row, (int)level);
    bool other = sim->mutant == MUTANT_NO_SESSION && level == KITH_LEVEL_QUORUM;
    op.level = other || sim->mutant == MUTANT_READ_ONE ? KITH_LEVEL_ONE : level;
    world_client_op(sim, other ? sim->client_count - 1 : client, &op, tag);
    return record;
}

static struct sim_op *submit_scan(struct sim *sim, uint32_t client, uint32_t group)
{
    struct sim_op *record = record_new(sim, client, KITH_CLIENT_SCAN);
    uint64_t tag = record_count - 1;
    struct kith_key key;
    record->row_count = SIM_NAMES;
    record->has_after = sim_chance(sim, 300);
    for (uint32_t i = 0; i < SIM_NAMES; i++) {
        sessions_note(sim, record, i, group * SIM_NAMES + i);
    }
    sim_key(group * SIM_NAMES, &key);
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .timeout_ms = TIMEOUT_MS};
    op.u.scan.group = key.group;
    op.u.scan.has_after = record->has_after;
    op.u.scan.after = key.name;             /* the first row's, which is empty */
    op.u.scan.max_rows = sim_below(sim, 4); /* 0: all */
    sim_trace(sim, "client %u: op %llu scans group %u%s, %u rows", client, (unsigned long long)tag,
              group, record->has_after ? " from its second row" : "", op.u.scan.max_rows);
    world_client_op(sim, client, &op, tag);
    return record;
}

/* A late write of somebody else to the same row, whose value is written once more: siblings that
 * look equal are two all the same. NULL: none. */
static struct oracle_write *equal_write(struct sim *sim, uint32_t client, uint32_t row)
{
    struct oracle *oracle = &sim->oracle;
    uint32_t end = oracle->count > EQUAL_AMONG ? oracle->count - EQUAL_AMONG : 0;
    for (uint32_t i = oracle->count; i > end; i--) {
        struct oracle_write *write = &oracle->writes[i - 1];
        if (write->row == row && write->client != client && !write->is_delete) {
            return write;
        }
    }
    return NULL;
}

static void put_update(struct sim *sim, struct sim_op *record, uint32_t i, uint32_t row,
                       uint64_t *number, struct kith_chunk_id refs[SWEEPS_REFS_MAX],
                       struct kith_put_update *update)
{
    struct sim_client *client = &sim->clients[record->owner];
    struct kith_key key;
    bool deletes = sweeps_deletes(sim, row);
    bool is_delete = sim_chance(sim, 200) || deletes;
    bool blind = sim_chance(sim, 200) && !deletes;
    sim_key(row, &key);
    sim->write_number++;
    *number = sim->write_number;
    struct oracle_write *equal =
        sim_chance(sim, 100) ? equal_write(sim, record->owner, row) : NULL;
    if (equal) {
        *number = equal->number;
        equal->shared = true;
    }
    record->rows[i] = row;
    update->name = key.name;
    if (!blind && client->context[row].data) {
        update->context = kith_bytes_make(client->context[row].data, client->context[row].size);
    }
    update->has_sibling = !is_delete;
    update->value = kith_bytes_make(number, is_delete ? 0 : sizeof *number);
    sweeps_row(sim, update, refs);
    struct oracle_write *write = oracle_begin(sim, row, *number, is_delete, update->context);
    write->client = record->owner;
    write->shared = equal != NULL;
    record->writes[i] = sim->oracle.count - 1;
}

static struct sim_op *submit_put(struct sim *sim, uint32_t client, uint32_t row)
{
    struct sim_op *record = record_new(sim, client, KITH_CLIENT_PUT);
    uint64_t tag = record_count - 1;
    struct kith_put_update updates[SIM_NAMES];
    uint64_t numbers[SIM_NAMES];
    struct kith_chunk_id refs[SIM_NAMES][SWEEPS_REFS_MAX];
    memset(updates, 0, sizeof updates);
    record->row_count = 1;
    if (sim_chance(sim, 300)) {
        record->row_count += 1 + sim_below(sim, SIM_NAMES - 1);
    }
    struct kith_key key;
    record->row_count = sim->sweeps ? 1 + record->row_count / 4 : record->row_count;
    sim_key(row, &key);
    for (uint32_t i = 0; i < record->row_count; i++) {
        uint32_t each = row / SIM_NAMES * SIM_NAMES + (row + i) % SIM_NAMES;
        put_update(sim, record, i, each, &numbers[i], refs[i], &updates[i]);
    }
    sim_trace(sim, "client %u: op %llu puts %u rows from row %u, write %llu on", client,
              (unsigned long long)tag, record->row_count, record->rows[0],
              (unsigned long long)numbers[0]);
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = TIMEOUT_MS};
    record->disk = sim_chance(sim, 250);
    op.u.put.group = key.group;
    for (uint32_t i = 0; i < record->row_count; i++) {
        sim->oracle.writes[record->writes[i]].disk = record->disk;
    }
    op.u.put.durability = record->disk ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    op.u.put.update_count = record->row_count;
    op.u.put.updates = updates;
    world_client_op(sim, client, &op, tag);
    return record;
}

uint32_t scenario_put(struct sim *sim, uint32_t client, uint32_t row)
{
    return submit_put(sim, client, row)->writes[0];
}

static void submit_chunk_put(struct sim *sim, uint32_t client)
{
    struct oracle *oracle = &sim->oracle;
    if (oracle->chunk_count == (sim->sweeps ? SIM_CHUNKS_ALL : SIM_CHUNKS_MAX)) {
        return;
    }
    struct sim_op *record = record_new(sim, client, KITH_CLIENT_CHUNK_PUT);
    uint64_t tag = record_count - 1;
    struct oracle_chunk *chunk = &oracle->chunks[oracle->chunk_count];
    record->chunks[0] = oracle->chunk_count;
    oracle->chunk_count++;
    memset(chunk, 0, sizeof *chunk);
    for (uint32_t i = 0; i < sizeof chunk->id.bytes && !sim->sweeps; i++) {
        chunk->id.bytes[i] = (uint8_t)sim_below(sim, 256);
    }
    struct kith_chunk_id refs[SWEEPS_REFS_MAX];
    sim->write_number++;
    chunk->number = sim->write_number;
    struct kith_blob *payload = kith_blob_new(chunk_size(chunk->number));
    KITH_ASSERT(payload);
    chunk_bytes(chunk->number, payload->data, payload->size);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_PUT, .timeout_ms = TIMEOUT_MS};
    record->disk = chunk->disk = sim_chance(sim, 200);
    sweeps_chunk(sim, chunk, refs, &op);
    op.u.chunk_put.id = chunk->id;
    op.u.chunk_put.durability = record->disk ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    op.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(payload->data, payload->size));
    op.u.chunk_put.payload = payload;
    world_client_op(sim, client, &op, tag);
    kith_blob_drop(payload);
}

static void submit_chunk_get(struct sim *sim, uint32_t client, uint32_t index, bool must_ok)
{
    const struct oracle_chunk *chunk = &sim->oracle.chunks[index];
    struct sim_op *record = record_new(sim, client, KITH_CLIENT_CHUNK_GET);
    uint8_t bytes[64];
    size_t size = chunk_size(chunk->number);
    record->must_ok = must_ok;
    record->chunks[0] = index;
    chunk_bytes(chunk->number, bytes, size);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_GET, .timeout_ms = TIMEOUT_MS};
    op.u.chunk_get.id = chunk->id;
    op.u.chunk_get.checksum = kith_checksum_of(kith_bytes_make(bytes, size));
    sim_trace(sim, "client %u: op %u gets chunk %llu of partition %u", client, record_count - 1,
              (unsigned long long)chunk->number, kith_chunk_partition(&chunk->id, SIM_PARTITIONS));
    world_client_op(sim, client, &op, record_count - 1);
}

static void submit_chunk_sync(struct sim *sim, uint32_t client)
{
    struct kith_chunk_id ids[SIM_NAMES];
    struct sim_op *record = record_new(sim, client, KITH_CLIENT_CHUNK_SYNC);
    uint64_t tag = record_count - 1;
    uint32_t first = sim_below(sim, sim->oracle.chunk_count);
    for (uint32_t i = first; i < sim->oracle.chunk_count && record->chunk_count < SIM_NAMES; i++) {
        ids[record->chunk_count] = sim->oracle.chunks[i].id;
        record->chunks[record->chunk_count] = i;
        record->chunk_count++;
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC, .timeout_ms = TIMEOUT_MS};
    op.u.chunk_sync.id_count = record->chunk_count;
    op.u.chunk_sync.ids = ids;
    world_client_op(sim, client, &op, tag);
}

/* An acknowledged chunk, or UINT32_MAX. */
static uint32_t any_chunk(struct sim *sim)
{
    uint32_t count = sim->oracle.chunk_count;
    uint32_t first = count > 0 ? sim_below(sim, count) : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (sim->oracle.chunks[(first + i) % count].state == WRITE_OK) {
            return (first + i) % count;
        }
    }
    return UINT32_MAX;
}

void scenario_step(struct sim *sim)
{
    uint32_t client = sim_below(sim, sim->client_count - 1);
    uint32_t any = sim_below(sim, SIM_ROWS);
    uint32_t row = watches_row(sim, any);
    uint32_t what = sim_below(sim, 100);
    bool frozen = sim->frozen_until_us[SIM_NODES_MAX + client] > sim->now_us;
    uint32_t watcher, group;
    if (watches_step(sim, &watcher, &group) && sim->clients[watcher].under_way < 8) {
        submit_scan(sim, watcher, group); /* as who lists a directory, at the watch's heels */
    }
    if (frozen || sim->clients[client].under_way >= 8) {
        return;
    }
    uint32_t chunk = any_chunk(sim);
    if (sim->few) {
        row %= SIM_NAMES;
        what %= 86;
    }
    what = sim->sweeps ? sweeps_what(sim) : what;
    if (what < 52 && sweeps_rests(sim, row)) {
        return;
    }
    if (what < 52) {
        (void)submit_put(sim, client, row);
    } else if (what < 76) {
        (void)submit_get(sim, client, row, KITH_LEVEL_QUORUM);
    } else if (what < 86) {
        (void)submit_scan(sim, client, row / SIM_NAMES);
    } else if (what < 93 || chunk == UINT32_MAX) {
        submit_chunk_put(sim, client);
    } else if (what < 97) {
        submit_chunk_get(sim, client, chunk, false);
    } else {
        submit_chunk_sync(sim, client);
    }
}

void scenario_write_all(struct sim *sim, bool few)
{
    for (uint32_t group = 0; group < SIM_GROUPS && !sim->failed; group++) {
        bool picky = few || sim->clients[0].write_level != KITH_LEVEL_QUORUM;
        submit_put(sim, 0, group * SIM_NAMES)->must_ok = !picky || (sim->strict & 1u) == 0;
    }
}

void scenario_quick(struct sim *sim, uint32_t client, uint32_t row, bool put, uint64_t by_us)
{
    struct sim_op *record =
        put ? submit_put(sim, client, row) : submit_get(sim, client, row, KITH_LEVEL_QUORUM);
    record->must_ok = true;
    record->by_us = by_us;
}

static bool owner_here(const struct sim *sim, uint32_t row)
{
    struct kith_key key;
    bool here = false;
    sim_key(row, &key);
    uint32_t partition = kith_group_partition(&key.group, SIM_PARTITIONS);
    for (uint32_t n = 0; n < sim->node_count; n++) {
        here = here || (!sim->nodes[n].away && sim_owns(sim, n, partition));
    }
    return here;
}

void scenario_read_all(struct sim *sim, enum kith_level level, bool few)
{
    uint32_t reader = sim->client_count - 1;
    bool strict = (sim->strict >> reader & 1u) != 0;
    for (uint32_t row = 0; row < SIM_ROWS && !sim->failed; row++) {
        struct sim_op *record = submit_get(sim, reader, row, level);
        record->must_ok = !few || (!strict && owner_here(sim, row));
    }
}

void scenario_read_chunks(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->oracle.chunk_count && !sim->failed; i++) {
        if (sim->oracle.chunks[i].state == WRITE_OK && (!sim->sweeps || sweeps_wanted(sim, i))) {
            submit_chunk_get(sim, sim->client_count - 1, i, true);
        }
    }
}

void scenario_all_ended(struct sim *sim)
{
    for (uint32_t i = 0; i < record_count && !sim->failed; i++) {
        if (records[i].out) {
            sim_fail(sim, "invariant 8: op %u never ends", i);
        }
    }
}
