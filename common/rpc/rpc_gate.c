/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rpc_gate.c - see rpc_gate.h. */
#include "rpc/rpc_gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define SWEEP_MS      1000u /* between looks at what has ended, when somebody comes */
#define SWEEP_FULL_MS 100u  /* when a limit has been reached: a look at 1,000 costs 0.3 ms */
#define BUCKETS       1024u /* of places */
#define PORTS         256u  /* buckets of the unknown, by their port */
#define NOBODY        UINT32_MAX
#define TOKEN         1000u /* what one connection costs: a bucket gains RATE each millisecond */

/* A connection, at the index that is its descriptor. */
struct guest {
    uint64_t cookie; /* the kernel's, of its socket */
    uint32_t place;  /* NOBODY: the descriptor is none of ours, or has ended */
    uint32_t next;   /* in the list of its port, while it is unknown */
    uint16_t port;
    bool unknown;
    bool charged; /* to the bucket of all strangers, too */
};

struct place {
    uint8_t bytes[16];
    bool local;
    uint32_t next; /* in its bucket */
    uint32_t total, unknown;
    uint64_t tokens, filled_ms;
    uint64_t known_ms; /* 0: nobody there has ever shown who he is */
};

struct rpc_gate {
    struct rpc_gate_limits limits;
    struct guest *guests; /* limits.descriptors, the first `high` of them have been in use */
    uint32_t high;
    uint32_t total;
    uint32_t unknown; /* atomic, too */
    uint64_t swept_ms;
    uint64_t tokens, filled_ms; /* of all strangers */
    uint32_t place_count;
    uint32_t buckets[BUCKETS];
    uint32_t ports[PORTS];
    struct place places[RPC_GATE_PLACES_MAX];
};

void rpc_gate_limits_for(uint64_t descriptors, struct rpc_gate_limits *ret_limits)
{
    uint64_t half = descriptors / 2;
    uint32_t total = half < RPC_GATE_TOTAL_MAX ? (uint32_t)half : RPC_GATE_TOTAL_MAX;
    uint32_t unknown = total / 2, each = total / 4;
    uint64_t most = descriptors - descriptors / 4;
    ret_limits->total = total;
    ret_limits->each = total / 2;
    ret_limits->unknown = unknown < RPC_GATE_UNKNOWN_MAX ? unknown : RPC_GATE_UNKNOWN_MAX;
    ret_limits->unknown_each = each < RPC_GATE_EACH_MAX ? each : RPC_GATE_EACH_MAX;
    /* far more than all connections and files of a node: a bound of the table */
    ret_limits->descriptors =
        most < 4 * RPC_GATE_TOTAL_MAX ? (uint32_t)most : 4 * RPC_GATE_TOTAL_MAX;
}

enum kith_err rpc_gate_new(const struct rpc_gate_limits *limits, struct rpc_gate **ret_gate)
{
    struct rpc_gate *gate = kith_calloc(1, sizeof *gate);
    struct guest *guests = kith_calloc(limits->descriptors + 1u, sizeof *guests);
    if (!gate || !guests) {
        kith_free(gate);
        kith_free(guests);
        return KITH_ENOMEM;
    }
    gate->limits = *limits;
    gate->guests = guests;
    gate->tokens = (uint64_t)limits->unknown * TOKEN;
    memset(gate->buckets, 0xff, sizeof gate->buckets); /* NOBODY */
    memset(gate->ports, 0xff, sizeof gate->ports);
    *ret_gate = gate;
    return KITH_OK;
}

void rpc_gate_free(struct rpc_gate *gate)
{
    if (gate) {
        kith_free(gate->guests);
        kith_free(gate);
    }
}

bool rpc_gate_has_unknown(const struct rpc_gate *gate)
{
    return __atomic_load_n(&gate->unknown, __ATOMIC_RELAXED) > 0;
}

void rpc_gate_count(const struct rpc_gate *gate, uint32_t *ret_total, uint32_t *ret_unknown)
{
    *ret_total = gate->total;
    *ret_unknown = __atomic_load_n(&gate->unknown, __ATOMIC_RELAXED);
}

/* ---- Where somebody comes from ---- */

static void place_v4(const struct in_addr *v4, struct rpc_place *ret_place)
{
    ret_place->bytes[10] = ret_place->bytes[11] = 0xff;
    memcpy(ret_place->bytes + 12, v4, 4);
}

static void place_v6(const struct in6_addr *v6, struct rpc_place *ret_place)
{
    memcpy(ret_place->bytes, v6, IN6_IS_ADDR_V4MAPPED(v6) ? 16 : 8);
    if (IN6_IS_ADDR_LOOPBACK(v6)) {
        ret_place->bytes[15] = 1;
    }
}

bool rpc_place_of(int fd, const struct sockaddr *address, struct rpc_place *ret_place)
{
    struct ucred user;
    socklen_t size = sizeof user;
    memset(ret_place, 0, sizeof *ret_place);
    switch (address->sa_family) {
    case AF_INET:
        ret_place->port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
        place_v4(&((const struct sockaddr_in *)(const void *)address)->sin_addr, ret_place);
        return true;
    case AF_INET6:
        ret_place->port = ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
        place_v6(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, ret_place);
        return true;
    case AF_UNIX:
        ret_place->local = true;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size) != 0) {
            user.uid = UINT32_MAX;
        }
        memcpy(ret_place->bytes, &user.uid, sizeof user.uid);
        ret_place->trusted = user.uid == 0 || user.uid == geteuid();
        return true;
    default:
        return false;
    }
}

bool rpc_place_parse(const char *peer, struct rpc_place *ret_place)
{
    char host[INET6_ADDRSTRLEN + 8];
    struct in_addr v4;
    struct in6_addr v6;
    memset(ret_place, 0, sizeof *ret_place);
    bool six = strncmp(peer, "ipv6:", 5) == 0;
    const char *at = peer + 5, *colon = strrchr(peer, ':');
    if ((!six && strncmp(peer, "ipv4:", 5) != 0) || colon < at) {
        return false;
    }
    const char *open = six ? (*at == '[' ? "[" : "%5B") : "";
    const char *close = six ? (*at == '[' ? "]" : "%5D") : "";
    if (strncmp(at, open, strlen(open)) != 0 ||
        (size_t)(colon - at) < strlen(open) + strlen(close)) {
        return false;
    }
    at += strlen(open);
    size_t size = (size_t)(colon - at) - strlen(close);
    if (size >= sizeof host || strncmp(at + size, close, strlen(close)) != 0) {
        return false;
    }
    (void)snprintf(host, sizeof host, "%.*s", (int)size, at);
    host[strcspn(host, "%")] = '\0'; /* an interface */
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port == 0 || port > UINT16_MAX ||
        inet_pton(six ? AF_INET6 : AF_INET, host, six ? (void *)&v6 : (void *)&v4) != 1) {
        return false;
    }
    ret_place->port = (uint16_t)port;
    if (six) {
        place_v6(&v6, ret_place);
    } else {
        place_v4(&v4, ret_place);
    }
    return true;
}

static uint32_t bucket_of(const uint8_t bytes[16])
{
    uint64_t words[2];
    memcpy(words, bytes, sizeof words);
    uint64_t hash =
        (words[0] ^ (words[1] * UINT64_C(0xc2b2ae3d27d4eb4f))) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 40) % BUCKETS;
}

static uint32_t find_place(const struct rpc_gate *gate, const struct rpc_place *place)
{
    uint32_t at = gate->buckets[bucket_of(place->bytes)];
    while (at != NOBODY && (memcmp(gate->places[at].bytes, place->bytes, 16) != 0 ||
                            gate->places[at].local != place->local)) {
        at = gate->places[at].next;
    }
    return at;
}

/* One that nobody is in from, the one that was used longest ago, taken out. NOBODY: there is none.
 */
static uint32_t reclaim(struct rpc_gate *gate)
{
    uint32_t best = NOBODY;
    for (uint32_t i = 0; i < gate->place_count; i++) {
        const struct place *place = &gate->places[i];
        if (place->total == 0 &&
            (best == NOBODY || place->filled_ms < gate->places[best].filled_ms)) {
            best = i;
        }
    }
    if (best != NOBODY) {
        uint32_t *at = &gate->buckets[bucket_of(gate->places[best].bytes)];
        while (*at != best) {
            at = &gate->places[*at].next;
        }
        *at = gate->places[best].next;
    }
    return best;
}

static uint32_t add_place(struct rpc_gate *gate, const struct rpc_place *from, uint64_t now_ms)
{
    uint32_t at = gate->place_count < RPC_GATE_PLACES_MAX ? gate->place_count++ : reclaim(gate);
    if (at == NOBODY) {
        return NOBODY;
    }
    struct place *place = &gate->places[at];
    uint32_t *bucket = &gate->buckets[bucket_of(from->bytes)];
    memset(place, 0, sizeof *place);
    memcpy(place->bytes, from->bytes, sizeof place->bytes);
    place->local = from->local;
    place->tokens = (uint64_t)gate->limits.unknown_each * TOKEN;
    place->filled_ms = now_ms;
    place->next = *bucket;
    *bucket = at;
    return at;
}

/* ---- Who is in ---- */

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

static void add_unknown(struct rpc_gate *gate, uint32_t fd)
{
    struct guest *guest = &gate->guests[fd];
    guest->unknown = true;
    guest->next = gate->ports[guest->port % PORTS];
    gate->ports[guest->port % PORTS] = fd;
    gate->places[guest->place].unknown++;
    __atomic_add_fetch(&gate->unknown, 1, __ATOMIC_RELAXED);
}

static void drop_unknown(struct rpc_gate *gate, uint32_t fd)
{
    struct guest *guest = &gate->guests[fd];
    uint32_t *at = &gate->ports[guest->port % PORTS];
    while (*at != fd) {
        at = &gate->guests[*at].next;
    }
    *at = guest->next;
    guest->unknown = false;
    gate->places[guest->place].unknown--;
    __atomic_sub_fetch(&gate->unknown, 1, __ATOMIC_RELAXED);
}

static void leave(struct rpc_gate *gate, uint32_t fd)
{
    struct guest *guest = &gate->guests[fd];
    if (guest->unknown) {
        drop_unknown(gate, fd);
    }
    gate->places[guest->place].total--;
    gate->total--;
    guest->place = NOBODY;
}

static void sweep(struct rpc_gate *gate, uint64_t now_ms)
{
    uint32_t high = 0;
    gate->swept_ms = now_ms;
    for (uint32_t fd = 0; fd < gate->high; fd++) {
        const struct guest *guest = &gate->guests[fd];
        if (guest->place != NOBODY && cookie_of((int)fd) != guest->cookie) {
            leave(gate, fd);
        }
        high = guest->place != NOBODY ? fd + 1 : high;
    }
    gate->high = high;
}

/* ---- The rules ---- */

static bool is_known(const struct place *place, uint64_t now_ms)
{
    return place->known_ms != 0 && now_ms - place->known_ms < RPC_GATE_KNOWN_MS;
}

static void fill(uint64_t *tokens, uint64_t *filled_ms, uint32_t rate, uint32_t burst,
                 uint64_t now_ms)
{
    uint64_t most = (uint64_t)burst * TOKEN;
    uint64_t passed_ms = now_ms > *filled_ms ? now_ms - *filled_ms : 0;
    uint64_t gained = passed_ms < most ? passed_ms * rate : most; /* a rate is at least 1 */
    *tokens = *tokens + gained < most ? *tokens + gained : most;
    *filled_ms = now_ms;
}

static const char *no_room(const struct rpc_gate *gate, int fd, const struct rpc_place *from,
                           const struct place *place, uint64_t now_ms)
{
    const struct rpc_gate_limits *limits = &gate->limits;
    bool known = from->trusted || is_known(place, now_ms);
    if ((uint32_t)fd >= limits->descriptors) {
        return "this process has hardly any file descriptors left";
    }
    if (gate->total >= limits->total - (known ? 0 : limits->total / 8)) {
        return "there are too many connections";
    }
    if (place->total >= limits->each && !from->trusted) {
        return "too many connections come from there";
    }
    if (from->local) {
        return NULL; /* gRPC tells these from each other no further: nobody becomes known */
    }
    if (gate->unknown >= limits->unknown - (known ? 0 : limits->unknown / 4)) {
        return "too many have not shown who they are";
    }
    return place->unknown >= limits->unknown_each
               ? "too many from there have not shown who they are"
               : NULL;
}

static const char *too_fast(struct rpc_gate *gate, const struct rpc_place *from,
                            struct place *place, bool *ret_charged, uint64_t now_ms)
{
    bool known = is_known(place, now_ms);
    *ret_charged = false;
    if (from->trusted) {
        return NULL;
    }
    fill(&place->tokens, &place->filled_ms, known ? RPC_GATE_RATE_KNOWN : RPC_GATE_RATE,
         gate->limits.unknown_each, now_ms);
    fill(&gate->tokens, &gate->filled_ms, RPC_GATE_RATE_STRANGERS, gate->limits.unknown, now_ms);
    if (place->tokens < TOKEN) {
        return "they come too fast from there";
    }
    if (!known && gate->tokens < TOKEN) {
        return "strangers come too fast";
    }
    place->tokens -= TOKEN;
    gate->tokens -= known ? 0 : TOKEN;
    *ret_charged = !known;
    return NULL;
}

const char *rpc_gate_enter(struct rpc_gate *gate, int fd, const struct rpc_place *from,
                           uint64_t now_ms)
{
    if ((uint32_t)fd < gate->high && gate->guests[fd].place != NOBODY) {
        leave(gate, (uint32_t)fd); /* it has been closed, and given out again */
    }
    if (now_ms - gate->swept_ms >= SWEEP_MS) {
        sweep(gate, now_ms);
    }
    uint32_t at = find_place(gate, from);
    at = at == NOBODY ? add_place(gate, from, now_ms) : at;
    if (at == NOBODY) {
        return "connections come from too many places";
    }
    struct place *place = &gate->places[at];
    const char *why = no_room(gate, fd, from, place, now_ms);
    if (why && now_ms - gate->swept_ms >= SWEEP_FULL_MS) {
        sweep(gate, now_ms);
        why = no_room(gate, fd, from, place, now_ms);
    }
    bool charged = false;
    why = why ? why : too_fast(gate, from, place, &charged, now_ms);
    if (why) {
        return why;
    }
    for (; gate->high <= (uint32_t)fd; gate->high++) {
        gate->guests[gate->high].place = NOBODY;
    }
    gate->guests[fd] = (struct guest){
        .cookie = cookie_of(fd), .place = at, .port = from->port, .charged = charged};
    place->total++;
    gate->total++;
    if (!from->local) {
        add_unknown(gate, (uint32_t)fd);
    }
    return NULL;
}

void rpc_gate_known(struct rpc_gate *gate, const struct rpc_place *from, uint64_t now_ms)
{
    uint32_t at = find_place(gate, from);
    for (uint32_t fd = gate->ports[from->port % PORTS]; at != NOBODY && fd != NOBODY;
         fd = gate->guests[fd].next) {
        const struct guest *guest = &gate->guests[fd];
        if (guest->port != from->port || guest->place != at) {
            continue;
        }
        struct place *place = &gate->places[at];
        uint64_t most = (uint64_t)gate->limits.unknown_each * TOKEN;
        place->tokens = place->tokens + TOKEN < most ? place->tokens + TOKEN : most;
        place->known_ms = now_ms;
        gate->tokens += guest->charged ? TOKEN : 0; /* `fill` holds it to its bound */
        drop_unknown(gate, fd);
        return;
    }
}
