/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * text.h - texts that grow: with a format, and of what comes from outside, escaped. */
#ifndef KITH_METRICS_TEXT_H
#define KITH_METRICS_TEXT_H

#include "base/buf.h"

/* At most KITH_TEXT_MAX bytes at a time; check buf->failed, which is set for more, too. */
#define KITH_TEXT_MAX 1024u
void kith_text_put(struct kith_buf *buf, const char *format, ...) KITH_PRINTF(2, 3);
/* As the value of a label, without the quotes around it: a backslash before backslashes and
 * quotes, \n for a line feed. What is not UTF-8, and other controls, come as \xNN. */
void kith_text_label(struct kith_buf *buf, const char *value);
/* As text or an attribute's value in HTML; what is not UTF-8, and controls, as \xNN. */
void kith_text_html(struct kith_buf *buf, const char *value);

#endif
