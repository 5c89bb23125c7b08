/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/figures.h"

void kith_text_put(struct kith_buf *buf, const char *format, ...)
{
    va_list args;
    if (!kith_buf_reserve(buf, KITH_TEXT_MAX)) {
        return;
    }
    va_start(args, format);
    int length = vsnprintf((char *)buf->data + buf->size, KITH_TEXT_MAX, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= KITH_TEXT_MAX) {
        buf->failed = true;
        return;
    }
    buf->size += (size_t)length;
}

static void put(struct kith_buf *buf, const char *text)
{
    kith_buf_put(buf, text, strlen(text));
}

/* `one`, or what stands for it. */
static void escaped(struct kith_buf *buf, const char *value, void (*one)(struct kith_buf *, char))
{
    struct kith_buf clean;
    kith_buf_init(&clean);
    kith_format_text(kith_bytes_make(value, strlen(value)), &clean);
    for (size_t i = 0; i < clean.size; i++) {
        one(buf, (char)clean.data[i]);
    }
    buf->failed = buf->failed || clean.failed;
    kith_buf_release(&clean);
}

static void label_one(struct kith_buf *buf, char one)
{
    if (one == '\\' || one == '"') {
        kith_buf_put_u8(buf, '\\');
    }
    kith_buf_put_u8(buf, (uint8_t)one);
}

void kith_text_label(struct kith_buf *buf, const char *value)
{
    escaped(buf, value, label_one);
}

static void html_one(struct kith_buf *buf, char one)
{
    switch (one) {
    case '&':
        put(buf, "&amp;");
        break;
    case '<':
        put(buf, "&lt;");
        break;
    case '>':
        put(buf, "&gt;");
        break;
    case '"':
        put(buf, "&quot;");
        break;
    case '\'':
        put(buf, "&#39;");
        break;
    default:
        kith_buf_put_u8(buf, (uint8_t)one);
    }
}

void kith_text_html(struct kith_buf *buf, const char *value)
{
    escaped(buf, value, html_one);
}
