/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as the store's own records: the sums of a partition, the journal of these, where a
 * chunk is, and the copy of the node's identity (whose checksum is made right). What is taken stays
 * within its bytes and its bounds. */
#include "fuzz.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/store_int.h"

#define IDENTITY_HEAD "kithfs identity 1\n"

const uint32_t kith_fuzz_mutations = 50000; /* some of them are files */

static void take_sums(struct kith_bytes bytes)
{
    static struct store_leaf leaves[KITH_TREE_LEAVES];
    struct store_sums_entry entry;
    uint64_t number = 0;
    size_t at = 0, steps = 0;
    if (store_sums_table_decode(bytes, leaves, &number)) {
        KITH_ASSERT(bytes.size >= sizeof number);
    }
    if (!store_sums_sequence(bytes, &number)) {
        return;
    }
    while (store_sums_next(bytes, &at, &entry)) {
        KITH_ASSERT(at <= bytes.size && entry.number < KITH_TREE_LEAVES);
        KITH_ASSERT(entry.partition <= UINT16_MAX);
        steps++;
    }
    KITH_ASSERT(at == 0 || at == bytes.size || steps == 0);
}

static bool within(struct kith_bytes whole, const uint8_t *data, size_t size)
{
    return size == 0 || (data >= whole.data && data + size <= whole.data + whole.size);
}

static void take_chunk(struct kith_bytes bytes)
{
    struct store_chunk chunk;
    enum kith_err err = store_chunk_decode(bytes, &chunk);
    KITH_ASSERT(err == KITH_OK || err == KITH_ECORRUPT);
    if (err == KITH_OK) {
        KITH_ASSERT(chunk.size <= KITH_CHUNK_MAX && chunk.ref_count <= KITH_REFS_MAX);
        KITH_ASSERT(within(bytes, chunk.refs, (size_t)chunk.ref_count * KITH_CHUNK_ID_SIZE));
        KITH_ASSERT(chunk.in_segment || within(bytes, chunk.contents.data, chunk.contents.size));
        KITH_ASSERT(chunk.in_segment || chunk.contents.size == chunk.size);
    }
}

static char identity_dir[] = "/tmp/kith-fuzz-XXXXXX", identity_file[64];

static void remove_dir(void)
{
    (void)unlink(identity_file);
    (void)rmdir(identity_dir);
}

/* Read from the file in which it lies. */
static void take_identity(struct kith_bytes bytes)
{
    static struct kith_store *store;
    struct kith_buf buf;
    if (store == NULL) {
        KITH_ASSERT(mkdtemp(identity_dir) != NULL && atexit(remove_dir) == 0);
        (void)snprintf(identity_file, sizeof identity_file, "%s/identity", identity_dir);
        store = kith_calloc(1, sizeof *store);
        KITH_ASSERT(store != NULL);
        store->path = identity_dir;
    }
    KITH_ASSERT(pthread_mutex_init(&store->identity.lock, NULL) == 0);
    kith_buf_init(&buf);
    kith_buf_put(&buf, IDENTITY_HEAD, sizeof IDENTITY_HEAD - 1);
    kith_buf_put(&buf, bytes.data, bytes.size);
    struct kith_checksum sum = kith_checksum_of(kith_buf_bytes(&buf));
    kith_buf_put(&buf, sum.bytes, sizeof sum.bytes);
    (void)unlink(identity_file); /* one that is written anew would be flushed */
    int fd = open(identity_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    KITH_ASSERT(fd >= 0 && write(fd, buf.data, buf.size) == (ssize_t)buf.size);
    (void)close(fd);
    store_identity_load(store);
    KITH_ASSERT(store->identity.found);
    KITH_ASSERT(!store->identity.good || store->identity.records[0].size > 0);
    size_t total = 0;
    for (uint32_t i = 0; i < STORE_IDENTITY_KEYS; i++) {
        total += store->identity.records[i].size;
    }
    KITH_ASSERT(total <= bytes.size * STORE_IDENTITY_KEYS);
    store_identity_release(store);
    memset(&store->identity, 0, sizeof store->identity);
    kith_buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_bytes bytes = kith_bytes_make(data, size);
    take_sums(bytes);
    take_chunk(bytes);
    if (size > 0 && data[0] == KITH_META_NODE) { /* what a good one begins with: files are slow */
        take_identity(bytes);
    }
    return 0;
}

/* Leaves of a tree, a journal, chunks here and in a segment, and an identity. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (number < 2) {
        kith_buf_put_u64(&buf, 7);
        for (uint32_t i = 0; i < 3; i++) {
            static const uint8_t leaf[28] = {1, 2, 3};
            kith_buf_put(&buf, "\0\5", number * 2u); /* of the journal: the partition */
            kith_buf_put_u8(&buf, (uint8_t)(i * 9));
            kith_buf_put(&buf, leaf, sizeof leaf);
        }
    } else if (number < 4) {
        static const uint8_t sum[KITH_CHECKSUM_SIZE];
        static const uint8_t refs[KITH_CHUNK_ID_SIZE];
        kith_buf_put_u8(&buf, 1);
        kith_buf_put_u8(&buf, (uint8_t)(number - 2));
        kith_buf_put(&buf, sum, sizeof sum);
        kith_buf_put_u32(&buf, 8);
        kith_buf_put_varint(&buf, 1);
        kith_buf_put(&buf, refs, sizeof refs);
        kith_buf_put_u64(&buf, 1); /* 8 bytes of contents, or a place of 12 */
        kith_buf_put(&buf, "\0\0\0", (number - 2) * 4u);
    } else if (number == 4) {
        kith_buf_put_u8(&buf, KITH_META_NODE);
        kith_buf_put_sized(&buf, kith_bytes_make("uuid", 4));
        kith_buf_put_u8(&buf, KITH_META_CLUSTER);
        kith_buf_put_sized(&buf, kith_bytes_make("cluster", 7));
    }
    size_t size = buf.size;
    KITH_ASSERT(!buf.failed && size <= KITH_FUZZ_SEED_MAX);
    if (size > 0) {
        memcpy(data, buf.data, size);
    }
    kith_buf_release(&buf);
    return size;
}
