/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "text/figures.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"

void kith_format_bytes(uint64_t bytes, char ret_text[KITH_FORMAT_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint32_t unit = 0;
    uint64_t rest = 0;
    while (bytes >= 1024 && unit < 6) {
        rest = bytes % 1024;
        bytes /= 1024;
        unit++;
    }
    if (unit > 0 && bytes < 10) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu.%llu %s", (unsigned long long)bytes,
                       (unsigned long long)(rest * 10 / 1024), units[unit]);
    } else {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu %s", (unsigned long long)bytes,
                       units[unit]);
    }
}

void kith_format_count(uint64_t count, char ret_text[KITH_FORMAT_SIZE])
{
    char digits[KITH_FORMAT_SIZE];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    char *out = ret_text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *out++ = ' ';
        }
        *out++ = digits[i];
    }
    *out = '\0';
}

void kith_format_share(uint64_t part, uint64_t whole, char ret_text[KITH_FORMAT_SIZE])
{
    if (whole == 0) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "-");
        return;
    }
    while (part > UINT64_MAX / 2001) { /* no more digits are shown than that leaves */
        part /= 2;
        whole = whole / 2 + 1;
    }
    uint64_t permille = (part * 2000 / whole + 1) / 2;
    (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu.%llu%%", (unsigned long long)(permille / 10),
                   (unsigned long long)(permille % 10));
}

void kith_format_age(uint64_t ms, char ret_text[KITH_FORMAT_SIZE])
{
    uint64_t s = ms / 1000;
    if (s == 0) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "now");
    } else if (s < 120) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu s", (unsigned long long)s);
    } else if (s < 7200) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu m", (unsigned long long)(s / 60));
    } else if (s < 172800) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu h", (unsigned long long)(s / 3600));
    } else {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%llu d", (unsigned long long)(s / 86400));
    }
}

void kith_format_duration(uint64_t ns, char ret_text[KITH_FORMAT_SIZE])
{
    double us = (double)ns / 1000.0;
    (void)snprintf(ret_text, KITH_FORMAT_SIZE,
                   us < 999.5      ? "%.0f us"
                   : us < 9950     ? "%.1f ms"
                   : us < 999500   ? "%.0f ms"
                                   : "%.1f s",
                   us < 999.5    ? us
                   : us < 999500 ? us / 1000
                                 : us / 1000000);
}

void kith_format_time(uint64_t ms, char ret_text[KITH_FORMAT_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm broken;
    if (!gmtime_r(&seconds, &broken) ||
        strftime(ret_text, KITH_FORMAT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &broken) == 0) {
        (void)snprintf(ret_text, KITH_FORMAT_SIZE, "-");
    }
}

void kith_format_node(const struct kith_uuid *uuid, char ret_text[KITH_FORMAT_SIZE])
{
    (void)snprintf(ret_text, KITH_FORMAT_SIZE, "%02x%02x%02x%02x", uuid->bytes[0], uuid->bytes[1],
                   uuid->bytes[2], uuid->bytes[3]);
}

size_t kith_format_character(const uint8_t *at, size_t size)
{
    static const struct {
        uint8_t first, last, second_min, second_max; /* of the first byte; of the second */
        size_t length;
    } forms[] = {{0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
                 {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                 {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
                 {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (at[0] < forms[i].first || at[0] > forms[i].last) {
            continue;
        }
        bool good = forms[i].length <= size;
        for (size_t k = 1; good && k < forms[i].length; k++) {
            good = k == 1 ? at[k] >= forms[i].second_min && at[k] <= forms[i].second_max
                          : at[k] >= 0x80 && at[k] <= 0xbf;
        }
        return good ? forms[i].length : 0;
    }
    return 0;
}

void kith_format_text(struct kith_bytes bytes, struct kith_buf *out)
{
    for (size_t at = 0; at < bytes.size;) {
        const uint8_t *c = bytes.data + at;
        size_t length = kith_format_character(c, bytes.size - at);
        bool control = length == 0 || (length == 1 && (*c < ' ' || *c == 0x7f)) ||
                       (length == 2 && c[0] == 0xc2 && c[1] < 0xa0); /* U+0080 to U+009F */
        length = length > 0 ? length : 1;
        for (size_t i = 0; i < length; i++) {
            char text[8];
            int size = snprintf(text, sizeof(text), control ? "\\x%02x" : "%c", c[i]);
            kith_buf_put(out, text, (size_t)size);
        }
        at += length;
    }
}

void kith_print_escaped(FILE *out, struct kith_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            (void)fputc(c, out);
        } else {
            (void)fprintf(out, "\\x%02x", c);
        }
    }
}
