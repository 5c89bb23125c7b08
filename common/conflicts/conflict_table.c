/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "conflicts/conflict_table.h"

#include <string.h>

#include "text/figures.h"

void kith_conflict_table_init(struct kith_columns *columns)
{
    static const char *const heads[] = {"PATH", "VERSIONS", "SINCE", "WRITERS"};
    kith_columns_init(columns, heads, 4);
}

/* A person needs no seconds: 2026-11-20T18:02:33Z as 2026-11-20 18:02. */
static void since_text(uint64_t ms, char ret_text[KITH_FORMAT_SIZE])
{
    kith_format_time(ms, ret_text);
    if (strlen(ret_text) > 16) {
        ret_text[10] = ' ';
        ret_text[16] = '\0';
    }
}

bool kith_conflict_table_add(struct kith_columns *columns, struct kith_bytes path,
                             const struct kith_conflict *conflict)
{
    struct kith_buf shown;
    struct kith_buf writers;
    char count[KITH_FORMAT_SIZE];
    char since[KITH_FORMAT_SIZE];
    kith_buf_init(&shown);
    kith_buf_init(&writers);
    kith_format_text(path, &shown);
    for (uint32_t i = 0; i < conflict->writer_count; i++) {
        kith_buf_put(&writers, ", ", i > 0 ? 2 : 0);
        kith_format_text(conflict->writers[i], &writers);
    }
    kith_buf_put_u8(&shown, 0);
    kith_buf_put_u8(&writers, 0);
    (void)snprintf(count, sizeof(count), "%u", conflict->count);
    since_text(conflict->since_ms, since);
    bool ok = !shown.failed && !writers.failed;
    if (ok) {
        const char *const cells[] = {(const char *)shown.data, count, since,
                                     (const char *)writers.data};
        kith_columns_add(columns, KITH_COLOUR_NONE, cells);
        ok = !columns->failed;
    }
    kith_buf_release(&shown);
    kith_buf_release(&writers);
    return ok;
}
