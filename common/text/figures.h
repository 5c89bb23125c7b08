/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * figures.h - figures and bytes as people and programs read them. Pure; any thread. Checked by
 * tests/unit/test_format.c. */
#ifndef KITH_TEXT_FIGURES_H
#define KITH_TEXT_FIGURES_H

#include <stdio.h>

#include "data/key.h"

#define KITH_FORMAT_SIZE 32u /* bytes that any of these texts takes at most, with the NUL */

/* "0 B", "412 GiB", "1.5 KiB": three digits at most. */
void kith_format_bytes(uint64_t bytes, char ret_text[KITH_FORMAT_SIZE]);
/* "1 204 567": in threes. */
void kith_format_count(uint64_t count, char ret_text[KITH_FORMAT_SIZE]);
/* "25.0%" of the whole, rounded; "-" of nothing. */
void kith_format_share(uint64_t part, uint64_t whole, char ret_text[KITH_FORMAT_SIZE]);
/* "now" below a second, then "12 s", "14 m", "3 h", "2 d". */
void kith_format_age(uint64_t ms, char ret_text[KITH_FORMAT_SIZE]);
/* "210 us", "1.2 ms", "34 ms", "5.0 s": how long something short took. */
void kith_format_duration(uint64_t ns, char ret_text[KITH_FORMAT_SIZE]);
/* "2026-11-20T18:02:33Z" of milliseconds since 1970. */
void kith_format_time(uint64_t ms, char ret_text[KITH_FORMAT_SIZE]);
/* The first 8 hex digits of a uuid: what a node is called on a screen. */
void kith_format_node(const struct kith_uuid *uuid, char ret_text[KITH_FORMAT_SIZE]);

/* The bytes of the UTF-8 character (RFC 3629) at the beginning, 0 where there is none. */
size_t kith_format_character(const uint8_t *at, size_t size);
/* Bytes for people, of a name as they wrote it: UTF-8 as it is, controls and what is no UTF-8 as
 * \xNN. */
void kith_format_text(struct kith_bytes bytes, struct kith_buf *out);
/* Bytes for a terminal: what is not printable ASCII as \xNN. */
void kith_print_escaped(FILE *out, struct kith_bytes bytes);

#endif
