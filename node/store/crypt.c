/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A key costs a derivation (HKDF) and a key schedule, some microseconds together; so contexts that
 * have theirs are kept, a few of each key in use, and taken by whoever has a block of that key. */
#include "store/crypt.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define ID_SIZE      16u
#define NONCE_SIZE   12u
#define CONTEXTS_MAX 64u /* kept; some 1 KiB each */
#define BLOCK_MAX    (UINT64_C(1) << 30)

_Static_assert(1 + ID_SIZE + NONCE_SIZE == KITH_CRYPT_HEAD, "the head of a block");

/* Of one key and direction. */
struct context {
    EVP_CIPHER_CTX *evp;
    uint8_t id[ID_SIZE];
    bool seals;
};

struct kith_crypt {
    struct kith_crypt_key key; /* the store's */
    EVP_CIPHER *cipher;
    pthread_mutex_t lock; /* held for moments */
    uint8_t id[ID_SIZE];  /* protected by lock, like all below: under which blocks are sealed now */
    uint64_t uses;        /* of it */
    uint32_t count;
    struct context contexts[CONTEXTS_MAX]; /* that nobody uses; the last used at the end */
};

static struct kith_bytes text_of(const char *text)
{
    return kith_bytes_make(text, strlen(text));
}

static enum kith_err derive(struct kith_bytes secret, struct kith_bytes salt, const char *what,
                            uint8_t out[KITH_CRYPT_KEY_SIZE])
{
    struct kith_bytes info = text_of(what);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret.data,
                                          secret.size),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt.data,
                                          salt.size),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info.data,
                                          info.size),
        OSSL_PARAM_construct_end()};
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool good = ctx && EVP_KDF_derive(ctx, out, KITH_CRYPT_KEY_SIZE, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return good ? KITH_OK : KITH_EIO;
}

enum kith_err kith_crypt_random(void *out, size_t size)
{
    return RAND_bytes(out, (int)size) == 1 ? KITH_OK : KITH_EIO;
}

void kith_crypt_wipe(void *bytes, size_t size)
{
    OPENSSL_cleanse(bytes, size);
}

enum kith_err kith_crypt_check(const struct kith_crypt_key *master,
                               const uint8_t salt[KITH_CRYPT_SALT_SIZE],
                               uint8_t ret_check[KITH_CRYPT_KEY_SIZE])
{
    return derive(kith_bytes_make(master->bytes, sizeof master->bytes),
                  kith_bytes_make(salt, KITH_CRYPT_SALT_SIZE), "kithfs check 1", ret_check);
}

enum kith_err kith_crypt_new(const struct kith_crypt_key *master,
                             const uint8_t salt[KITH_CRYPT_SALT_SIZE],
                             struct kith_crypt **ret_crypt)
{
    struct kith_crypt *crypt = kith_calloc(1, sizeof *crypt);
    if (crypt == NULL) {
        return KITH_ENOMEM;
    }
    KITH_ASSERT(pthread_mutex_init(&crypt->lock, NULL) == 0);
    crypt->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    crypt->uses = KITH_CRYPT_KEY_USES; /* the first block draws an id */
    enum kith_err err = crypt->cipher == NULL ? KITH_EIO : KITH_OK;
    if (err == KITH_OK) {
        err =
            derive(kith_bytes_make(master->bytes, sizeof master->bytes),
                   kith_bytes_make(salt, KITH_CRYPT_SALT_SIZE), "kithfs store 1", crypt->key.bytes);
    }
    if (err != KITH_OK) {
        kith_crypt_free(crypt);
        return err;
    }
    *ret_crypt = crypt;
    return KITH_OK;
}

void kith_crypt_free(struct kith_crypt *crypt)
{
    if (crypt == NULL) {
        return;
    }
    for (uint32_t i = 0; i < crypt->count; i++) {
        EVP_CIPHER_CTX_free(crypt->contexts[i].evp); /* wipes its key */
    }
    EVP_CIPHER_free(crypt->cipher);
    pthread_mutex_destroy(&crypt->lock);
    kith_crypt_wipe(&crypt->key, sizeof crypt->key);
    kith_free(crypt);
}

void kith_crypt_age(struct kith_crypt *crypt, uint64_t blocks)
{
    pthread_mutex_lock(&crypt->lock);
    crypt->uses += blocks;
    pthread_mutex_unlock(&crypt->lock);
}

/* ---- Contexts ---- */

/* One that is kept for the id, or a new one, which has no key yet (*ret_ready false). */
static struct context take_context(struct kith_crypt *crypt, const uint8_t id[ID_SIZE], bool seals,
                                   bool *ret_ready)
{
    struct context found = {.evp = NULL};
    pthread_mutex_lock(&crypt->lock);
    for (uint32_t i = crypt->count; i > 0 && found.evp == NULL; i--) {
        struct context *context = &crypt->contexts[i - 1];
        if (context->seals == seals && memcmp(context->id, id, ID_SIZE) == 0) {
            found = *context;
            crypt->count--;
            memmove(context, context + 1, (crypt->count - (i - 1)) * sizeof *context);
        }
    }
    pthread_mutex_unlock(&crypt->lock);
    *ret_ready = found.evp != NULL;
    if (found.evp == NULL) {
        found.evp = EVP_CIPHER_CTX_new();
        found.seals = seals;
        memcpy(found.id, id, ID_SIZE);
    }
    return found;
}

/* The one that nobody has used for longest goes where there are too many. */
static void give_back(struct kith_crypt *crypt, const struct context *context)
{
    EVP_CIPHER_CTX *spare = NULL;
    pthread_mutex_lock(&crypt->lock);
    if (crypt->count == CONTEXTS_MAX) {
        spare = crypt->contexts[0].evp;
        crypt->count--;
        memmove(crypt->contexts, crypt->contexts + 1, crypt->count * sizeof *crypt->contexts);
    }
    crypt->contexts[crypt->count++] = *context;
    pthread_mutex_unlock(&crypt->lock);
    EVP_CIPHER_CTX_free(spare);
}

static enum kith_err give_key(struct kith_crypt *crypt, struct context *context)
{
    uint8_t key[KITH_CRYPT_KEY_SIZE];
    enum kith_err err = derive(kith_bytes_make(crypt->key.bytes, sizeof crypt->key.bytes),
                               kith_bytes_make(context->id, ID_SIZE), "kithfs block 1", key);
    if (err == KITH_OK && EVP_CipherInit_ex2(context->evp, crypt->cipher, key, NULL,
                                             context->seals ? 1 : 0, NULL) != 1) {
        err = KITH_EIO;
    }
    kith_crypt_wipe(key, sizeof key);
    return err;
}

/* A context for the block with that head: its key, its nonce, and what the tag is of beside the
 * text. */
static enum kith_err begin(struct kith_crypt *crypt, const uint8_t head[KITH_CRYPT_HEAD],
                           struct kith_bytes place, bool seals, struct context *ret_context)
{
    bool ready = false;
    struct context context = take_context(crypt, head + 1, seals, &ready);
    if (context.evp == NULL) {
        return KITH_ENOMEM;
    }
    int size = 0;
    enum kith_err err = ready ? KITH_OK : give_key(crypt, &context);
    if (err == KITH_OK &&
        (EVP_CipherInit_ex2(context.evp, NULL, NULL, head + 1 + ID_SIZE, -1, NULL) != 1 ||
         EVP_CipherUpdate(context.evp, NULL, &size, head, 1 + ID_SIZE) != 1 ||
         EVP_CipherUpdate(context.evp, NULL, &size, place.data, (int)place.size) != 1)) {
        err = KITH_EIO;
    }
    if (err != KITH_OK) {
        EVP_CIPHER_CTX_free(context.evp);
        return err;
    }
    *ret_context = context;
    return KITH_OK;
}

/* ---- Blocks ---- */

static enum kith_err make_head(struct kith_crypt *crypt, uint8_t head[KITH_CRYPT_HEAD])
{
    enum kith_err err = KITH_OK;
    pthread_mutex_lock(&crypt->lock);
    if (crypt->uses >= KITH_CRYPT_KEY_USES) {
        err = kith_crypt_random(crypt->id, sizeof crypt->id);
        crypt->uses = err == KITH_OK ? 0 : crypt->uses;
    }
    crypt->uses++;
    head[0] = KITH_CRYPT_FORMAT;
    memcpy(head + 1, crypt->id, ID_SIZE);
    pthread_mutex_unlock(&crypt->lock);
    return err == KITH_OK ? kith_crypt_random(head + 1 + ID_SIZE, NONCE_SIZE) : err;
}

enum kith_err kith_crypt_seal(struct kith_crypt *crypt, struct kith_bytes place,
                              struct kith_bytes plain, uint8_t *out)
{
    struct context context;
    if (plain.size > BLOCK_MAX) {
        return KITH_ETOOBIG;
    }
    enum kith_err err = make_head(crypt, out);
    if (err == KITH_OK) {
        err = begin(crypt, out, place, true, &context);
    }
    if (err != KITH_OK) {
        return err;
    }
    int size = 0, rest = 0;
    uint8_t *text = out + KITH_CRYPT_HEAD;
    bool good = (plain.size == 0 ||
                 EVP_CipherUpdate(context.evp, text, &size, plain.data, (int)plain.size) == 1) &&
                EVP_CipherFinal_ex(context.evp, text + size, &rest) == 1 &&
                EVP_CIPHER_CTX_ctrl(context.evp, EVP_CTRL_AEAD_GET_TAG, KITH_CRYPT_TAG,
                                    text + plain.size) == 1;
    if (!good) {
        EVP_CIPHER_CTX_free(context.evp);
        return KITH_EIO;
    }
    give_back(crypt, &context);
    return KITH_OK;
}

/* From `text` to `out`, which may be the same. */
static enum kith_err open_block(struct kith_crypt *crypt, struct kith_bytes place,
                                const uint8_t head[KITH_CRYPT_HEAD],
                                const uint8_t tag[KITH_CRYPT_TAG], const uint8_t *text, size_t size,
                                uint8_t *out)
{
    struct context context;
    if (head[0] != KITH_CRYPT_FORMAT) {
        return head[0] > KITH_CRYPT_FORMAT ? KITH_EVERSION : KITH_ECORRUPT;
    }
    if (size > BLOCK_MAX) {
        return KITH_ECORRUPT;
    }
    enum kith_err err = begin(crypt, head, place, false, &context);
    if (err != KITH_OK) {
        return err;
    }
    int got = 0, rest = 0;
    bool good = (size == 0 || EVP_CipherUpdate(context.evp, out, &got, text, (int)size) == 1) &&
                EVP_CIPHER_CTX_ctrl(context.evp, EVP_CTRL_AEAD_SET_TAG, KITH_CRYPT_TAG,
                                    (void *)(uintptr_t)tag) == 1;
    if (!good) {
        EVP_CIPHER_CTX_free(context.evp);
        return KITH_EIO;
    }
    good = EVP_CipherFinal_ex(context.evp, out + got, &rest) == 1;
    give_back(crypt, &context);
    if (!good && size > 0) {
        memset(out, 0, size); /* nobody reads what is not authentic */
    }
    return good ? KITH_OK : KITH_ECORRUPT;
}

enum kith_err kith_crypt_open(struct kith_crypt *crypt, struct kith_bytes place,
                              struct kith_bytes sealed, uint8_t *out)
{
    if (sealed.size < KITH_CRYPT_OVERHEAD) {
        return KITH_ECORRUPT;
    }
    size_t size = sealed.size - KITH_CRYPT_OVERHEAD;
    const uint8_t *text = sealed.data + KITH_CRYPT_HEAD;
    return open_block(crypt, place, sealed.data, text + size, text, size, out);
}

enum kith_err kith_crypt_open_parts(struct kith_crypt *crypt, struct kith_bytes place,
                                    const uint8_t head[KITH_CRYPT_HEAD],
                                    const uint8_t tag[KITH_CRYPT_TAG], uint8_t *text, size_t size)
{
    return open_block(crypt, place, head, tag, text, size, text);
}
