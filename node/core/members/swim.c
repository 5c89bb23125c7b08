/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * swim.c - what the members know of each other's liveness: SWIM, with Lifeguard's doubts of oneself.
 * Probes are in swim_probe.c, comparisons in swim_sync.c.
 *
 *     each period (1 s): one member, in random order, each once in a round
 *         PING ---answer---------------------------------------------> alive
 *           \--0.5 s nothing--> PROBE_REQ through 3 others --alive---> alive
 *                                                  \--nothing by the end of the period--> SUSPECT
 *     SUSPECT --it says that it is alive (said + 1)--> ALIVE
 *             \--nothing for suspect_ms()------------> DOWN --said + 1, or another start--> ALIVE
 *
 * RECORDS. One for each member: (start, said, state), of which the greatest wins everywhere. `start`
 * is the node's incarnation: it rises, on disk, with every start, ballots rest on it, and only the
 * node itself draws it. `said` counts how often this start has refuted what others said of it; it is
 * never stored. A record is checksummed from its maker on; what does not add up, is of no member, or
 * is absurd (ABSURD starts ahead of what is known) is dropped and goes no further.
 *
 * SPREADING. A record that is news goes out with the next pings, and every PUSH_MS to a few nodes that
 * a connection is open to, some 2 log2 n times in all; those that went out least come first. Until
 * then it goes with answers, too, which do not count: whoever pings everybody would get them all, and
 * others none. As connections are mostly to co-owners, who are mostly co-owners of each other, the
 * others that a probe brings together are told for log2 n seconds in any case. A ping bears the sum of
 * its sender's records: where it differs from ours although nothing is on its way, the two compare
 * sums of groups of members and exchange those that differ (MEMBERS_SYNC); and so they do with
 * somebody at random every half minute, in large clusters less often. Hearing that way that somebody
 * is down makes him suspected: he has a say.
 *
 * SUSPICION lasts log2 n seconds at least, and several times as long while only one node suspects:
 * each other one that does, by its own probe, makes it shorter (confirmations). Who is suspected is
 * told with every ping that it gets. Whom we have heard lately we do not declare down.
 *
 * HEALTH. A node that misses answers of one peer after the other, that must refute, or that stood
 * still, rather doubts itself: it waits up to nine times as long before it suspects others.
 *
 * This is for everybody's picture of the cluster. Routing goes by what this node itself hears
 * (peers.c), and ownership by neither. Sources: Das, Gupta, Motivala 2002, "SWIM"; Dadgar, Phillips,
 * Currey 2017, "Lifeguard". Checked by tests/unit/test_swim.c, tests/sim/scale. */
#include <string.h>

#include "core/internal.h"

#define HEALTH_MAX      8u
#define SUSPECT_MS      1000u  /* times log2 n */
#define SUSPECT_MIN_MS  3000u
#define SUSPECT_STRETCH 5u     /* as long for a suspicion that nobody shares */
#define HEARD_MS        2000u  /* whom we have heard since is not declared down */
#define NEWS_FACTOR     2u     /* times log2 n: how often a record goes out */
#define RECENT_MS       1000u  /* times log2 n: how long whom we meet by chance is told */
#define PUSH_MS         200u
#define PUSH_PEERS      3u
#define ABSURD          (UINT64_C(1) << 20) /* starts at once; and refutations of one start: << 12 */
#define LINES_MAX       16u    /* in the log, of one step */

bool swim_active(const struct kith_node *node)
{
    return node->has_cluster && node->self != KITH_NO_MEMBER && node->table->member_count > 1;
}

uint32_t swim_log2(const struct kith_node *node)
{
    uint32_t n = node->table->member_count, bits = 1;
    while (n >> bits != 0) {
        bits++;
    }
    return bits;
}

static uint32_t sends_of(const struct kith_node *node)
{
    return NEWS_FACTOR * swim_log2(node);
}

/* ---- Records ---- */

uint64_t swim_sum(const void *data, size_t size)
{
    struct kith_checksum sum = kith_checksum_of(kith_bytes_make(data, size));
    uint64_t value = 0;
    for (uint32_t i = 0; i < sizeof value; i++) {
        value = value << 8 | sum.bytes[i];
    }
    return value;
}

uint8_t *swim_put_u64(uint8_t *at, uint64_t value)
{
    for (uint32_t i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (56 - 8 * i));
    }
    return at + 8;
}

/* The fields in their order; numbers as 8 bytes, big-endian, texts with their NUL. */
uint64_t swim_check(const struct kith_member_news *news)
{
    uint8_t bytes[16 + 3 * 8 + 16 + KITH_ADDRESS_SIZE + 32 + 8], *at = bytes;
    memcpy(at, news->uuid.bytes, 16);
    at = swim_put_u64(at + 16, news->incarnation);
    at = swim_put_u64(at, news->said);
    at = swim_put_u64(at, (uint64_t)news->state);
    memcpy(at, news->by.bytes, 16);
    at += 16;
    const char *texts[] = {news->address, news->software};
    const size_t limits[] = {KITH_ADDRESS_SIZE, 32};
    for (uint32_t i = 0; i < 2; i++) {
        size_t size = strlen(texts[i]) + 1;
        size = size < limits[i] ? size : limits[i];
        memcpy(at, texts[i], size);
        at += size;
    }
    at = swim_put_u64(at, news->features);
    return swim_sum(bytes, (size_t)(at - bytes));
}

static int record_compare(const struct kith_member_news *news, const struct peer *peer)
{
    if (news->incarnation != peer->info.incarnation) {
        return news->incarnation < peer->info.incarnation ? -1 : 1;
    }
    if (news->said != peer->said) {
        return news->said < peer->said ? -1 : 1;
    }
    return (int)news->state - (int)peer->live;
}

void swim_record(const struct peer *peer, struct kith_member_news *ret_news)
{
    memset(ret_news, 0, sizeof *ret_news);
    ret_news->uuid = peer->uuid;
    ret_news->incarnation = peer->info.incarnation;
    ret_news->said = peer->said;
    ret_news->state = peer->live;
    if (peer->live != KITH_ALIVE && peer->by_count > 0) { /* each of them in turn */
        ret_news->by = peer->by[peer->sends % peer->by_count];
    }
    ret_news->address = peer->info.address;
    ret_news->software = peer->info.software;
    ret_news->features = peer->info.features;
    ret_news->check = swim_check(ret_news);
}

void swim_record_self(const struct kith_node *node, struct kith_member_news *ret_news)
{
    memset(ret_news, 0, sizeof *ret_news);
    ret_news->uuid = node->uuid;
    ret_news->incarnation = node->incarnation;
    ret_news->said = node->swim.said;
    ret_news->address = node->address;
    ret_news->software = node->software;
    ret_news->features = kith_protocol_ours().features;
    ret_news->check = swim_check(ret_news);
}

static void sends_set(struct kith_node *node, struct peer *peer, uint32_t sends)
{
    node->swim.news_count += (sends > 0 ? 1u : 0u) - (peer->sends > 0 ? 1u : 0u);
    peer->sends = (uint8_t)sends;
    if (sends > 0) {
        uint64_t due = node->swim.push_ms > node->now_ms ? node->swim.push_ms : node->now_ms;
        node->swim.due_ms = due < node->swim.due_ms ? due : node->swim.due_ms;
    }
}

static void say(struct kith_node *node, const struct peer *peer, const char *what)
{
    if (node->swim.lines < LINES_MAX) {
        node->swim.lines++;
        core_log(node, LEVEL_DEBUG, "node %s %s", peer->info.address, what);
    }
}

/* Another word on the member: to be spread. */
static void record_set(struct kith_node *node, struct peer *peer, uint64_t said,
                       enum kith_liveness live, const struct kith_uuid *by)
{
    static const char *const words[] = {"is said to be alive", "is suspected to be down",
                                        "is said to be down"};
    if (peer->live != live) {
        say(node, peer, words[live]);
    }
    node->swim.suspects -= peer->live == KITH_SUSPECT ? 1 : 0;
    node->swim.suspects += live == KITH_SUSPECT ? 1 : 0;
    peer->said = said;
    peer->live = live;
    peer->suspect_ms = node->now_ms;
    peer->changed_ms = node->swim.changed_ms = node->now_ms;
    peer->by_count = 0;
    if (live != KITH_ALIVE) {
        peer->by[0] = *by;
        peer->by_count = 1;
    }
    node->swim.summed = false;
    if (swim_active(node)) {
        sends_set(node, peer, sends_of(node));
    }
    peer_live_changed(node, peer);
}

void swim_started_again(struct kith_node *node, struct peer *peer)
{
    record_set(node, peer, 0, KITH_ALIVE, NULL);
}

/* Somebody suspects, or says, what is known already: counted once for each of them. */
static void confirm(struct kith_node *node, struct peer *peer, const struct kith_uuid *by)
{
    for (uint32_t i = 0; i < peer->by_count; i++) {
        if (kith_uuid_equal(&peer->by[i], by)) {
            return;
        }
    }
    if (peer->live == KITH_SUSPECT && peer->by_count < KITH_CONFIRMS + 1u) {
        peer->by[peer->by_count] = *by;
        peer->by_count++;
        sends_set(node, peer, sends_of(node));
    }
}

void swim_suspect(struct kith_node *node, struct peer *peer, const struct kith_uuid *by)
{
    if (peer->live == KITH_ALIVE) {
        record_set(node, peer, peer->said, KITH_SUSPECT, by);
    } else {
        confirm(node, peer, by);
    }
}

void swim_health(struct kith_node *node, int by)
{
    int health = (int)node->swim.health + by;
    health = health < 0 ? 0 : health;
    node->swim.health = (uint32_t)health < HEALTH_MAX ? (uint32_t)health : HEALTH_MAX;
}

/* ---- News of ourselves ---- */

static void outdated_stored(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    node->swim.raising = false;
    if (err == KITH_OK && arg > node->incarnation) {
        node->incarnation = arg;
        node->swim.said = 0;
        node->swim.self_sends = swim_active(node) ? sends_of(node) : 0;
        node->swim.summed = false;
        node->swim.due_ms = node->now_ms;
    }
}

/* Others know a later start of ours: this store is an older copy. We go on behind that one. */
static void outdated(struct kith_node *node, uint64_t heard)
{
    if (!node->swim.raising && node_identity_put(node, heard + 1, outdated_stored) == KITH_OK) {
        node->swim.raising = true;
        core_log(node, LEVEL_WARN,
                 "others know start %llu of this node, and its store only %llu",
                 (unsigned long long)heard, (unsigned long long)node->incarnation);
        aged_copy(node);
    }
}

static void refute(struct kith_node *node, const struct kith_member_news *news)
{
    if (news->incarnation > node->incarnation) {
        outdated(node, news->incarnation);
        return;
    }
    bool about_now = news->incarnation == node->incarnation && news->said >= node->swim.said;
    if (!about_now || (news->state == KITH_ALIVE && news->said == node->swim.said)) {
        return;
    }
    node->swim.said = news->said + 1;
    node->swim.self_sends = sends_of(node);
    node->swim.summed = false;
    node->swim.due_ms = node->now_ms;
    node->swim.refuted++;
    swim_health(node, 1);
    core_log(node, LEVEL_INFO, "this node was %s: others are told that it is alive",
             news->state == KITH_DOWN ? "held for down" : "suspected to be down");
}

/* ---- News that comes ---- */

static bool sound(const struct kith_member_news *news, uint64_t known)
{
    return news->check == swim_check(news) && news->state <= KITH_DOWN && news->address[0] &&
           news->incarnation < known + ABSURD && news->said < ABSURD << 12;
}

/* `hearsay`: from a comparison of all records, where what is old comes, too. */
static void news_take(struct kith_node *node, const struct kith_member_news *news, bool hearsay)
{
    if (kith_uuid_equal(&news->uuid, &node->uuid)) {
        if (sound(news, node->incarnation)) {
            refute(node, news);
        } else {
            node->swim.unsound++;
        }
        return;
    }
    uint16_t member = kith_table_find(node->table, &news->uuid);
    uint16_t index = member != KITH_NO_MEMBER ? node->peer_of_member[member] : KITH_NO_PEER;
    if (index == KITH_NO_PEER) {
        return; /* the table that has it will come */
    }
    struct peer *peer = &node->peers[index];
    if (!sound(news, peer->info.incarnation)) {
        node->swim.unsound++;
        return;
    }
    int order = record_compare(news, peer);
    if (order == 0 && news->state == KITH_SUSPECT) {
        confirm(node, peer, &news->by);
    }
    if (order <= 0) {
        return;
    }
    if (news->incarnation > peer->info.incarnation) {
        members_moved(node, peer, news);
    }
    bool doubtful = hearsay && news->state == KITH_DOWN && peer->live != KITH_DOWN;
    if (doubtful && peer->live == KITH_SUSPECT && peer->said == news->said) {
        return;
    }
    record_set(node, peer, news->said, doubtful ? KITH_SUSPECT : news->state, &news->by);
    for (uint32_t i = 0; doubtful && i < KITH_CONFIRMS; i++) { /* it has lasted already */
        peer->by[peer->by_count++] = news->by;
    }
}

void swim_news_take(struct kith_node *node, const struct kith_member_news *news,
                          uint32_t count, bool hearsay)
{
    for (uint32_t i = 0; i < count && swim_active(node); i++) {
        news_take(node, &news[i], hearsay);
    }
}

/* ---- News that goes ---- */

/* Records that were news a while ago: for whom we meet by chance, see SPREADING. */
static uint32_t recent_pick(const struct kith_node *node, const struct peer *to,
                            struct kith_member_news *list, uint32_t count)
{
    uint64_t recent_ms = (uint64_t)RECENT_MS * swim_log2(node);
    if (!to || to->kept || node->now_ms >= node->swim.changed_ms + recent_ms) {
        return count;
    }
    for (uint32_t i = 0; i < node->peer_count && count < KITH_PING_NEWS_MAX; i++) {
        const struct peer *peer = &node->peers[i];
        bool recent = peer->changed_ms > 0 && node->now_ms < peer->changed_ms + recent_ms;
        if (recent && peer->sends == 0 && peer != to) {
            swim_record(peer, &list[count++]);
        }
    }
    return count;
}

/* The records that went out least, and what the receiver should know of himself. */
static uint32_t news_pick(struct kith_node *node, const struct peer *to, bool unasked,
                          const struct kith_member_news **ret_news)
{
    struct swim *swim = &node->swim;
    *ret_news = NULL;
    struct kith_member_news *list =
        kith_arena_alloc(&node->arena, KITH_PING_NEWS_MAX * sizeof *list);
    uint32_t count = 0;
    if (!list) {
        return 0;
    }
    if (swim->self_sends > 0) {
        swim->self_sends -= unasked ? 1 : 0;
        swim_record_self(node, &list[count++]);
    }
    if (to && to->live != KITH_ALIVE) {
        swim_record(to, &list[count++]);
    }
    struct peer *picked[KITH_PING_NEWS_MAX];
    uint32_t picked_count = 0, left = swim->news_count;
    bool few = count + left <= KITH_PING_NEWS_MAX; /* all fit: no need to look for the freshest */
    for (uint32_t sends = few ? 1 : sends_of(node); sends > 0 && left > 0; sends--) {
        for (uint32_t i = 0; i < node->peer_count && left > 0 && count < KITH_PING_NEWS_MAX; i++) {
            struct peer *peer = &node->peers[(swim->news_at + i) % node->peer_count];
            bool its_turn = few ? peer->sends > 0 : peer->sends == sends;
            if (its_turn && peer != to) {
                swim_record(peer, &list[count++]);
                picked[picked_count++] = peer;
            }
            left -= its_turn ? 1 : 0;
        }
        left = count < KITH_PING_NEWS_MAX ? left : 0;
    }
    count = recent_pick(node, to, list, count);
    for (uint32_t i = 0; unasked && i < picked_count; i++) {
        sends_set(node, picked[i], picked[i]->sends - 1u);
    }
    swim->news_at++; /* where more are fresh than fit, others come first the next time */
    *ret_news = list;
    return count;
}

/* Whether there is anything to tell. */
static bool news_any(const struct kith_node *node, const struct peer *to)
{
    const struct swim *swim = &node->swim;
    return swim->news_count > 0 || swim->self_sends > 0 || (to && to->live != KITH_ALIVE) ||
           (to && !to->kept &&
            node->now_ms < swim->changed_ms + (uint64_t)RECENT_MS * swim_log2(node));
}

void swim_ping_fill(struct kith_node *node, struct kith_ping *ping, const struct peer *to,
                    bool unasked)
{
    if (swim_active(node)) {
        swim_sums_make(node);
        ping->digest = node->swim.digest;
        ping->news_count = news_any(node, to) ? news_pick(node, to, unasked, &ping->news) : 0;
    }
}

void swim_pinged(struct kith_node *node, struct conn *conn, const struct kith_ping *ping)
{
    if (!swim_active(node) || conn->peer == KITH_NO_PEER) {
        return;
    }
    swim_news_take(node, ping->news, ping->news_count, false);
    swim_digest_seen(node, conn->id, ping);
}

/* ---- Time ---- */

/* How long a suspicion lasts that so many others share: from the longest to the shortest with the
 * logarithm of their number. */
static uint64_t suspect_ms(const struct kith_node *node, uint32_t confirms)
{
    static const uint32_t share[KITH_CONFIRMS][KITH_CONFIRMS + 1] = {
        {0, 1000, 1000, 1000}, {0, 631, 1000, 1000}, {0, 500, 792, 1000}}; /* log(c+1) / log(k+1) */
    uint64_t shortest = SUSPECT_MS * swim_log2(node);
    shortest = shortest > SUSPECT_MIN_MS ? shortest : SUSPECT_MIN_MS;
    uint32_t others = node->table->member_count - 2; /* that could confirm */
    uint32_t most = others < KITH_CONFIRMS ? others : KITH_CONFIRMS;
    if (most == 0 || confirms >= most) {
        return shortest;
    }
    return shortest + shortest * (SUSPECT_STRETCH - 1) * (1000 - share[most - 1][confirms]) / 1000;
}

static uint64_t suspicion_due(const struct kith_node *node, const struct peer *peer)
{
    uint64_t due = peer->suspect_ms + suspect_ms(node, peer->by_count - 1u);
    uint64_t heard = peer->seen_ms + HEARD_MS;
    return due > heard ? due : heard;
}

static uint64_t suspicions_tick(struct kith_node *node)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; node->swim.suspects > 0 && i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->live != KITH_SUSPECT) {
            continue;
        }
        uint64_t due = suspicion_due(node, peer);
        if (node->now_ms >= due) {
            record_set(node, peer, peer->said, KITH_DOWN, &node->uuid);
        } else {
            next = due < next ? due : next;
        }
    }
    return next;
}

struct peer *swim_anyone(struct kith_node *node)
{
    uint32_t start = (uint32_t)(core_random(node) % node->peer_count);
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[(start + i) % node->peer_count];
        if (peer->up) {
            return peer;
        }
    }
    return NULL;
}

static uint64_t pushes_tick(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    if (swim->news_count == 0 && swim->self_sends == 0 && swim->table_sends == 0) {
        return UINT64_MAX;
    }
    if (node->now_ms < swim->push_ms) {
        return swim->push_ms;
    }
    for (uint32_t i = 0; i < PUSH_PEERS; i++) {
        struct peer *peer = swim_anyone(node);
        if (peer) {
            swim->table_sends -= swim->table_sends > 0 ? 1 : 0;
            peer_push(node, peer);
        }
    }
    swim->push_ms = node->now_ms + PUSH_MS;
    return swim->push_ms;
}

void swim_tick(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    if (!swim_active(node) || node->now_ms < swim->due_ms) {
        return;
    }
    uint64_t dues[] = {suspicions_tick(node), swim_relays_tick(node), swim_probes_tick(node),
                       pushes_tick(node), swim_syncs_tick(node)};
    swim->due_ms = UINT64_MAX;
    for (uint32_t i = 0; i < sizeof dues / sizeof dues[0]; i++) {
        swim->due_ms = dues[i] < swim->due_ms ? dues[i] : swim->due_ms;
    }
}

uint64_t swim_due(const struct kith_node *node)
{
    return swim_active(node) ? node->swim.due_ms : UINT64_MAX;
}

void swim_late(struct kith_node *node, uint64_t late_ms)
{
    struct swim *swim = &node->swim;
    swim->period_ms += late_ms;
    swim->indirect_ms += late_ms;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        node->peers[i].suspect_ms += late_ms;
    }
    swim_health(node, late_ms >= KITH_PROBE_MS ? 2 : 1);
}

void swim_table_changed(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    swim->summed = false;
    swim->order_at = swim->order_count = 0; /* places in it are of the table before */
    if (swim_active(node)) {
        swim->table_sends = sends_of(node);
        swim->period_ms = swim->period_ms > 0 ? swim->period_ms
                                              : node->now_ms + core_random(node) % KITH_PROBE_MS;
        swim->due_ms = node->now_ms;
    }
}
