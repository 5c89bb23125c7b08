/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/format.h"

#include <string.h>

#include "base/alloc.h"

/* RFC 4648, section 4. The caller frees it; NULL when memory is short. */
static char *base64(struct kith_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = kith_malloc((bytes.size + 2) / 3 * 4 + 1);
    char *out = text;
    for (size_t at = 0; text && at < bytes.size; at += 3) {
        size_t left = bytes.size - at;
        uint32_t three = (uint32_t)bytes.data[at] << 16 |
                         (left > 1 ? (uint32_t)bytes.data[at + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)bytes.data[at + 2] : 0);
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    if (text) {
        *out = '\0';
    }
    return text;
}

enum kith_err kith_json_bytes(json_t *object, const char *name, struct kith_bytes bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, bytes.size); /* NULL: no UTF-8 */
    if (!text && bytes.size == 0) {
        text = json_string("");
    }
    if (text) {
        return json_object_set_new(object, name, text) == 0 ? KITH_OK : KITH_ENOMEM;
    }
    char longer[64];
    char *encoded = base64(bytes);
    (void)snprintf(longer, sizeof(longer), "%s_base64", name);
    int failed = encoded ? json_object_set_new(object, longer, json_string(encoded)) : -1;
    kith_free(encoded);
    return failed == 0 ? KITH_OK : KITH_ENOMEM;
}

json_t *kith_json_text(const char *text, size_t size)
{
    struct kith_buf good;
    kith_buf_init(&good);
    for (size_t at = 0; at < size;) {
        size_t length = kith_format_character((const uint8_t *)text + at, size - at);
        if (length > 0) {
            kith_buf_put(&good, text + at, length);
        } else {
            kith_buf_put(&good, "\xef\xbf\xbd", 3);
        }
        at += length > 0 ? length : 1;
    }
    json_t *string = good.failed ? NULL
                     : size == 0 ? json_string("")
                                 : json_stringn((const char *)good.data, good.size);
    kith_buf_release(&good);
    return string;
}

json_t *kith_json_named(const char *name, const char *text, json_t *rest)
{
    json_t *object = rest ? json_object() : NULL;
    if (!object || kith_json_bytes(object, name, kith_bytes_make(text, strlen(text))) != KITH_OK ||
        json_object_update(object, rest) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(rest);
    return object;
}

enum kith_err kith_json_print(json_t *value, struct kith_error *error)
{
    if (!value) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    int failed = json_dumpf(value, stdout, JSON_INDENT(2));
    json_decref(value);
    return failed || printf("\n") < 0
               ? kith_error_set(error, KITH_EIO, "cannot write to standard output")
               : KITH_OK;
}
