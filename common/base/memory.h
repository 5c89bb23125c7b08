/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * memory.h - how much memory this process may use, and the share of it for a node's cache.
 *
 * Any thread. Checked by tests/unit/test_memory.c. */
#ifndef KITH_BASE_MEMORY_H
#define KITH_BASE_MEMORY_H

#include <stdint.h>

#include "base/err.h"

/* Bytes. A sixteenth: WiredTiger takes up to two and a half times its cache, and kernel page cache,
 * clients and programs live on the same machine. */
#define KITH_CACHE_SHARE   16u
#define KITH_CACHE_MIN     (UINT64_C(64) << 20)  /* below it eviction takes longer than the work */
#define KITH_CACHE_MAX     (UINT64_C(1) << 30)   /* who wants to give more says so */
#define KITH_CACHE_UNKNOWN (UINT64_C(128) << 20) /* where the memory cannot be found out */

/* Bytes: the machine's memory, or less where a control group of this process has a limit; 0 when
 * neither can be found out. Reads /proc and /sys. */
uint64_t kith_memory_bytes(void);

/* The lowest memory limit among the control groups that `groups` (text of /proc/PID/cgroup) names
 * and all above them, version 1 or 2, with their files under `root` (/sys/fs/cgroup); UINT64_MAX:
 * none. A group whose files cannot be read has no limit: inside a container its path may be the
 * host's. */
uint64_t kith_memory_group_limit(const char *groups, const char *root);

/* Bytes of cache for each of `nodes` (at least 1) nodes that share `memory_bytes` (0 = unknown);
 * whole MiB. */
uint64_t kith_memory_cache(uint64_t memory_bytes, uint32_t nodes);

#endif
