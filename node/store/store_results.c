/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_results.c - completions on their way to the core: made by a worker, kept for the next. */
#include "base/memory.h"
#include "store/store_int.h"

struct store_results *store_results_new(struct kith_store *store)
{
    pthread_mutex_lock(&store->pool_lock);
    struct kith_store_results *pub = store->pool;
    if (pub != NULL) {
        store->pool = pub->next;
        store->pool_count--;
    }
    pthread_mutex_unlock(&store->pool_lock);
    struct store_results *results = (struct store_results *)pub;
    if (results == NULL) {
        results = kith_malloc(sizeof *results);
        if (results == NULL) {
            return NULL;
        }
        kith_arena_init(&results->arena, 0);
        results->store = store;
        results->pub.dones = results->dones;
    }
    results->pub.count = 0;
    results->pub.next = NULL;
    results->ended = 0;
    results->bulk_bytes = 0;
    results->box_count = 0;
    results->blob_count = 0;
    results->hole_count = 0;
    return results;
}

void store_results_deliver(struct store_results *results)
{
    struct kith_store *store = results->store;
    store->options.completed(store->options.arg, &results->pub);
}

uint32_t kith_store_results_ended(const struct kith_store_results *pub)
{
    return ((const struct store_results *)pub)->ended;
}

uint64_t kith_store_results_bulk(const struct kith_store_results *pub)
{
    return ((const struct store_results *)pub)->bulk_bytes;
}

void kith_store_results_free(struct kith_store_results *pub)
{
    struct store_results *results = (struct store_results *)pub;
    struct kith_store *store = results->store;
    for (uint32_t i = 0; i < results->box_count; i++) {
        kith_msg_box_drop(results->boxes[i]);
    }
    for (uint32_t i = 0; i < results->blob_count; i++) {
        kith_blob_drop(results->blobs[i]);
    }
    kith_arena_reset(&results->arena);
    pthread_mutex_lock(&store->pool_lock);
    bool keep = store->pool_count < KITH_RESULTS_POOL;
    if (keep) {
        pub->next = store->pool;
        store->pool = pub;
        store->pool_count++;
    }
    pthread_mutex_unlock(&store->pool_lock);
    if (!keep) {
        kith_arena_release(&results->arena);
        kith_free(results);
    }
}
