/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * words.h - a request of the kernel, as its bytes come, in words: what it asks of what.
 *
 * Pure; any thread. Bytes that are too short, or of a later kernel, give fewer words. Checked by
 * tests/unit/test_words.c. */
#ifndef KITH_FS_CONTROL_WORDS_H
#define KITH_FS_CONTROL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_WORDS_ARGS_SIZE 128u

struct kith_words {
    uint32_t opcode, uid, gid, pid;
    uint64_t unique, node;
    const char *op;   /* static */
    const char *name; /* in `node`; NULL: it is asked of the node itself. Borrowed, as the next */
    const char *relation; /* of a second one: "to", "of"; NULL: there is none */
    uint64_t node2;       /* 0: `name2` is no name in a directory (the target of a symlink) */
    const char *name2;    /* NULL: the node itself */
    char args[KITH_WORDS_ARGS_SIZE]; /* "size=4096 offset=0", "" */
};

/* "lookup" ...; "other" for what is not known. Static. */
const char *kith_words_op(uint32_t opcode);
/* Nobody answers requests of this kind. */
bool kith_words_unanswered(uint32_t opcode);
/* False: these are no request. */
bool kith_words_read(const void *request, size_t size, struct kith_words *ret_words);

#endif
