/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * where.c - the extended attribute user.kith.where: which nodes own a file or directory, and what
 * they have of its newest version.
 *
 *     copies COPIES/OWNERS zones ZONES/ALL everywhere yes|no|unknown|unsent
 *     node ADDRESS ZONE STATE rows HAVE/OWNS chunks HAVE/OWNS
 *
 *     copies 2/3 zones 1/2 everywhere no
 *     node 10.0.1.11:7070 ams whole rows 2/2 chunks 12/12
 *     node 10.0.1.12:7070 ams whole rows 2/2 chunks 9/9
 *     node 10.0.2.11:7070 fra unknown rows 0/2 chunks 0/12
 *
 * It is about the rows of the file (the one that bears its name; with hard links that of the inode,
 * too; of a directory also its own; each with the one of its attributes, where there is one) and
 * all chunks of the version that bears the name. What they are owned by differs: a chunk's owners
 * are its own. COPIES is how many of its owners are known to have it, of what has fewest. ZONES are
 * the zones in which a copy of everything is that has owners there. STATE is "whole" (it has all
 * that it owns), "behind", or "unknown": it could not be asked, or did not answer in half of
 * op_timeout. "everywhere" is "unknown" where nobody is known to lack anything, but not all have
 * answered; "unsent" where this mount has changes that are stored nowhere yet. ZONE "-" has no
 * name. Chunks are flushed to disk where they are asked for. Who stands in for owners is not
 * counted, nor are extended attributes, nor what a directory contains. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/files/files.h"
#include "fs/fs.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"
#include "text/figures.h"

#define ROWS_MAX       4u
#define IDS_MAX        8192u       /* chunks in one request: 160 KiB to a node */
#define VALUE_MAX      (62u << 10) /* bytes; the kernel takes 64 KiB. Lines beyond are left out */
#define LINE_MAX_BYTES 1600u       /* an address and a zone with each byte escaped, and the rest */
#define TIME_MIN_MS    100u

struct asked {
    struct kith_fs *fs;
    uint64_t deadline_ms;
    uint32_t row_count;
    struct kith_rowname names[ROWS_MAX];
    struct kith_client_row_name rows[ROWS_MAX];
    bool unsent;
    /* what was found */
    struct kith_client_answer first; /* rows; and to it is added what others find */
    struct kith_client_where *found; /* its */
    bool chunks_unknown;             /* which they are */
};

static void row_add(struct asked *asked, const struct kith_group *group,
                    const struct kith_rowname *name)
{
    struct kith_rowname *own = &asked->names[asked->row_count];
    *own = *name;
    asked->rows[asked->row_count].group = *group;
    asked->rows[asked->row_count++].name = kith_rowname_bytes(own);
}

/* fs->lock held. The first is the one that has the contents. ENODATA: no name leads there. */
static int rows_of(const struct kith_fs *fs, const struct kith_inode *inode, struct asked *asked)
{
    struct kith_group group;
    struct kith_rowname row, attr, entry;
    const struct kith_entry *name = inode->entry;
    if (inode->made || inode->unlinked || (name == NULL && inode != fs->root) ||
        !kith_inode_place(inode, &group, &row)) {
        return ENODATA;
    }
    row_add(asked, &group, &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    row_add(asked, &group, &attr);
    if (name != NULL && (inode->dir != NULL || inode->shared)) {
        kith_rowname_entry(kith_entry_bytes(name), &entry);
        row_add(asked, &name->dir->dir->group, &entry);
    }
    return 0;
}

static int ask(struct asked *asked, uint32_t row_count, const struct kith_chunk_id *ids,
               uint32_t id_count, struct kith_client_answer *ret_answer)
{
    uint64_t now_ms = kith_mono_ns() / 1000000u;
    uint64_t left_ms = asked->deadline_ms > now_ms ? asked->deadline_ms - now_ms : 0;
    struct kith_client_op op = {.kind = KITH_CLIENT_WHERE};
    op.timeout_ms = (uint32_t)(left_ms > TIME_MIN_MS ? left_ms : TIME_MIN_MS);
    op.u.where.row_count = row_count;
    op.u.where.rows = asked->rows;
    op.u.where.id_count = id_count;
    op.u.where.ids = ids;
    return kith_errno(kith_client_call(asked->fs->client, &op, ret_answer));
}

/* ---- Adding up ---- */

static int nodes_merge(struct asked *asked, const struct kith_client_where *more)
{
    struct kith_client_where *all = asked->found;
    struct kith_arena *arena = &asked->first.arena;
    struct kith_client_where_node *nodes =
        kith_arena_calloc(arena, all->node_count + more->node_count, sizeof *nodes);
    if (nodes == NULL) {
        return ENOMEM;
    }
    memcpy(nodes, all->nodes, all->node_count * sizeof *nodes);
    uint32_t count = all->node_count;
    for (uint32_t i = 0; i < more->node_count; i++) {
        const struct kith_client_where_node *from = &more->nodes[i];
        uint32_t at = 0;
        while (at < count && memcmp(&nodes[at].uuid, &from->uuid, sizeof from->uuid) != 0) {
            at++;
        }
        if (at == count) {
            nodes[count++] = *from;
            continue;
        }
        nodes[at].answered = nodes[at].answered && from->answered;
        nodes[at].rows += from->rows;
        nodes[at].rows_have += from->rows_have;
        nodes[at].chunks += from->chunks;
        nodes[at].chunks_have += from->chunks_have;
    }
    all->nodes = nodes;
    all->node_count = count;
    return 0;
}

static int zones_merge(struct asked *asked, const struct kith_client_where *more)
{
    struct kith_client_where *all = asked->found;
    struct kith_client_where_zone *zones =
        kith_arena_calloc(&asked->first.arena, all->zone_count + more->zone_count, sizeof *zones);
    if (zones == NULL) {
        return ENOMEM;
    }
    memcpy(zones, all->zones, all->zone_count * sizeof *zones);
    uint32_t count = all->zone_count;
    for (uint32_t i = 0; i < more->zone_count; i++) {
        uint32_t at = 0;
        while (at < count && strcmp(zones[at].name, more->zones[i].name) != 0) {
            at++;
        }
        if (at == count) {
            zones[count++] = more->zones[i];
        } else {
            zones[at].whole = zones[at].whole && more->zones[i].whole;
        }
    }
    all->zones = zones;
    all->zone_count = count;
    return 0;
}

static int merge(struct asked *asked, const struct kith_client_where *more)
{
    struct kith_client_where *all = asked->found;
    all->copies = more->copies < all->copies ? more->copies : all->copies;
    all->missing = all->missing || more->missing;
    all->unknown = all->unknown || more->unknown;
    int error = nodes_merge(asked, more);
    return error != 0 ? error : zones_merge(asked, more);
}

/* ---- The chunks ---- */

/* What the version that bears the name names, as the owners have just told it. */
static enum kith_err chunks_of(struct asked *asked, struct kith_buf *ids)
{
    const struct kith_sibling *winner = kith_versions_winner(&asked->found->rows[0].row);
    struct kith_inode_record record;
    struct kith_arena arena;
    if (winner == NULL) {
        return KITH_OK;
    }
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_inode_record_decode(&arena, winner->value, &record);
    if (err == KITH_OK && record.type == KITH_TYPE_FILE && record.contents.size > 0) {
        err = kith_content_chunks(asked->fs->store, record.contents, ids);
    }
    kith_arena_release(&arena);
    return err;
}

static int ask_chunks(struct asked *asked)
{
    struct kith_buf ids;
    kith_buf_init(&ids);
    enum kith_err err = chunks_of(asked, &ids);
    asked->chunks_unknown = err != KITH_OK;
    int error = err == KITH_ENOMEM ? ENOMEM : 0;
    const struct kith_chunk_id *list = (const struct kith_chunk_id *)(const void *)ids.data;
    size_t count = ids.size / sizeof *list;
    for (size_t at = 0; at < count && error == 0 && err == KITH_OK; at += IDS_MAX) {
        struct kith_client_answer answer;
        uint32_t part = (uint32_t)(count - at < IDS_MAX ? count - at : IDS_MAX);
        error = ask(asked, 0, list + at, part, &answer);
        error = error == 0 ? merge(asked, answer.result.u.where) : error;
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&ids);
    return error;
}

/* ---- The text ---- */

static void put(struct kith_buf *out, const char *text)
{
    kith_buf_put(out, text, strlen(text));
}

/* One field: blanks are '_'. */
static void put_field(struct kith_buf *out, const char *text)
{
    size_t at = out->size;
    kith_format_text(kith_bytes_make(text, strlen(text)), out);
    for (; at < out->size; at++) {
        out->data[at] = out->data[at] == ' ' ? '_' : out->data[at];
    }
}

static void put_node(struct kith_buf *out, const struct kith_client_where_node *node)
{
    char text[128];
    bool whole = node->rows_have == node->rows && node->chunks_have == node->chunks;
    put(out, "node ");
    put_field(out, node->address[0] != '\0' ? node->address : "-");
    put(out, " ");
    put_field(out, node->zone[0] != '\0' ? node->zone : "-");
    snprintf(text, sizeof text, " %s rows %u/%u chunks %u/%u\n",
             !node->answered ? "unknown"
             : whole         ? "whole"
                             : "behind",
             node->rows_have, node->rows, node->chunks_have, node->chunks);
    put(out, text);
}

static void put_all(const struct asked *asked, struct kith_buf *out)
{
    const struct kith_client_where *found = asked->found;
    uint32_t whole = 0;
    char text[128];
    for (uint32_t i = 0; i < found->zone_count; i++) {
        whole += found->zones[i].whole && !asked->chunks_unknown ? 1 : 0;
    }
    snprintf(text, sizeof text, "copies %u/%u zones %u/%u everywhere %s\n",
             asked->chunks_unknown ? 0 : found->copies, found->owners, whole, found->zone_count,
             asked->unsent                             ? "unsent"
             : found->missing                          ? "no"
             : found->unknown || asked->chunks_unknown ? "unknown"
                                                       : "yes");
    put(out, text);
    for (uint32_t i = 0; i < found->node_count && out->size + LINE_MAX_BYTES < VALUE_MAX; i++) {
        put_node(out, &found->nodes[i]);
    }
}

void kith_do_getxattr_where(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    struct asked asked = {.fs = fs};
    struct kith_buf out;
    asked.deadline_ms = kith_mono_ns() / 1000000u + fs->options->op_timeout_ms;
    pthread_mutex_lock(&fs->lock);
    bool pending = inode->pending;
    pthread_mutex_unlock(&fs->lock);
    int error = pending ? kith_inode_flush(fs, inode, KITH_DURABLE_OS) : 0;
    if (error != 0) {
        kith_job_fail(job, error);
        return;
    }
    pthread_mutex_lock(&fs->lock);
    error = rows_of(fs, inode, &asked);
    asked.unsent = kith_inode_dirty(inode) || inode->attr_changed != 0;
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_job_fail(job, error);
        return;
    }
    kith_buf_init(&out);
    error = ask(&asked, asked.row_count, NULL, 0, &asked.first);
    asked.found = error == 0 ? asked.first.result.u.where : NULL;
    error = error == 0 ? ask_chunks(&asked) : error;
    if (error == 0) {
        put_all(&asked, &out);
        error = out.failed ? ENOMEM : 0;
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_xattr_answer(job, out.data, out.size, job->size);
    }
    kith_client_answer_release(&asked.first);
    kith_buf_release(&out);
}
