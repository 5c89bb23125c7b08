/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "format/versions.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/assert.h"
#include "data/hlc.h"
#include "data/volume.h"

#define MARK           ".conflict-"
#define MARK_SIZE      (sizeof MARK - 1)
#define TIME_SIZE      16u /* 20261121T013000Z */
#define HASH_SIZE      8u
#define WIDE_SIZE      16u
#define EXTENSION_MAX  16u /* with its dot; what is longer is no file type */
#define UTF8_REST_MAX  3u  /* bytes that follow the first of a character */
#define INSERT_MAX     (MARK_SIZE + TIME_SIZE + 1 + KITH_WRITER_MAX + 1 + WIDE_SIZE)

/* ---- Versions ---- */

static enum kith_type type_of(const struct kith_sibling *sibling)
{
    return kith_inode_record_type(sibling->value);
}

/* Whether `a`, which comes before `b` in the order of dots, bears the name rather than it. */
static bool goes_before(const struct kith_sibling *a, const struct kith_sibling *b)
{
    bool a_dir = type_of(a) == KITH_TYPE_DIR, b_dir = type_of(b) == KITH_TYPE_DIR;
    return a_dir != b_dir ? a_dir : a->time > b->time;
}

const struct kith_sibling *kith_versions_winner(const struct kith_row *row)
{
    const struct kith_sibling *winner = NULL;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        if (sibling->kind == KITH_SIBLING_VALUE && (!winner || !goes_before(winner, sibling))) {
            winner = sibling;
        }
    }
    return winner;
}

static bool same_directory(const struct kith_sibling *a, const struct kith_sibling *b)
{
    struct kith_inode_record first, second;
    struct kith_arena arena;
    if (type_of(a) != KITH_TYPE_DIR || type_of(b) != KITH_TYPE_DIR) {
        return false;
    }
    kith_arena_init(&arena, 0);
    bool same = kith_inode_record_decode(&arena, a->value, &first) == KITH_OK &&
                kith_inode_record_decode(&arena, b->value, &second) == KITH_OK &&
                memcmp(first.dir_id, second.dir_id, KITH_DIR_ID_SIZE) == 0;
    kith_arena_release(&arena);
    return same;
}

bool kith_versions_alike(const struct kith_sibling *a, const struct kith_sibling *b)
{
    static const struct kith_request_id none;
    if (a->kind != b->kind) {
        return false;
    }
    bool once = memcmp(&a->request, &none, sizeof none) != 0 &&
                memcmp(&a->request, &b->request, sizeof none) == 0;
    return once || kith_bytes_equal(a->value, b->value) || same_directory(a, b);
}

/* In its place among those from [1] on, the latest first. */
static void insert(struct kith_version *versions, uint32_t count,
                   const struct kith_version *version)
{
    uint32_t at = count;
    while (at > 1 && versions[at - 1].sibling->time < version->sibling->time) {
        versions[at] = versions[at - 1];
        at--;
    }
    versions[at] = *version;
}

enum kith_err kith_versions_list(struct kith_arena *arena, const struct kith_row *row,
                                 struct kith_version **ret_versions, uint32_t *ret_count)
{
    struct kith_version *versions =
        kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *versions);
    const struct kith_sibling *winner = kith_versions_winner(row);
    uint32_t count = 0;
    if (versions == NULL) {
        return KITH_ENOMEM;
    }
    /* the winner, then the latest dots first */
    for (uint32_t i = 0; i <= row->sibling_count; i++) {
        const struct kith_sibling *sibling =
            i == 0 ? winner : &row->siblings[row->sibling_count - i];
        bool shown = sibling != NULL && sibling->kind == KITH_SIBLING_VALUE &&
                     (i == 0 || sibling != winner);
        for (uint32_t k = 0; k < count && shown; k++) {
            shown = !kith_versions_alike(versions[k].sibling, sibling);
        }
        struct kith_version version = {.sibling = sibling};
        enum kith_err err =
            shown ? kith_inode_record_decode(arena, sibling->value, &version.record) : KITH_OK;
        if (err == KITH_ENOMEM || (err != KITH_OK && i == 0)) {
            return err;
        }
        if (shown && err == KITH_OK) {
            insert(versions, count++, &version);
        }
    }
    *ret_versions = versions;
    *ret_count = count;
    return KITH_OK;
}

static bool shown_beside(const struct kith_inode_record *first,
                         const struct kith_inode_record *other, enum kith_rowname_kind kind)
{
    if (kind == KITH_ROWNAME_ENTRY) {
        return other->type != KITH_TYPE_LINK;
    }
    return first->type != other->type || !kith_bytes_equal(first->contents, other->contents) ||
           !kith_bytes_equal(first->target, other->target);
}

enum kith_err kith_versions_shown(struct kith_arena *arena, const struct kith_row *row,
                                  enum kith_rowname_kind kind, struct kith_version **ret_versions,
                                  uint32_t *ret_count)
{
    struct kith_version *versions = NULL;
    uint32_t count = 0;
    enum kith_err err = kith_versions_list(arena, row, &versions, &count);
    if (err != KITH_OK) {
        return err;
    }
    uint32_t kept = count > 0 ? 1 : 0;
    for (uint32_t i = 1; i < count; i++) {
        if (shown_beside(&versions[0].record, &versions[i].record, kind)) {
            versions[kept++] = versions[i];
        }
    }
    *ret_versions = versions;
    *ret_count = kept;
    return KITH_OK;
}

enum kith_err kith_versions_conflict(struct kith_arena *arena, const struct kith_key *key,
                                     const struct kith_row *row, bool *ret_conflict)
{
    struct kith_rowname_parts parts;
    struct kith_version *versions = NULL;
    uint32_t count = 0;
    enum kith_err err = KITH_OK;
    if (row->sibling_count > 1 && kith_volume_is_fs(kith_group_volume(&key->group)) &&
        kith_rowname_parse(key->name, &parts) == KITH_OK && parts.kind != KITH_ROWNAME_ATTR &&
        parts.kind != KITH_ROWNAME_XATTR) {
        err = kith_versions_shown(arena, row, parts.kind, &versions, &count);
    }
    if (err == KITH_ENOMEM) {
        return err;
    }
    /* a directory's own row has attributes, which are joined, and no versions of anything */
    bool own = count > 1 && parts.kind == KITH_ROWNAME_SELF &&
               versions[0].record.type == KITH_TYPE_DIR;
    *ret_conflict = err == KITH_OK && count > 1 && !own; /* not OK: it cannot be read */
    return KITH_OK;
}

/* ---- Names ---- */

static uint64_t dot_hash(const struct kith_dot *dot)
{
    const uint64_t parts[] = {dot->actor.run, dot->actor.epoch, dot->counter};
    uint8_t bytes[sizeof parts];
    for (unsigned i = 0; i < sizeof bytes; i++) { /* the same on every machine */
        bytes[i] = (uint8_t)(parts[i / 8] >> (8 * (i % 8)));
    }
    return XXH3_64bits(bytes, sizeof bytes);
}

/* What stands between stem and extension. */
static size_t insert_of(const struct kith_sibling *sibling, bool wide,
                        char ret_text[INSERT_MAX + 1])
{
    struct tm tm;
    char writer[KITH_WRITER_MAX + 1] = "unknown";
    time_t seconds = (time_t)(kith_hlc_ms(sibling->time) / 1000);
    uint64_t hash = dot_hash(&sibling->dot);
    if (sibling->writer.size > 0 && sibling->writer.size <= KITH_WRITER_MAX) {
        for (size_t i = 0; i < sibling->writer.size; i++) {
            uint8_t byte = sibling->writer.data[i];
            writer[i] = byte < ' ' || byte == '/' || byte == 0x7f ? '_' : (char)byte;
        }
        writer[sibling->writer.size] = '\0';
    }
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 9999 - 1900) { /* a time beyond all */
        memset(&tm, 0, sizeof tm);
        tm.tm_mday = 1;
    }
    int size = snprintf(ret_text, INSERT_MAX + 1,
                        MARK "%04u%02u%02uT%02u%02u%02uZ-%s-%0*llx", (unsigned)tm.tm_year + 1900,
                        (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday, (unsigned)tm.tm_hour,
                        (unsigned)tm.tm_min, (unsigned)tm.tm_sec, writer,
                        (int)(wide ? WIDE_SIZE : HASH_SIZE),
                        (unsigned long long)(wide ? hash : hash >> 32));
    KITH_ASSERT(size > 0 && (size_t)size <= INSERT_MAX);
    return (size_t)size;
}

/* Of a file's type; 0 where a name has none. */
static size_t extension_size(struct kith_bytes base, enum kith_conflict_style style)
{
    size_t at = base.size;
    while (at > 0 && base.data[at - 1] != '.') {
        at--;
    }
    bool has = style == KITH_CONFLICT_INFIX && at > 1 && at < base.size &&
               base.size - at + 1 <= EXTENSION_MAX;
    return has ? base.size - at + 1 : 0;
}

size_t kith_conflict_name(struct kith_bytes base, const struct kith_sibling *sibling,
                          enum kith_conflict_style style, bool wide,
                          char ret_name[KITH_FS_NAME_MAX + 1])
{
    char text[INSERT_MAX + 1];
    size_t insert_size = insert_of(sibling, wide, text);
    size_t extension = extension_size(base, style);
    size_t stem = base.size - extension, room = KITH_FS_NAME_MAX - insert_size - extension;
    KITH_ASSERT(base.size > 0 && base.size <= KITH_FS_NAME_MAX);
    if (stem > room) {
        stem = room;
        for (unsigned i = 0; i < UTF8_REST_MAX && (base.data[stem] & 0xc0u) == 0x80u; i++) {
            stem--;
        }
    }
    memcpy(ret_name, base.data, stem);
    memcpy(ret_name + stem, text, insert_size);
    memcpy(ret_name + stem + insert_size, base.data + base.size - extension, extension);
    ret_name[stem + insert_size + extension] = '\0';
    return stem + insert_size + extension;
}

bool kith_conflict_name_like(const char *name, size_t size)
{
    return size > MARK_SIZE + TIME_SIZE + HASH_SIZE && memmem(name, size, MARK, MARK_SIZE) != NULL;
}

static bool all_of(const uint8_t *bytes, size_t size, const char *set)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\0' || strchr(set, bytes[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Whether "-HASH" ends there. */
static bool hash_ends(const uint8_t *end, size_t before)
{
    static const size_t sizes[] = {HASH_SIZE, WIDE_SIZE};
    for (unsigned i = 0; i < 2; i++) {
        if (before > sizes[i] && end[-(ptrdiff_t)sizes[i] - 1] == '-' &&
            all_of(end - sizes[i], sizes[i], "0123456789abcdef")) {
            return true;
        }
    }
    return false;
}

/* A mark stands at `at`: whether what follows is as it was made, with an extension of that size. */
static bool base_at(struct kith_bytes name, size_t at, size_t extension,
                    struct kith_conflict_base *ret_base)
{
    const uint8_t *time = name.data + at + MARK_SIZE;
    size_t rest = name.size - at - MARK_SIZE;
    if (at == 0 || rest < TIME_SIZE + 1 + 1 + 1 + HASH_SIZE + extension ||
        !all_of(time, 8, "0123456789") || time[8] != 'T' || !all_of(time + 9, 6, "0123456789") ||
        time[15] != 'Z' || time[TIME_SIZE] != '-' ||
        !hash_ends(name.data + name.size - extension, rest - TIME_SIZE - 1 - extension)) {
        return false;
    }
    ret_base->stem = kith_bytes_make(name.data, at);
    ret_base->extension = kith_bytes_make(name.data + name.size - extension, extension);
    ret_base->cut = name.size + UTF8_REST_MAX >= KITH_FS_NAME_MAX;
    return true;
}

bool kith_conflict_base(struct kith_bytes name, enum kith_conflict_style style, unsigned which,
                        struct kith_conflict_base *ret_base)
{
    /* with an extension first; but the writer's name may look like a hash with one, and the file's
     * have none */
    size_t extensions[] = {extension_size(name, style), 0};
    unsigned found = 0;
    for (size_t at = name.size; at-- > 0;) { /* the last mark first: the base may have one, too */
        bool marked = name.size - at >= MARK_SIZE && memcmp(name.data + at, MARK, MARK_SIZE) == 0;
        for (unsigned i = extensions[0] > 0 ? 0 : 1; marked && i < 2; i++) {
            if (base_at(name, at, extensions[i], ret_base) && found++ == which) {
                return true;
            }
        }
    }
    return false;
}

void kith_versions_shared_row(const struct kith_group *dir, const struct kith_inode_record *link,
                              struct kith_rowname *ret_name)
{
    if (kith_group_compare(&link->link, dir) == 0) {
        kith_rowname_shared(link->file_id, ret_name);
    } else {
        kith_rowname_entry(kith_bytes_make(NULL, 0), ret_name);
    }
}
