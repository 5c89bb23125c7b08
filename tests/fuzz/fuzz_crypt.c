/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as an encrypted block, as a key file and as DIR/encryption: nothing opens that was not
 * sealed here, and what is taken is what its text says. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/crypt_key.h"
#include "store/store_crypt.h"

static const struct kith_bytes place = {(const uint8_t *)"here", 4};
static const uint8_t plain[50];
static uint8_t sealed[sizeof plain + KITH_CRYPT_OVERHEAD];
static struct kith_crypt *crypt;

static void make(void)
{
    static const struct kith_crypt_key key = {{1}};
    static const uint8_t salt[KITH_CRYPT_SALT_SIZE];
    KITH_ASSERT(kith_crypt_new(&key, salt, &crypt) == KITH_OK);
    KITH_ASSERT(kith_crypt_seal(crypt, place, kith_bytes_make(plain, sizeof plain), sealed) ==
                KITH_OK);
}

static void open_block(struct kith_bytes bytes)
{
    uint8_t *out = kith_malloc(bytes.size + 1);
    KITH_ASSERT(out != NULL);
    enum kith_err err = kith_crypt_open(crypt, place, bytes, out);
    bool ours = bytes.size == sizeof sealed && memcmp(bytes.data, sealed, sizeof sealed) == 0;
    KITH_ASSERT(!ours || err == KITH_OK);
    KITH_ASSERT(err == KITH_OK || err == KITH_ECORRUPT || err == KITH_EVERSION);
    /* or an earlier run has sealed it, and the corpus kept it: the key is the same */
    KITH_ASSERT(err != KITH_OK ||
                (bytes.size == sizeof sealed && memcmp(out, plain, sizeof plain) == 0));
    kith_free(out);
}

static void read_texts(struct kith_bytes bytes)
{
    struct kith_crypt_key key;
    struct store_crypt_notes notes;
    if (kith_crypt_key_parse(bytes, &key) == KITH_OK) {
        KITH_ASSERT(bytes.size == 32 || bytes.size == 64 || bytes.size == 65);
    }
    if (store_crypt_parse(bytes, &notes) == KITH_OK) {
        KITH_ASSERT(bytes.size == 20 + 5 + 64 + 1 + 6 + 64 + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_bytes bytes = kith_bytes_make(data, size);
    if (crypt == NULL) {
        make();
    }
    open_block(bytes);
    read_texts(bytes);
    return 0;
}

size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    static const char digits[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    if (crypt == NULL) {
        make();
    }
    if (number == 0) {
        memcpy(data, sealed, sizeof sealed);
        return sizeof sealed;
    }
    int size = number == 1   ? snprintf((char *)data, KITH_FUZZ_SEED_MAX, "%s\n", digits)
               : number == 2 ? snprintf((char *)data, KITH_FUZZ_SEED_MAX,
                                        "kithfs encryption 1\nsalt %s\ncheck %s\n", digits, digits)
                             : 0;
    return (size_t)size;
}
