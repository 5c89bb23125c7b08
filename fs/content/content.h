/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * content.h - the contents of an open file: clean extents, dirty ranges, and their way to chunks.
 *
 * One object for each open file id of a mount, shared by its handles. Small contents are inline
 * bytes of the inode's row (one put a file); larger ones are extents over immutable chunks of up to
 * 1 MiB. Writes are gathered here (the kernel's writeback cache is never enabled), cut into chunks,
 * and uploaded while the file is still being written; a flush uploads what is left and gives the
 * image that the inode's row must hold. DESIGN section 7.
 *
 * Threads: every function may be called from any thread that may block (never from a client
 * callback or a libfuse worker); a content has a lock of its own, which is not held while waiting
 * for the network except by the flush of that same content. */
#ifndef KITH_FS_CONTENT_H
#define KITH_FS_CONTENT_H

#include "client/client.h"

/* with room for the inode's own fields */
#define KITH_CONTENT_INLINE_MAX (KITH_INLINE_VALUE_MAX - 4096u)
#define KITH_FILE_SIZE_MAX (UINT64_C(1) << 60)

/* What is shared by all contents of a mount: the client, the chunk cache (bounded), the budget for
 * dirty memory (bounded: a write waits for uploads, never for memory), the read-ahead. */
struct kith_content_store;

struct kith_content_options {
    struct kith_client *client;
    uint32_t volume;
    size_t cache_bytes; /* clean chunks and unsent data, a quarter at least clean; 0 = 64 MiB */
    size_t dirty_bytes; /* unsent data; 0 = 48 MiB */
    uint32_t readahead_bytes; /* 0 = 8 MiB */
    uint32_t timeout_ms;      /* of one chunk's transfer; 0 = the client's */
    uint32_t lease_ms; /* chunks of files that are open for so long are leased; 0 = 6 h */
};
KITH_MUST_CHECK enum kith_err kith_content_store_new(const struct kith_content_options *options,
                                                     struct kith_content_store **ret_store);
/* hard: the client is (kith_client_hard); a write waits for room in memory as long as that takes.
 * Not hard, as at first: those that wait give up a transfer's time later. Any thread. */
void kith_content_store_hard(struct kith_content_store *store, bool hard);
/* Waits for the transfers under way (each ends by its deadline). Every content must be freed
 * before, and the client be closed after. */
void kith_content_store_free(struct kith_content_store *store);

/* Now and then, from any thread: leases the chunks of a file whose time has come. Waits for
 * nothing. now_ms: monotonic, any origin, never 0. */
void kith_content_store_lease(struct kith_content_store *store, uint64_t now_ms);

/* A put of a row was refused, of whichever file: chunks that it names may be gone, as those of a
 * file that was open here for long, and removed elsewhere. Each content looks before its next image
 * whether its own are still there (kith_content_flush). Any thread; waits for nothing. */
void kith_content_store_refused(struct kith_content_store *store);

/* For /.kith/status. */
struct kith_content_stats {
    size_t dirty_bytes;  /* memory that waits for an upload or a flush */
    size_t cached_bytes; /* clean chunks */
    uint64_t hits, misses;
    uint64_t uploads, upload_failures; /* chunks, since the start */
};
void kith_content_store_stats(struct kith_content_store *store,
                              struct kith_content_stats *ret_stats);

struct kith_content;

/* The persistent form of contents: a part of the inode's row. `encoded` holds size and either the
 * inline bytes or the extents (format/extents.h); refs are the chunks it names, for the row's
 * reference list. */
struct kith_content_image {
    uint64_t size;
    uint64_t allocated; /* bytes in extents, for st_blocks; stable under compaction */
    struct kith_bytes encoded;
    uint32_t ref_count;
    const struct kith_chunk_id *refs;
};

/* Size and allocated bytes of an encoded image without opening it. EFORMAT. */
KITH_MUST_CHECK enum kith_err kith_content_image_stat(struct kith_bytes encoded, uint64_t *ret_size,
                                                      uint64_t *ret_allocated);

/* Every chunk that an image's contents lie in, those with lists of extents included, each once: their
 * ids, one behind the other, are put into `ids`. Fetches the lists. EFORMAT, ENOMEM, as
 * kith_content_read. */
KITH_MUST_CHECK enum kith_err kith_content_chunks(struct kith_content_store *store,
                                                  struct kith_bytes encoded, struct kith_buf *ids);

/* Contents from an image (copied); empty bytes = an empty file. A list of extents that lies in
 * chunks is fetched at the first use. EFORMAT, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_content_new(struct kith_content_store *store,
                                               struct kith_bytes encoded,
                                               struct kith_content **ret_content);
/* Drops it with what is unsent (an unlinked file, or after a flush). Never waits: transfers under
 * way end by themselves. No other call on it may be running. */
void kith_content_free(struct kith_content *content);
/* Replaces clean contents by a newer image (a re-open that found another version). EBUSY when
 * dirty. */
KITH_MUST_CHECK enum kith_err kith_content_replace(struct kith_content *content,
                                                   struct kith_bytes encoded);

/* Whether the image is of these contents, which are clean, with something appended. Compares what does
 * not lie in the same chunks, up to 4 MiB; where there is more of it the answer is no. As kith_content_read,
 * EFORMAT, ENOMEM: not known. */
KITH_MUST_CHECK enum kith_err kith_content_appended(struct kith_content *content,
                                                    struct kith_bytes encoded, bool *ret_appended);

uint64_t kith_content_size(struct kith_content *content);
uint64_t kith_content_allocated(struct kith_content *content);
bool kith_content_dirty(struct kith_content *content);

/* Copies up to `size` bytes from `offset` (short at the end of the file). One consistent moment of
 * the contents. EIO, ECORRUPT, EUNREACH, ETIMEOUT... of a chunk that cannot be had; ENOTFOUND
 * becomes EIO. */
KITH_MUST_CHECK enum kith_err kith_content_read(struct kith_content *content, uint64_t offset,
                                                uint8_t *data, size_t size, size_t *ret_size);
/* All or nothing in memory; waits only while the dirty budget is used up (ETIMEOUT when no upload
 * ends for the time of one transfer). ENOSPC, EIO... of an earlier background upload are reported
 * once: by the next write (which then took nothing), or by a flush whose own attempt fails too; the
 * data stays in memory in any case and the next flush tries it again. ETOOBIG above
 * KITH_FILE_SIZE_MAX. */
KITH_MUST_CHECK enum kith_err kith_content_write(struct kith_content *content, uint64_t offset,
                                                 const uint8_t *data, size_t size);
/* ---- The same for threads that must not wait (libfuse's workers, client callbacks) ----
 *
 * EBUSY: it would have to wait (for the lock, the dirty budget, a fetch, an upload, a flush), or
 * there is a failure to report; nothing was done, the functions above do it. */

/* append: at the end of the file, else at `offset`. */
KITH_MUST_CHECK enum kith_err kith_content_try_write(struct kith_content *content, bool append,
                                                     uint64_t offset, const uint8_t *data,
                                                     size_t size);
/* Only contents that are inline. */
KITH_MUST_CHECK enum kith_err kith_content_try_read(struct kith_content *content, uint64_t offset,
                                                    uint8_t *data, size_t size, size_t *ret_size);
/* Only contents that are inline, stay so and have nothing in chunks: at either durability nothing
 * is to be sent but the row. As kith_content_flush otherwise. */
KITH_MUST_CHECK enum kith_err kith_content_try_flush(struct kith_content *content,
                                                     size_t inline_max, struct kith_arena *arena,
                                                     struct kith_content_image *ret_image,
                                                     uint64_t *ret_generation);

/* At the end of the file, atomically within the mount; *ret_offset is where it went. */
KITH_MUST_CHECK enum kith_err kith_content_append(struct kith_content *content, const uint8_t *data,
                                                  size_t size, uint64_t *ret_offset);
KITH_MUST_CHECK enum kith_err kith_content_truncate(struct kith_content *content, uint64_t size);
/* fallocate: a hole (reads as zeros, allocates nothing; the size stays); and space that reads as
 * zeros where nothing is (grows the size unless keep_size; a cluster reserves no blocks for it). */
KITH_MUST_CHECK enum kith_err kith_content_punch(struct kith_content *content, uint64_t offset,
                                                 uint64_t size);
KITH_MUST_CHECK enum kith_err kith_content_allocate(struct kith_content *content, uint64_t offset,
                                                    uint64_t size, bool keep_size);
/* Shares clean extents of `from` (metadata only), copies dirty bytes. *ret_size: bytes done. */
KITH_MUST_CHECK enum kith_err kith_content_copy_range(struct kith_content *from,
                                                      uint64_t from_offset, struct kith_content *to,
                                                      uint64_t to_offset, uint64_t size,
                                                      uint64_t *ret_size);
/* SEEK_DATA / SEEK_HOLE; ENOTFOUND = ENXIO. */
KITH_MUST_CHECK enum kith_err kith_content_seek(struct kith_content *content, uint64_t offset,
                                                bool data, uint64_t *ret_offset);

/* Flushes of one content run one after the other; reads and writes go on meanwhile. For fsync call
 * it with KITH_DURABLE_DISK even when nothing is dirty: chunks that an earlier object of this mount
 * put (closed, opened, fsync) are made durable then too; `kith_content_dirty` says whether the row
 * must be put as well.
 *
 * Makes the image of the contents as they are now: uploads what is dirty, waits until every chunk
 * that the image names and this object put has W acknowledgements at `durability`. The image lies
 * in the arena. It stays "dirty" until kith_content_flushed is called for this generation: the
 * row's put can fail, or further writes can come meanwhile. inline_max: contents up to this many
 * bytes stay inline (KITH_CONTENT_INLINE_MAX, or less where the row has siblings, see DESIGN
 * section 2, or many names), and a list of extents where it takes no more, or 16 KiB.
 *
 * After kith_content_store_refused chunks that are gone are written anew, and the image names
 * those; EIO where nobody has the bytes of some. */
KITH_MUST_CHECK enum kith_err kith_content_flush(struct kith_content *content,
                                                 enum kith_durability durability, size_t inline_max,
                                                 struct kith_arena *arena,
                                                 struct kith_content_image *ret_image,
                                                 uint64_t *ret_generation);
/* The row with the image of this generation is stored: clean, unless written to since. */
void kith_content_flushed(struct kith_content *content, uint64_t generation);

#endif
