/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * effect.c - how effects are made: from fixed pools, so that making one never fails.
 *
 * KITH_STEP_EFFECTS bounds what one step can ask for; running past it is a bug in the core. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

static struct kith_effect *effect_add(struct kith_node *node, enum kith_effect_kind kind)
{
    KITH_ASSERT(node->effect_count < KITH_STEP_EFFECTS);
    struct kith_effect *effect = &node->effects[node->effect_count];
    memset(effect, 0, sizeof *effect);
    effect->kind = kind;
    node->effect_count++;
    return effect;
}

struct kith_msg *core_send(struct kith_node *node, uint64_t conn, enum kith_msg_kind kind,
                           uint64_t id)
{
    struct kith_msg *msg = &node->msgs[node->effect_count];
    struct kith_effect *effect = effect_add(node, KITH_EFFECT_SEND);
    memset(msg, 0, sizeof *msg);
    msg->kind = kind;
    msg->id = id;
    effect->conn = conn;
    effect->msg = msg;
    return msg;
}

struct kith_store_op *core_store(struct kith_node *node, struct pending *pending,
                                 enum kith_store_kind kind, uint32_t partition)
{
    KITH_ASSERT(!pending->op_out);
    struct kith_store_op *op = &node->ops[node->effect_count];
    struct kith_effect *effect = effect_add(node, KITH_EFFECT_STORE);
    memset(op, 0, sizeof *op);
    op->id = pending->id;
    op->kind = kind;
    op->partition = partition;
    effect->op = op;
    pending->op_out = true;
    if (kind == KITH_STORE_PUT || kind == KITH_STORE_MERGE || kind == KITH_STORE_CHUNK_PUT ||
        kind == KITH_STORE_ABSORB) {
        node->writes_out++;
        pending->writing = true;
    }
    return op;
}

void core_connect(struct kith_node *node, uint64_t conn, const char *address)
{
    struct kith_effect *effect = effect_add(node, KITH_EFFECT_CONNECT);
    effect->conn = conn;
    effect->address = address;
}

void core_connect_bulk(struct kith_node *node, uint64_t conn, const char *address)
{
    core_connect(node, conn, address);
    node->effects[node->effect_count - 1].cls = KITH_CONN_BULK;
}

void core_close(struct kith_node *node, uint64_t conn, const char *reason)
{
    struct kith_effect *effect = effect_add(node, KITH_EFFECT_CLOSE);
    effect->conn = conn;
    effect->reason = reason;
}

static const char *text_make(struct kith_node *node, const char *format, va_list args)
{
    char text[KITH_TEXT_MAX];
    int length = vsnprintf(text, sizeof text, format, args);
    if (length < 0) {
        return "";
    }
    char *copy = kith_arena_copy(&node->arena, text, strlen(text) + 1);
    return copy ? copy : "";
}

const char *core_text(struct kith_node *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = text_make(node, format, args);
    va_end(args);
    return text;
}

void core_log(struct kith_node *node, int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = text_make(node, format, args);
    va_end(args);
    struct kith_effect *effect = effect_add(node, KITH_EFFECT_LOG);
    effect->level = level;
    effect->text = text;
}

struct kith_status core_status(enum kith_err err, const char *message)
{
    struct kith_status status = {err, message ? message : ""};
    return status;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t core_random(struct kith_node *node)
{
    node->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = node->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
