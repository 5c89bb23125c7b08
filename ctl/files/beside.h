/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * beside.h - the versions of a file as a mount shows them: the file, and those beside it. The mount
 * says which they are (user.kith.versions, fs/files/xattr_own.c). */
#ifndef KITH_CTL_BESIDE_H
#define KITH_CTL_BESIDE_H

#include <jansson.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "ctl/ctl.h"
#include "data/key.h"

struct kith_beside_version {
    uint32_t number;  /* from 1 on: the one that bears the name */
    const char *time; /* 2026-11-21T01:30:00Z; "-": not known, and so the writer's */
    const char *writer;
    uint64_t size;
    const char *name;
    const char *path; /* how it is reached */
};

/* In an arena. */
struct kith_beside {
    const char *dir;  /* the directory, real */
    const char *base; /* the name in it */
    struct stat stat; /* of versions[0] */
    bool told;        /* it is told how far a copy is */
    uint32_t count;   /* at least 1 */
    struct kith_beside_version *versions;
};

/* What the mount says. `dir` goes before the names. EFORMAT, ENOMEM. Pure. */
KITH_MUST_CHECK enum kith_err kith_beside_parse(struct kith_arena *arena, const char *dir,
                                                struct kith_bytes text,
                                                struct kith_beside_version **ret_versions,
                                                uint32_t *ret_count);
/* Whether `name` is beside `base` what `made`, from which only the base differs, is beside another
 * name of the same file. Pure. */
bool kith_beside_same(const char *name, const char *base, const char *made);
/* Of the file at `path`, which must be one of a mount: ENOTFOUND, EINVAL, EREFUSED, EIO with what
 * to do. */
KITH_MUST_CHECK enum kith_err kith_beside_read(const struct kith_ctl_args *args,
                                               struct kith_arena *arena, const char *path,
                                               struct kith_beside *ret_beside,
                                               struct kith_error *error);
/* The numbered list. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_beside_print(const struct kith_beside *beside, FILE *out);
/* An array of them. NULL: memory is short. */
json_t *kith_beside_json(const struct kith_beside *beside);

#endif
