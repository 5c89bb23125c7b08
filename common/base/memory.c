/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * memory.c - what the machine and the control groups say about memory.
 *
 * A line of /proc/PID/cgroup is "NUMBER:CONTROLLERS:PATH"; version 2 has one line, number 0,
 * without controllers. A limit holds for all groups below it, so each parent up to the root is
 * read. */
#include "base/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define GROUPS_SIZE (16u << 10) /* bytes of /proc/self/cgroup; a path has at most 4 KiB */
#define LIMIT_SIZE  32u         /* a number of 20 digits, or "max" */

/* The whole of a small file, cut to size; false when it cannot be read. */
static bool read_text(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    size_t used = fread(out, 1, size - 1, file);
    bool good = !ferror(file);
    (void)fclose(file);
    out[used] = '\0';
    return good;
}

static uint64_t limit_read(const char *path)
{
    char text[LIMIT_SIZE];
    char *end = NULL;
    if (!read_text(path, text, sizeof(text)) || *text < '0' || *text > '9') {
        return UINT64_MAX; /* "max", or no such file */
    }
    errno = 0;
    unsigned long long bytes = strtoull(text, &end, 10);
    return errno != 0 || (*end != '\n' && *end != '\0') ? UINT64_MAX : bytes;
}

/* The lowest limit from the group `at` (absolute, without a trailing '/') up to the root. */
static uint64_t limit_upwards(const char *root, const char *controller, const char *at,
                              size_t length, const char *file)
{
    uint64_t lowest = UINT64_MAX;
    char path[PATH_MAX];
    for (;;) {
        int wanted = snprintf(path, sizeof(path), "%s%s%.*s/%s", root, controller, (int)length, at,
                              file);
        uint64_t limit =
            wanted > 0 && (size_t)wanted < sizeof(path) ? limit_read(path) : UINT64_MAX;
        lowest = limit < lowest ? limit : lowest;
        if (length == 0) {
            return lowest;
        }
        while (length > 0 && at[--length] != '/') {
        }
    }
}

/* Whether "cpu,memory" of `length` bytes has the word memory. */
static bool has_memory(const char *controllers, size_t length)
{
    static const char word[] = "memory";
    const size_t size = sizeof(word) - 1;
    for (size_t i = 0; i + size <= length; i++) {
        bool begins = i == 0 || controllers[i - 1] == ',';
        bool ends = i + size == length || controllers[i + size] == ',';
        if (begins && ends && memcmp(controllers + i, word, size) == 0) {
            return true;
        }
    }
    return false;
}

uint64_t kith_memory_group_limit(const char *groups, const char *root)
{
    uint64_t lowest = UINT64_MAX;
    for (const char *line = groups; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        const char *end = line + length;
        const char *controllers = memchr(line, ':', length);
        const char *path =
            controllers ? memchr(controllers + 1, ':', (size_t)(end - controllers - 1)) : NULL;
        if (path && path + 1 < end && path[1] == '/') {
            size_t named = (size_t)(path - controllers - 1);
            size_t size = (size_t)(end - path - 1);
            size -= path[size] == '/' ? 1 : 0; /* the root itself */
            uint64_t limit = UINT64_MAX;
            if (named == 0) {
                limit = limit_upwards(root, "", path + 1, size, "memory.max");
            } else if (has_memory(controllers + 1, named)) {
                limit = limit_upwards(root, "/memory", path + 1, size, "memory.limit_in_bytes");
            }
            lowest = limit < lowest ? limit : lowest;
        }
        line = *end == '\n' ? end + 1 : end;
    }
    return lowest;
}

uint64_t kith_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_size = sysconf(_SC_PAGESIZE);
    uint64_t bytes =
        pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : UINT64_MAX;
    char *groups = malloc(GROUPS_SIZE);
    if (groups && read_text("/proc/self/cgroup", groups, GROUPS_SIZE)) {
        uint64_t limit = kith_memory_group_limit(groups, "/sys/fs/cgroup");
        bytes = limit < bytes ? limit : bytes;
    }
    free(groups);
    return bytes == UINT64_MAX ? 0 : bytes;
}

uint64_t kith_memory_cache(uint64_t memory_bytes, uint32_t nodes)
{
    KITH_ASSERT(nodes > 0);
    if (memory_bytes == 0) {
        return KITH_CACHE_UNKNOWN;
    }
    uint64_t share = memory_bytes / KITH_CACHE_SHARE / nodes;
    share = share < KITH_CACHE_MIN ? KITH_CACHE_MIN : share;
    share = share > KITH_CACHE_MAX ? KITH_CACHE_MAX : share;
    return share >> 20 << 20;
}
