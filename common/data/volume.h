/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * volume.h - trees apart from each other, and the numbers by which keys tell them apart.
 *
 * A volume's number follows from its name, so that all mounts, nodes and authorities mean the same one
 * without asking anybody. Two names may share a number, though hardly ever: who makes the second one
 * finds that out ('kithctl volume create'). Pure; any thread. Checked by tests/unit/test_volume.c. */
#ifndef KITH_DATA_VOLUME_H
#define KITH_DATA_VOLUME_H

#include "data/key.h"

#define KITH_VOLUME_NAME_MAX  64u
#define KITH_VOLUME_NAME_SIZE (KITH_VOLUME_NAME_MAX + 1u)
#define KITH_VOLUME_TEXT_SIZE 11u
#define KITH_VOLUME_NAME_RULE                                                                      \
    "a volume's name has 1 to 64 letters, digits, '.', '_' or '-', does not begin with '.' or "    \
    "'-', and is no number"

/* Whether a tree may be called so, "fs" included; "kv" is none: no tree. */
bool kith_volume_name_fits(const char *name);
/* Of a name that fits: KITH_VOLUME_FS for "fs"; else 32 bits of its XXH3 with the top bit set, none of
 * those that key.h reserves. Fixed for ever: rows and certificates name it. */
uint32_t kith_volume_number(const char *name);
/* The group of its root directory, which has no name. */
struct kith_group kith_volume_root(uint32_t volume);
/* For people: "fs", "kv", or the number; a name cannot be told from it. */
void kith_volume_text(uint32_t volume, char ret_text[KITH_VOLUME_TEXT_SIZE]);
/* Whether it holds a tree of files: rows there are inodes, whose versions may be in conflict. */
bool kith_volume_is_fs(uint32_t volume);

#endif
