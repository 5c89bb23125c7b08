/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * wire_impl.h - the tables that describe messages, shared by the encoder (wire.c) and the decoder
 * (wire_read.c) of wire.h.
 *
 * One row a field: its number in proto/, its type, where it lies in the struct of msg.h, and its
 * limit. Encoder and decoder walk the same table, so they cannot disagree; tests/unit/test_wire.c
 * checks the tables against the code that protobuf-c makes from proto/. Going through protobuf-c's
 * own structs would cost an allocation and a copy for each field. */
#ifndef KITH_WIRE_IMPL_H
#define KITH_WIRE_IMPL_H

#include "wire/wire.h"

enum wire_type {
    WIRE_U32 = 1,   /* uint32_t or an enum; varint, at most `max` */
    WIRE_U64,       /* uint64_t; varint */
    WIRE_BOOL,      /* bool; varint */
    WIRE_U8,        /* uint8_t; varint */
    WIRE_FIXED64,   /* uint64_t; 8 bytes */
    WIRE_ARRAY,     /* `size` bytes in place; absent = all zero */
    WIRE_BYTES,     /* struct kith_bytes, at most `max` */
    WIRE_STRING,    /* const char *, at most `max` bytes; never NULL when decoded */
    WIRE_TEXT,      /* char[size] with its NUL */
    WIRE_SUB,       /* a struct in place */
    WIRE_SUB_IF,    /* a struct in place and a bool at `extra` that says whether it is there */
    WIRE_SUBS,      /* pointer to structs, uint32_t count at `extra`, at most `max` */
    WIRE_ARRAYS,    /* pointer to arrays of `size` bytes, count at `extra`, at most `max` */
    WIRE_BYTESES,   /* pointer to struct kith_bytes of at most `size`, count at `extra`, at most
                       `max` */
};

struct wire_field {
    uint8_t number; /* fields of a table are 1, 2, 3 .. without a gap */
    uint8_t type;   /* enum wire_type */
    uint16_t offset;
    uint16_t extra;
    uint32_t size;
    uint32_t max;
    const struct wire_desc *sub;
    const char *name; /* as in proto/ */
};

#define WIRE_FIELDS_MAX      63u /* of one message: one bit in a mask */
#define WIRE_LIST_FIELDS_MAX 16u /* of one with lists: a counter for each */

struct wire_desc {
    const char *name; /* as in proto/ */
    uint32_t size;    /* of the struct */
    uint8_t count;
    bool has_lists;   /* some field may repeat: the decoder counts before it allocates */
    bool has_strings; /* itself or in place below: they are "" and not NULL when absent */
    const struct wire_field *fields;
};

/* The table of a kind, NULL for a number that is none. */
const struct wire_desc *wire_desc_of(enum kith_msg_kind kind);
/* Where the kind's struct lies in the message. */
void *wire_body_of(struct kith_msg *msg);

#define WIRE_BULK_PAYLOAD 100u /* BulkFrame.payload */

/* A pointer member of whatever type, read and written through this one. */
typedef const void *__attribute__((may_alias)) wire_pointer;

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };

/* Whether text is UTF-8 without NUL. */
bool wire_utf8_valid(const uint8_t *text, size_t size);

#endif
