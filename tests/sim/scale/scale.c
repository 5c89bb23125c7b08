/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * scale.c - what membership costs and how fast it is, by the size of the cluster.
 *
 *     kith_scale [--check] NODES LOSS [SEED [FOLDER]]   LOSS: messages lost, per mille
 *     kith_scale --balance                              the partition table: evenness, moves
 *     kith_scale --header                               names of what a run prints
 *
 * A run: all but one start; that one joins; a minute of quiet, in which traffic is measured; then
 * several times each: a node is killed and starts again, a new table is decided that only one node
 * has, a node loses power and comes back. Then a twentieth of the nodes freeze now and then; the
 * cluster is cut in halves for a minute; and at last a node starts whose seed is gone, while all
 * the others but one have moved to other ports. `run` makes tables and plots of many.
 *
 * One line on stdout, times in seconds, "nan" for what did not happen in time. In FOLDER, how the
 * word spread: FOLDER/spread-NODES-LOSS.tsv, lines of (what, ms, share of the nodes). Exit status 1
 * where something did not happen in time, or a node that lived was held for down; with --check also
 * where something took longer or cost more than is promised of a small cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "scale.h"

#define SETTLE_MS 10000u
#define QUIET_MS  60000u
#define SLOW_MS   60000u
#define SPLIT_MS  60000u
#define LOOK_MS   20u
#define WAIT_MS   300000u
#define REPEATS   3u
#define NEVER     UINT64_MAX
#define NOBODY    SCALE_MAX

struct times { /* of the repeats, sorted */
    uint64_t ms[REPEATS];
    uint32_t count;
};

struct figures {
    uint64_t join_ms, join_all_ms, heal_ms, seedless_ms;
    struct times restart, table, suspect, down, down_all, down_lag, back;
    double bytes, bytes_most, messages, conns, suspected, slow_suspected;
    uint64_t downs, slow_downs;
};

static FILE *curves;

static void times_add(struct times *times, uint64_t ms)
{
    uint32_t at = times->count++;
    while (at > 0 && times->ms[at - 1] > ms) {
        times->ms[at] = times->ms[at - 1];
        at--;
    }
    times->ms[at] = ms;
}

static uint64_t median(const struct times *times)
{
    return times->ms[times->count / 2];
}

static uint64_t most(const struct times *times)
{
    return times->ms[times->count - 1];
}

/* ---- How the word spreads ---- */

typedef bool (*knows_fn)(const struct scale *scale, uint32_t node, uint32_t of, uint64_t arg);

static bool knows_start(const struct scale *scale, uint32_t node, uint32_t of, uint64_t arg)
{
    const struct peer *peer = scale_peer(scale, node, of);
    return peer && peer->info.incarnation >= arg && peer->live == KITH_ALIVE;
}

static bool knows_table(const struct scale *scale, uint32_t node, uint32_t of, uint64_t arg)
{
    (void)of;
    const struct kith_node *core = scale->nodes[node].core;
    return core->has_cluster && core->table->id.version >= arg;
}

static bool knows_down(const struct scale *scale, uint32_t node, uint32_t of, uint64_t arg)
{
    (void)arg;
    return scale_peer(scale, node, of)->live == KITH_DOWN;
}

/* ms from now until the first and until all know, or NEVER. */
struct spread {
    uint64_t first, all;
};

static struct spread spread(struct scale *scale, const char *what, knows_fn knows, uint32_t about,
                            uint64_t arg)
{
    struct spread spread = {NEVER, NEVER};
    uint32_t last = 0;
    for (uint64_t ms = 0; ms < WAIT_MS && spread.all == NEVER; ms += LOOK_MS) {
        uint32_t count = 0, of = 0;
        for (uint32_t i = 0; i < scale->count; i++) {
            if (scale->nodes[i].core && i != about) {
                of++;
                count += knows(scale, i, about, arg) ? 1 : 0;
            }
        }
        if (curves && count != last) {
            (void)fprintf(curves, "%s\t%llu\t%.4f\n", what, (unsigned long long)ms,
                          (double)count / of);
            last = count;
        }
        spread.first = count > 0 && spread.first == NEVER ? ms : spread.first;
        spread.all = count == of ? ms : NEVER;
        if (spread.all == NEVER) {
            scale_run(scale, LOOK_MS);
        }
    }
    return spread;
}

/* ---- What is measured ---- */

/* Nothing is lost meanwhile: every member must agree, and is asked once in a second. */
static void join(struct scale *scale, struct figures *figures)
{
    uint32_t last = scale->count - 1, loss = scale->loss;
    scale->loss = 0;
    scale_start(scale, last, scale_below(scale, last));
    uint64_t version = scale->nodes[0].core->table->id.version + 1;
    struct spread known = spread(scale, "join", knows_table, NOBODY, version);
    figures->join_ms = known.first;
    figures->join_all_ms = known.all == NEVER ? NEVER : known.all - known.first;
    scale->loss = loss;
    scale_run(scale, SETTLE_MS);
}

/* How often nodes that are not faulty have said that they live after all. */
static uint64_t refuted(const struct scale *scale)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < scale->count; i++) {
        count += !scale->nodes[i].faulty ? scale->nodes[i].core->swim.refuted : 0;
    }
    return count;
}

static double per_node_hour(const struct scale *scale, uint64_t count, uint64_t ms)
{
    return (double)count / ((double)scale->count * (double)ms / 3.6e6);
}

static void quiet(struct scale *scale, struct figures *figures)
{
    uint64_t bytes = scale->bytes, messages = scale->messages, before = refuted(scale), high = 0;
    for (uint32_t i = 0; i < scale->count; i++) {
        scale->nodes[i].bytes = 0;
    }
    scale_run(scale, QUIET_MS);
    uint64_t conns = 0;
    for (uint32_t i = 0; i < scale->count; i++) {
        high = scale->nodes[i].bytes > high ? scale->nodes[i].bytes : high;
        conns += scale->nodes[i].core->conn_count;
    }
    double node_seconds = (double)scale->count * (QUIET_MS / 1000.0);
    figures->bytes = (double)(scale->bytes - bytes) / node_seconds;
    figures->bytes_most = (double)high / (QUIET_MS / 1000.0);
    figures->messages = (double)(scale->messages - messages) / node_seconds;
    figures->conns = (double)conns / scale->count;
    figures->suspected = per_node_hour(scale, refuted(scale) - before, QUIET_MS);
}

/* Killed and started again: its new start is known everywhere. */
static void restart(struct scale *scale, struct figures *figures)
{
    uint32_t victim = scale_below(scale, scale->count);
    uint64_t incarnation = scale->nodes[victim].core->incarnation + 1;
    scale->nodes[victim].faulty = true;
    scale_stop(scale, victim, false);
    scale_run(scale, 200);
    scale_start(scale, victim, NOBODY);
    times_add(&figures->restart, spread(scale, "restart", knows_start, victim, incarnation).all);
    scale_run(scale, SETTLE_MS);
    scale->nodes[victim].faulty = false;
}

static void new_table(struct scale *scale, struct figures *figures)
{
    const struct kith_table *table = scale->nodes[0].core->table;
    struct kith_table *next = NULL;
    struct kith_member *members = kith_calloc(table->member_count, sizeof *members);
    KITH_ASSERT(members);
    memcpy(members, table->members, table->member_count * sizeof *members);
    members[0].weight++;
    enum kith_err err = kith_balance(table, &table->cluster, table->partitions, table->replicas,
                                     members, table->member_count, &next);
    KITH_ASSERT(err == KITH_OK);
    scale_decide(scale, scale_below(scale, scale->count), next);
    struct spread known = spread(scale, "table", knows_table, NOBODY, next->id.version);
    times_add(&figures->table, known.all);
    scale_run(scale, SETTLE_MS);
    kith_table_drop(next);
    kith_free(members);
}

static bool knows_suspect(const struct scale *scale, uint32_t node, uint32_t of, uint64_t arg)
{
    (void)arg;
    return scale_peer(scale, node, of)->live != KITH_ALIVE;
}

static void power_loss(struct scale *scale, struct figures *figures)
{
    uint32_t victim = scale_below(scale, scale->count);
    scale->nodes[victim].faulty = true;
    scale_stop(scale, victim, true);
    uint64_t from_us = scale->now_us;
    struct spread suspected = spread(scale, "suspect", knows_suspect, victim, 0);
    uint64_t spent_ms = (scale->now_us - from_us) / 1000;
    struct spread down = spread(scale, "down", knows_down, victim, 0);
    times_add(&figures->suspect, suspected.first);
    times_add(&figures->down, down.first == NEVER ? NEVER : spent_ms + down.first);
    times_add(&figures->down_all, down.all == NEVER ? NEVER : spent_ms + down.all);
    times_add(&figures->down_lag, down.all == NEVER ? NEVER : down.all - down.first);
    scale_run(scale, SETTLE_MS);
    scale_start(scale, victim, NOBODY);
    scale_run(scale, LOOK_MS); /* it learns its own incarnation from its disk */
    uint64_t incarnation = scale->nodes[victim].core->incarnation;
    struct spread back = spread(scale, "back", knows_start, victim, incarnation);
    times_add(&figures->back, back.all == NEVER ? NEVER : back.all + LOOK_MS);
    scale_run(scale, SETTLE_MS);
    scale->nodes[victim].faulty = false;
}

static void faulty_set(struct scale *scale, bool all)
{
    for (uint32_t i = 0; i < scale->count; i++) {
        scale->nodes[i].faulty = all;
    }
}

/* Some nodes freeze for up to 5 s, again and again: do they accuse others? */
static void slow(struct scale *scale, struct figures *figures)
{
    uint32_t some = scale->count / 20 > 0 ? scale->count / 20 : 1;
    for (uint32_t i = 0; i < some; i++) {
        scale->nodes[scale_below(scale, scale->count)].faulty = true;
    }
    uint64_t before = refuted(scale), downs = scale->downs;
    for (uint32_t ms = 0; ms < SLOW_MS; ms += 1000) {
        for (uint32_t i = 0; i < scale->count; i++) {
            struct scale_node *node = &scale->nodes[i];
            if (node->faulty && scale->now_us >= node->held_us && scale_below(scale, 4) == 0) {
                node->held_us = scale->now_us + 500000 + 1000u * scale_below(scale, 4500);
            }
        }
        scale_run(scale, 1000);
    }
    scale_run(scale, SETTLE_MS);
    figures->slow_suspected = per_node_hour(scale, refuted(scale) - before, SLOW_MS);
    figures->slow_downs = scale->downs - downs;
    faulty_set(scale, false);
}

/* Nobody is held for down, and those whom requests go to can be reached: in a hundredth of the
 * cases something may be on its way that is lost. */
static bool whole(const struct scale *scale)
{
    uint32_t kept = 0, lost = 0;
    for (uint32_t i = 0; i < scale->count; i++) {
        const struct kith_node *core = scale->nodes[i].core;
        for (uint32_t p = 0; p < core->peer_count; p++) {
            const struct peer *peer = &core->peers[p];
            if (peer->member && peer->live == KITH_DOWN) {
                return false;
            }
            kept += peer->member && peer->kept ? 1 : 0;
            lost += peer->member && peer->kept && !peer->up ? 1 : 0;
        }
    }
    return 100 * lost <= kept;
}

/* Two halves that hear nothing of each other, and then do again. */
static void heal(struct scale *scale, struct figures *figures)
{
    faulty_set(scale, true);
    scale->split = true;
    scale_run(scale, SPLIT_MS);
    scale->split = false;
    figures->heal_ms = NEVER;
    for (uint64_t ms = 0; ms < WAIT_MS; ms += 10 * LOOK_MS) {
        if (whole(scale)) {
            figures->heal_ms = ms;
            break;
        }
        scale_run(scale, 10 * LOOK_MS);
    }
    scale_run(scale, SETTLE_MS);
    faulty_set(scale, false);
}

/* Whether the node knows where all the others are, and reaches those that it must. */
static bool found(const struct scale *scale, uint32_t node)
{
    for (uint32_t i = 0; i < scale->count; i++) {
        const struct peer *peer = i != node ? scale_peer(scale, node, i) : NULL;
        char address[32];
        (void)snprintf(address, sizeof address, "n%u:%u", i, scale->nodes[i].port);
        if (i != node && (!peer || strcmp(peer->info.address, address) != 0 ||
                          peer->live != KITH_ALIVE || (peer->kept && !peer->up))) {
            return false;
        }
    }
    return true;
}

/* While a node was away all the others but one moved; and it has moved itself, so that nobody finds
 * it. The seed that it is given is one of those that are gone. */
static void seedless(struct scale *scale, struct figures *figures)
{
    uint32_t node = scale_below(scale, scale->count), left = scale_below(scale, scale->count - 1);
    left += left >= node ? 1 : 0;
    uint32_t seed =
        (node + 1) % scale->count == left ? (node + 2) % scale->count : (node + 1) % scale->count;
    faulty_set(scale, true);
    scale_stop(scale, node, false);
    scale->nodes[node].port++;
    for (uint32_t i = 0; i < scale->count; i++) {
        if (i != node && i != left) {
            scale_stop(scale, i, false);
            scale->nodes[i].port++;
            scale_start(scale, i, NOBODY);
            scale_run(scale, 10);
        }
    }
    scale_run(scale, SETTLE_MS);
    scale_start(scale, node, seed);
    figures->seedless_ms = NEVER;
    for (uint64_t ms = LOOK_MS; ms < WAIT_MS; ms += LOOK_MS) {
        scale_run(scale, LOOK_MS);
        if (found(scale, node)) {
            figures->seedless_ms = ms;
            return;
        }
    }
}

/* ---- What is printed ---- */

static const char header[] =
    "nodes\tloss\tjoin\tjoin_all\tbytes\tbytes_most\tmessages\tconns\tsuspected\trestart\t"
    "restart_most\ttable\ttable_most\tsuspect\tdown\tdown_all\tdown_all_most\tdown_lag_"
    "most\tback\tback_most\t"
    "slow_suspected\tslow_downs\tdowns\theal\tseedless\tkB\tcpu\n";

static void print_s(uint64_t ms)
{
    if (ms == NEVER) {
        printf("\tnan");
    } else {
        printf("\t%.2f", (double)ms / 1000);
    }
}

static void print(const struct scale *scale, const struct figures *figures)
{
    printf("%u\t%.1f", scale->count, scale->loss / 10.0);
    print_s(figures->join_ms);
    print_s(figures->join_all_ms);
    printf("\t%.0f\t%.0f\t%.1f\t%.1f\t%.2f", figures->bytes, figures->bytes_most, figures->messages,
           figures->conns, figures->suspected);
    print_s(median(&figures->restart));
    print_s(most(&figures->restart));
    print_s(median(&figures->table));
    print_s(most(&figures->table));
    print_s(median(&figures->suspect));
    print_s(median(&figures->down));
    print_s(median(&figures->down_all));
    print_s(most(&figures->down_all));
    print_s(most(&figures->down_lag));
    print_s(median(&figures->back));
    print_s(most(&figures->back));
    printf("\t%.2f\t%llu\t%llu", figures->slow_suspected, (unsigned long long)figures->slow_downs,
           (unsigned long long)figures->downs);
    print_s(figures->heal_ms);
    print_s(figures->seedless_ms);
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("\t%ld\t%ld\n", usage.ru_maxrss / (long)scale->count, (long)usage.ru_utime.tv_sec);
}

/* Bounds for a cluster of some dozens; what they are held against is in README.md. */
static bool promised(const struct figures *figures)
{
    const struct {
        const char *what;
        double is, most;
    } bounds[] = {
        {"join", (double)figures->join_ms, 5000},
        {"join, all", (double)figures->join_all_ms, 3000},
        {"bytes a second", figures->bytes, 6000},
        {"restart", (double)most(&figures->restart), 3000},
        {"table", (double)most(&figures->table), 4000},
        {"suspect", (double)most(&figures->suspect), 6000},
        {"down everywhere", (double)most(&figures->down_all), 40000},
        {"down, from the first to all", (double)most(&figures->down_lag), 2000},
        {"back", (double)most(&figures->back), 5000},
        {"halves whole again", (double)figures->heal_ms, 90000},
        {"without seeds", (double)figures->seedless_ms, 30000},
        {"held for down by slow ones", (double)figures->slow_downs, 0},
    };
    bool all = true;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (bounds[i].is > bounds[i].most) {
            (void)fprintf(stderr, "%s: %.0f, at most %.0f is promised\n", bounds[i].what,
                          bounds[i].is, bounds[i].most);
            all = false;
        }
    }
    return all;
}

static void measure(struct scale *scale, struct figures *figures)
{
    scale_run(scale, SETTLE_MS);
    join(scale, figures);
    quiet(scale, figures);
    for (uint32_t i = 0; i < REPEATS; i++) {
        restart(scale, figures);
        new_table(scale, figures);
        power_loss(scale, figures);
    }
    figures->downs = scale->downs;
    slow(scale, figures);
    heal(scale, figures);
    seedless(scale, figures);
}

static bool run(uint32_t count, uint32_t loss, uint64_t seed, bool check)
{
    struct scale *scale = kith_calloc(1, sizeof *scale);
    struct figures figures;
    memset(&figures, 0, sizeof figures);
    KITH_ASSERT(scale);
    scale_init(scale, count, loss, seed);
    measure(scale, &figures);
    print(scale, &figures);
    bool good = figures.downs == 0 && figures.join_all_ms != NEVER && figures.heal_ms != NEVER &&
                figures.seedless_ms != NEVER && most(&figures.restart) != NEVER &&
                most(&figures.table) != NEVER && most(&figures.down_all) != NEVER &&
                most(&figures.back) != NEVER;
    if (check) {
        good = promised(&figures) && good;
    }
    scale_release(scale);
    kith_free(scale);
    return good;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--balance") == 0) {
        return scale_balance() ? 0 : 1;
    }
    if (argc == 2 && strcmp(argv[1], "--header") == 0) {
        (void)fputs(header, stdout);
        return 0;
    }
    bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
    argv += check ? 1 : 0;
    argc -= check ? 1 : 0;
    unsigned long count = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    unsigned long loss = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (count < 4 || count > SCALE_MAX || loss > 999) {
        (void)fprintf(stderr,
                      "usage: kith_scale [--check] NODES LOSS [SEED [FOLDER]] | --balance | "
                      "--header\nNODES: 4 to %u; LOSS: messages lost, per mille\n",
                      SCALE_MAX);
        return 2;
    }
    if (argc > 4) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/spread-%lu-%lu.tsv", argv[4], count, loss);
        curves = fopen(path, "we");
        if (!curves) {
            perror(path);
            return 1;
        }
    }
    bool good =
        run((uint32_t)count, (uint32_t)loss, argc > 3 ? strtoull(argv[3], NULL, 10) : 1, check);
    if (curves) {
        (void)fclose(curves);
    }
    return good ? 0 : 1;
}
