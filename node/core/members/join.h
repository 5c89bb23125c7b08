/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * join.h - init, and the new node's side of a join (join.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_JOIN_H
#define KITH_CORE_JOIN_H

#include "core/conns.h"
#include "core/node.h"
#include "core/table/decide.h"

struct kith_node;

enum { JOIN_TEXT = 280 };

struct join_state {
    /* the new node */
    bool wanted;               /* join through `through` */
    bool by_option;            /* kithd --join: try for ever */
    char through[KITH_ADDRESS_SIZE];
    uint64_t contact;          /* connection to it, 0 = none */
    bool asked;                /* JOIN_REQ is out */
    uint64_t contact_since_ms;
    uint64_t retry_ms;
    uint64_t admin;            /* pending of INIT_REQ or JOIN_CMD, 0 = none */
    char last[JOIN_TEXT];      /* what went wrong last, logged once */
    /* becoming a member: records on their way to the disk, one after the other */
    bool installing;
    struct kith_cluster cluster;
    struct kith_table *table;
    struct kith_buf table_bytes;
    struct kith_buf members_bytes;
    /* a member: agree.c */
    struct kith_acceptor acceptor;
    bool may_not_vote;         /* the record of promises could not be read */
    struct kith_proposer proposer;
    uint64_t proposer_ms;      /* when its tick is due */
    uint64_t finish_ms;        /* when a frozen node steps in for who began it; 0 = unset */
    uint64_t alone_ms;         /* and when it does so where that other is gone */
    uint64_t joiner;           /* pending of the JOIN_REQ or PLAN_REQ at work, 0 = none */
    struct kith_member_info joiner_info;
    struct kith_table_id plan; /* PLAN_REQ: the table that it asks for */
};

enum kith_err join_new(struct kith_node *node, const struct kith_node_options *options,
                       struct kith_bytes decide, struct kith_error *error);
void join_free(struct kith_node *node);
void join_init_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void join_cmd(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
enum kith_err join_res(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
bool join_is_contact(const struct kith_node *node, uint64_t conn);
void join_opened(struct kith_node *node, uint64_t conn);
void join_hello(struct kith_node *node, struct conn *conn, const struct kith_hello *hello);
void join_closed(struct kith_node *node, uint64_t conn, const char *reason);
void join_tick(struct kith_node *node);
uint64_t join_due(const struct kith_node *node);

#endif
