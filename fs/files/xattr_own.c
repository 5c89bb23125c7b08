/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * xattr_own.c - extended attributes that the mount makes up: user.kith.*.
 *
 * They can be read, and are not listed: so cp -a and rsync -X do not carry them to another file.
 *
 * user.kith.versions: a line for each version of a file or directory, the one that bears the name
 * first, the others the latest first:
 *
 *     NUMBER TIME WRITER SIZE NAME
 *     1 2026-11-21T01:30:02Z ben@fra-pc3 812 plan.odt
 *     2 2026-11-21T01:30:00Z anna@mars 790 plan.odt.conflict-20261121T013000Z-anna@mars-9f3c01d2
 *
 * TIME is UTC, by the clock of the node that took it, WRITER "-" where it is not known. Blanks in
 * WRITER, and everywhere controls and '\', are \ooo. A file with hard links has its others beside
 * each of its names; NAME is that beside one of them. ENODATA of what has no name, or is itself a
 * version beside another; EOPNOTSUPP where the mount hides them.
 *
 * user.kith.where: where.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "data/hlc.h"
#include "fs/conflicts/conflicts.h"
#include "fs/files/files.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define PREFIX         "user.kith."
#define VERSIONS       PREFIX "versions"
#define WHERE          PREFIX "where"
#define VALUE_MAX      (62u << 10) /* bytes; the kernel takes 64 KiB. Lines beyond are left out */
#define LINE_MAX_BYTES 2048u       /* a writer and a name with each byte as \ooo, and the rest */

bool kith_xattr_own(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

/* Of which the versions are asked: where it stands, and how large it is. */
struct asked {
    struct kith_inode *dir; /* one ref */
    char base[KITH_FS_NAME_MAX + 1];
    struct kith_group group; /* of the row that has the version that bears the name */
    struct kith_rowname row;
    uint64_t size;
};

static int find(struct kith_job *job, struct asked *asked)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    pthread_mutex_lock(&fs->lock);
    bool pending = inode->pending;
    pthread_mutex_unlock(&fs->lock);
    int error = pending ? kith_inode_flush(fs, inode, KITH_DURABLE_OS) : 0;
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    const struct kith_entry *entry = inode->entry;
    if (entry == NULL || inode->made || inode->unlinked ||
        !kith_inode_place(inode, &asked->group, &asked->row)) {
        error = ENODATA;
    } else {
        struct stat attr;
        kith_inode_stat(inode, &attr);
        asked->size = (uint64_t)attr.st_size;
        asked->dir = entry->dir;
        kith_inode_hold(asked->dir);
        memcpy(asked->base, entry->name, entry->name_size);
        asked->base[entry->name_size] = '\0';
        if (inode->dir != NULL) { /* a directory's place is its own; the name's row tells of it */
            asked->group = entry->dir->dir->group;
            kith_rowname_entry(kith_bytes_make(asked->base, entry->name_size), &asked->row);
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* Without what would end the line or, where `blanks`, the field. */
static void put_text(struct kith_buf *out, struct kith_bytes text, bool blanks)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte < ' ' || byte == 0x7f || byte == '\\' || (blanks && byte == ' ')) {
            char octal[8];
            int size = snprintf(octal, sizeof octal, "\\%03o", byte);
            kith_buf_put(out, octal, (size_t)size);
        } else {
            kith_buf_put_u8(out, byte);
        }
    }
}

/* sibling NULL: nobody knows when and by whom. */
static void put_line(struct kith_buf *out, uint32_t number, const struct kith_sibling *sibling,
                     uint64_t size, const char *name)
{
    char text[64], when[32] = "-";
    struct tm tm;
    time_t seconds = sibling != NULL ? (time_t)(kith_hlc_ms(sibling->time) / 1000) : 0;
    if (out->size + LINE_MAX_BYTES > VALUE_MAX) {
        return;
    }
    if (sibling != NULL && gmtime_r(&seconds, &tm) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    int length = snprintf(text, sizeof text, "%u %s ", number, when);
    kith_buf_put(out, text, (size_t)length);
    if (sibling != NULL && sibling->writer.size > 0) {
        put_text(out, sibling->writer, true);
    } else {
        kith_buf_put_u8(out, '-');
    }
    length = snprintf(text, sizeof text, " %llu ", (unsigned long long)size);
    kith_buf_put(out, text, (size_t)length);
    put_text(out, kith_bytes_make(name, strlen(name)), false);
    kith_buf_put_u8(out, '\n');
}

/* The latest first; else as they were. */
static void sort(struct kith_other others[], uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct kith_other other = others[i];
        uint32_t at = i;
        while (at > 0 && others[at - 1].version.sibling->time < other.version.sibling->time) {
            others[at] = others[at - 1];
            at--;
        }
        others[at] = other;
    }
}

static uint64_t size_of(const struct kith_inode_record *record)
{
    uint64_t size = record->target.size, allocated;
    if (record->contents.size > 0 &&
        kith_content_image_stat(record->contents, &size, &allocated) != KITH_OK) {
        size = 0; /* of a later format */
    }
    return size;
}

static int versions(struct kith_job *job, struct asked *asked, struct kith_arena *arena,
                    struct kith_buf *out)
{
    struct kith_other *others;
    uint32_t count = 0;
    struct kith_client_answer answer;
    int error = kith_others_list(job->fs, asked->dir, asked->base, arena, &others, &count);
    if (error != 0) {
        return error;
    }
    struct kith_bytes name = kith_rowname_bytes(&asked->row);
    error = kith_rows_get(job->fs, &asked->group, &name, 1, &answer);
    if (error == 0) {
        sort(others, count);
        put_line(out, 1, kith_versions_winner(&answer.result.u.rows.rows[0].row), asked->size,
                 asked->base);
        for (uint32_t i = 0; i < count; i++) {
            put_line(out, i + 2, others[i].version.sibling, size_of(&others[i].version.record),
                     others[i].name);
        }
        error = out->failed ? ENOMEM : 0;
    }
    kith_client_answer_release(&answer);
    return error;
}

void kith_do_getxattr_own(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct asked asked = {.dir = NULL};
    struct kith_arena arena;
    struct kith_buf out;
    if (strcmp(job->name, WHERE) == 0) {
        kith_do_getxattr_where(job);
        return;
    }
    kith_arena_init(&arena, 0);
    kith_buf_init(&out);
    int error = strcmp(job->name, VERSIONS) != 0 ? ENODATA
                : fs->options->hide_conflicts    ? EOPNOTSUPP
                                                 : find(job, &asked);
    if (error == 0) {
        error = versions(job, &asked, &arena, &out);
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_xattr_answer(job, out.data, out.size, job->size);
    }
    if (asked.dir != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, asked.dir);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_buf_release(&out);
    kith_arena_release(&arena);
}
