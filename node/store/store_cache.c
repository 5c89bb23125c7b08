/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_cache.c - what WiredTiger counts of its cache. */
#include "store/store_int.h"

static uint64_t value_of(WT_CURSOR *cursor, int key)
{
    const char *text = NULL, *shown = NULL;
    int64_t value = 0;
    cursor->set_key(cursor, key);
    bool there = cursor->search(cursor) == 0 &&
                 cursor->get_value(cursor, &text, &shown, &value) == 0 && value > 0;
    return there ? (uint64_t)value : 0;
}

enum kith_err kith_store_cache(struct kith_store *store, struct kith_store_cache *ret)
{
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    if (atomic_load(&store->failed) || store_session(store, &session) != 0) {
        return KITH_EIO;
    }
    int error = session->open_cursor(session, "statistics:", NULL, NULL, &cursor);
    if (error == 0) {
        ret->size_bytes = value_of(cursor, WT_STAT_CONN_CACHE_BYTES_MAX);
        ret->used_bytes = value_of(cursor, WT_STAT_CONN_CACHE_BYTES_INUSE);
        ret->dirty_bytes = value_of(cursor, WT_STAT_CONN_CACHE_BYTES_DIRTY);
        ret->pages_asked = value_of(cursor, WT_STAT_CONN_CACHE_PAGES_REQUESTED);
        ret->pages_read = value_of(cursor, WT_STAT_CONN_CACHE_READ);
    }
    (void)session->close(session, NULL); /* and the cursor */
    return error == 0 ? KITH_OK : KITH_EIO;
}
