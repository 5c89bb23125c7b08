/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/volume.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"

#define NAMED    0x80000000u /* the numbers that names give */
#define RESERVED 0xffffff00u /* from here on they are ours, those of later releases, too */
#define MOVED    0x40000000u /* the bit by which one of those becomes another one */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

/* Where volumes may be given by their numbers, in words such as 7 and 0x7, these mean no names. */
static bool is_number(const char *name)
{
    bool hex = name[0] == '0' && (name[1] == 'x' || name[1] == 'X');
    const char *digits = hex ? name + 2 : name;
    return digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")] == '\0';
}

bool kith_volume_name_fits(const char *name)
{
    size_t size = strlen(name);
    return size >= 1 && size <= KITH_VOLUME_NAME_MAX && strspn(name, alphabet) == size &&
           name[0] != '.' && name[0] != '-' && !is_number(name) && strcmp(name, "kv") != 0;
}

uint32_t kith_volume_number(const char *name)
{
    KITH_ASSERT(kith_volume_name_fits(name));
    if (strcmp(name, "fs") == 0) {
        return KITH_VOLUME_FS;
    }
    uint32_t number = (uint32_t)XXH3_64bits(name, strlen(name)) | NAMED;
    return number < RESERVED ? number : number & ~MOVED;
}

struct kith_group kith_volume_root(uint32_t volume)
{
    static const uint8_t zero[KITH_GROUP_SIZE - 4];
    return kith_group_make(volume, zero);
}

void kith_volume_text(uint32_t volume, char ret_text[KITH_VOLUME_TEXT_SIZE])
{
    if (volume == KITH_VOLUME_FS) {
        (void)snprintf(ret_text, KITH_VOLUME_TEXT_SIZE, "fs");
    } else if (volume == KITH_VOLUME_KV || volume == KITH_VOLUME_KV_BUCKETS) {
        (void)snprintf(ret_text, KITH_VOLUME_TEXT_SIZE, "kv");
    } else {
        (void)snprintf(ret_text, KITH_VOLUME_TEXT_SIZE, "%u", volume);
    }
}

bool kith_volume_is_fs(uint32_t volume)
{
    return volume == KITH_VOLUME_FS || (volume >= NAMED && volume < RESERVED);
}
