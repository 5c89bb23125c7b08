/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/crypt_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/pem_file.h"

#define FILE_MAX  4096u
#define PATH_SIZE 4096u

static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

enum kith_err kith_crypt_key_parse(struct kith_bytes bytes, struct kith_crypt_key *ret_key)
{
    struct kith_crypt_key key;
    size_t digits = 2 * sizeof key.bytes;
    if (bytes.size == sizeof key.bytes) {
        memcpy(ret_key->bytes, bytes.data, sizeof key.bytes);
        return KITH_OK;
    }
    bool hex = bytes.size == digits || (bytes.size == digits + 1 && bytes.data[digits] == '\n');
    for (size_t i = 0; hex && i < sizeof key.bytes; i++) {
        int high = digit_of(bytes.data[2 * i]), low = digit_of(bytes.data[2 * i + 1]);
        hex = high >= 0 && low >= 0;
        key.bytes[i] = (uint8_t)(hex ? high << 4 | low : 0);
    }
    if (hex) {
        *ret_key = key;
    }
    kith_crypt_wipe(&key, sizeof key);
    return hex ? KITH_OK : KITH_EFORMAT;
}

enum kith_err kith_crypt_key_load(const char *path, struct kith_crypt_key *ret_key,
                                  struct kith_error *error)
{
    char credential[PATH_SIZE];
    const char *directory = path ? NULL : getenv("CREDENTIALS_DIRECTORY");
    if (!path && (!directory || directory[0] == '\0')) {
        return kith_error_set(
            error, KITH_EINVAL,
            "encrypt needs a key: name its file with --encrypt-key (in a file: encrypt_key, "
            "in [store]), or let systemd bring the credential " KITH_CRYPT_CREDENTIAL);
    }
    if (!path) {
        snprintf(credential, sizeof credential, "%s/%s", directory, KITH_CRYPT_CREDENTIAL);
        path = credential;
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    /* the modes of credentials are systemd's: it lets the service's user read them by an ACL */
    enum kith_err err =
        kith_pem_read(path, directory ? KITH_PEM_PUBLIC : KITH_PEM_SECRET, FILE_MAX, &buf, error);
    if (err == KITH_OK && kith_crypt_key_parse(kith_buf_bytes(&buf), ret_key) != KITH_OK) {
        err = kith_error_set(
            error, KITH_EINVAL,
            "%s: no key: it has %zu bytes; 32 random bytes, or 64 hexadecimal digits, are wanted "
            "(head -c 32 /dev/urandom)",
            path, buf.size);
    }
    kith_pem_wipe(&buf);
    return err;
}
