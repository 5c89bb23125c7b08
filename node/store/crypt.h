/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * crypt.h - what a node writes to its disk, encrypted and authenticated: AES-256-GCM.
 *
 * A sealed block:
 *
 *     u8   format, KITH_CRYPT_FORMAT
 *     16   key id, random
 *     12   nonce, random
 *     ...  the ciphertext, as long as the contents
 *     16   tag
 *
 * The tag is of the ciphertext, of format and key id, and of a PLACE that the caller names and that
 * is not stored: what belongs somewhere else does not open here.
 *
 * KEYS. The master key encrypts nothing. HKDF-SHA256 (RFC 5869) makes of it, with the store's
 * random salt, the store's key, and of that, with the key id as salt, the key of a block. A store
 * draws a key id when it is opened, and another one after KITH_CRYPT_KEY_USES blocks.
 *
 * WHY. With one key, a nonce that is used twice gives both contents and the key of the tags away.
 * NIST SP 800-38D, 8.3, allows 2^32 blocks under random nonces of 96 bits, for which two of them
 * are alike with a chance of 2^-32. Each commit is a block in the log, and a node commits 25,000 a
 * second: 2^32 would be two days. With 2^28 blocks a key that chance is 2^-41 for each key; it
 * lasts three hours or more, and the ids, of 128 bits, never meet. Also a store that was copied, or
 * put back from a copy, goes on under an id of its own. (A process that was copied with its memory,
 * as of a virtual machine, draws the same nonces until its generator is seeded again; kithd.8 says
 * so.)
 *
 * Any thread. Checked by tests/unit/test_crypt.c. */
#ifndef KITH_SHELL_CRYPT_H
#define KITH_SHELL_CRYPT_H

#include "base/buf.h"
#include "base/err.h"

#define KITH_CRYPT_FORMAT    1u
#define KITH_CRYPT_KEY_SIZE  32u
#define KITH_CRYPT_SALT_SIZE 32u
#define KITH_CRYPT_HEAD      29u /* format, key id, nonce */
#define KITH_CRYPT_TAG       16u
#define KITH_CRYPT_OVERHEAD  (KITH_CRYPT_HEAD + KITH_CRYPT_TAG)
#define KITH_CRYPT_KEY_USES  (UINT64_C(1) << 28)

struct kith_crypt_key {
    uint8_t bytes[KITH_CRYPT_KEY_SIZE];
};

struct kith_crypt;

/* For one store. ENOMEM; EIO: the library fails. */
KITH_MUST_CHECK enum kith_err kith_crypt_new(const struct kith_crypt_key *master,
                                             const uint8_t salt[KITH_CRYPT_SALT_SIZE],
                                             struct kith_crypt **ret_crypt);
/* Its keys are wiped. NULL is none. */
void kith_crypt_free(struct kith_crypt *crypt);
/* Of master key and salt: tells whether a key is the one, and nothing else about it. EIO. */
KITH_MUST_CHECK enum kith_err kith_crypt_check(const struct kith_crypt_key *master,
                                               const uint8_t salt[KITH_CRYPT_SALT_SIZE],
                                               uint8_t ret_check[KITH_CRYPT_KEY_SIZE]);
/* Random bytes for keys. EIO. */
KITH_MUST_CHECK enum kith_err kith_crypt_random(void *out, size_t size);
/* Overwrites in a way that no compiler leaves out. */
void kith_crypt_wipe(void *bytes, size_t size);

/* `plain` sealed into `out`, which has room for plain.size + KITH_CRYPT_OVERHEAD and does not
 * overlap it. ETOOBIG above 2^30 bytes; ENOMEM; EIO. */
KITH_MUST_CHECK enum kith_err kith_crypt_seal(struct kith_crypt *crypt, struct kith_bytes place,
                                              struct kith_bytes plain, uint8_t *out);
/* The contents of a sealed block, sealed.size - KITH_CRYPT_OVERHEAD bytes, into `out`, which is
 * apart from it. ECORRUPT: it was changed, belongs elsewhere, or was sealed under another master
 * key (then `out` has zeros); EVERSION: a format of a later program; ENOMEM; EIO. */
KITH_MUST_CHECK enum kith_err kith_crypt_open(struct kith_crypt *crypt, struct kith_bytes place,
                                              struct kith_bytes sealed, uint8_t *out);
/* The same in parts; `text` becomes the contents in place. */
KITH_MUST_CHECK enum kith_err kith_crypt_open_parts(struct kith_crypt *crypt,
                                                    struct kith_bytes place,
                                                    const uint8_t head[KITH_CRYPT_HEAD],
                                                    const uint8_t tag[KITH_CRYPT_TAG],
                                                    uint8_t *text, size_t size);

/* For tests: as if so many blocks had been sealed under the key of now. */
void kith_crypt_age(struct kith_crypt *crypt, uint64_t blocks);

#endif
