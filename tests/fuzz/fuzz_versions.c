/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The names that versions stand under. Any bytes as a file's name and as a writer's, which others
 * have chosen: what is made of them is one name of a directory, and leads back to the file. Any
 * bytes as such a name: what it is read as is part of it.
 *
 *     u8 bit 0: the style, bit 1: with the longer hash; u64 time; u8 size of the writer's name
 *     ... the writer's name, and to the end the file's */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "format/versions.h"

#define HEAD_SIZE 10u

/* Every reading takes bytes from both ends of the name, and there are finitely many. */
static void read_name(struct kith_bytes name, enum kith_conflict_style style)
{
    struct kith_conflict_base base;
    bool like = kith_conflict_name_like((const char *)name.data, name.size);
    unsigned which = 0;
    for (; kith_conflict_base(name, style, which, &base); which++) {
        KITH_ASSERT(like);
        KITH_ASSERT(base.stem.data == name.data && base.stem.size > 0);
        KITH_ASSERT(base.stem.size + base.extension.size < name.size);
        KITH_ASSERT(base.extension.size == 0 ||
                    base.extension.data + base.extension.size == name.data + name.size);
    }
    KITH_ASSERT(which <= name.size);
}

static bool is_one_of(struct kith_bytes made, struct kith_bytes base,
                      enum kith_conflict_style style)
{
    struct kith_conflict_base found;
    for (unsigned which = 0; kith_conflict_base(made, style, which, &found); which++) {
        size_t both = found.stem.size + found.extension.size;
        bool fits = found.cut ? both <= base.size : both == base.size;
        if (fits && memcmp(base.data, found.stem.data, found.stem.size) == 0 &&
            (found.extension.size == 0 ||
             memcmp(base.data + base.size - found.extension.size, found.extension.data,
                    found.extension.size) == 0)) {
            return true;
        }
    }
    return false;
}

static void make_name(struct kith_bytes base, struct kith_bytes writer, uint64_t time,
                      uint8_t flags)
{
    struct kith_sibling sibling;
    char name[KITH_FS_NAME_MAX + 1];
    enum kith_conflict_style style = flags & 1 ? KITH_CONFLICT_INFIX : KITH_CONFLICT_SUFFIX;
    memset(&sibling, 0, sizeof sibling);
    sibling.time = time;
    sibling.writer = writer;
    sibling.dot.counter = time;
    size_t size = kith_conflict_name(base, &sibling, style, (flags & 2) != 0, name);
    struct kith_bytes made = kith_bytes_make(name, size);
    KITH_ASSERT(size > 0 && size <= KITH_FS_NAME_MAX && name[size] == '\0');
    KITH_ASSERT(memchr(name, '/', size) == NULL && memchr(name, '\0', size) == NULL);
    KITH_ASSERT(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    KITH_ASSERT(kith_conflict_name_like(name, size));
    KITH_ASSERT(is_one_of(made, base, style));
    read_name(made, style);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int style = KITH_CONFLICT_SUFFIX; style <= KITH_CONFLICT_INFIX; style++) {
        read_name(kith_bytes_make(data, size), (enum kith_conflict_style)style);
    }
    if (size <= HEAD_SIZE) {
        return 0;
    }
    uint64_t time;
    memcpy(&time, data + 1, sizeof time);
    size_t left = size - HEAD_SIZE, writer = data[9] < left ? data[9] : left - 1;
    struct kith_bytes base = kith_bytes_make(data + HEAD_SIZE + writer, left - writer);
    base.size = base.size > KITH_FS_NAME_MAX ? KITH_FS_NAME_MAX : base.size;
    if (memchr(base.data, '\0', base.size) == NULL && memchr(base.data, '/', base.size) == NULL) {
        make_name(base, kith_bytes_make(data + HEAD_SIZE, writer), time, data[0]);
    }
    return 0;
}

size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    static const char *const names[] = {"plan.odt",
                                        ".hidden",
                                        "a.tar.gz",
                                        "x",
                                        "\xc3\xa4\xc3\xb6\xc3\xbc.txt",
                                        "plan.odt.conflict-20261121T013000Z-anna@mars-9f3c01d2",
                                        "plan.conflict-20261121T013000Z-anna@mars-9f3c01d2.odt"};
    const uint32_t count = sizeof names / sizeof names[0];
    if (number >= 5 * count) {
        return 0;
    }
    const char *name = names[number % count];
    size_t size = strlen(name), head = HEAD_SIZE + 9;
    if (number >= 4 * count) { /* the name alone, to be read */
        memcpy(data, name, size);
        return size;
    }
    memset(data, 0, HEAD_SIZE);
    data[0] = (uint8_t)(number / count);
    data[6] = 0x01;
    data[9] = 9;
    memcpy(data + HEAD_SIZE, "anna@mars", 9);
    while (number % 3 == 2 && head + size < HEAD_SIZE + 9 + 240) { /* long: it is cut */
        data[head++] = 0xc3;
        data[head++] = 0xa4;
    }
    memcpy(data + head, name, size);
    return head + size;
}
