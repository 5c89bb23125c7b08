/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * As test_neighbours.c: whatever is asked for, changed by this mount and others, and leaves the table, in any
 * order, what is known is right. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/random.h"
#include "neighbours_ask.h"

#define MODEL 600u /* names in the middle that anything happens to */
#define STEPS 6000u

struct model {
    uint64_t ids[MODEL]; /* 0: there is none; 1: made by this mount, its id is its own */
    uint64_t next_id;
    bool packed; /* what leaves the table is remembered (pack.c) */
    struct test_random random;
};

static uint32_t model_name(struct model *model, char name[16])
{
    uint32_t number = test_random_below(&model->random, MODEL);
    name_of(name, MIDDLE + number);
    return number;
}

/* One is changed here or elsewhere, or leaves the table. */
static void model_change(struct place *place, struct model *model)
{
    char name[16];
    uint32_t number = model_name(model, name);
    uint64_t *id = &model->ids[number];
    uint32_t what = test_random_below(&model->random, 100);
    if (what < 30) {
        *id = test_random_below(&model->random, 3) == 0 ? 0 : ++model->next_id;
        theirs(place, name, *id);
    } else if (what < 50) {
        work(place, place->dir, name, *id != 0 ? kith_do_unlink : kith_do_mknod);
        *id = *id != 0 ? 0 : 1;
    } else if (what < 97) {
        pthread_mutex_lock(&place->fs->lock);
        struct kith_entry *entry = kith_entry_find(place->dir, name);
        if (entry != NULL && entry->pins == 0 &&
            (entry->inode == NULL || entry->inode->refs == 1)) {
            kith_entry_remove(place->fs, entry);
        }
        pthread_mutex_unlock(&place->fs->lock);
    } else if (what < 99) {
        evict_all(place);
    } else {
        struct kith_bytes none = {NULL, 0};
        (void)kith_fake_tell(place->cluster, &place->dir->dir->group, &none, 0);
    }
}

/* Nothing but what is tested here reads: no load, and no pages ahead. */
static void model_quiet(struct place *place, const struct model *model)
{
    pthread_mutex_lock(&place->fs->lock);
    struct kith_pack *pack = kith_pack_of(place->dir);
    pack = pack == NULL && model->packed ? kith_pack_begin(place->fs, place->dir) : pack;
    if (pack != NULL) {
        kith_pack_ahead(pack)->over = true;
    }
    (void)kith_watch_live(place->dir);
    place->dir->dir->large = true;
    place->dir->dir->misses = 0;
    place->dir->dir->questions = 0;
    pthread_mutex_unlock(&place->fs->lock);
}

static uint32_t model_ask(struct place *place, struct model *model)
{
    char name[16];
    uint32_t number = model_name(model, name), without = 0; /* a question */
    uint32_t end = number + test_random_below(&model->random, 40);
    for (; number < end && number < MODEL; number++) {
        name_of(name, MIDDLE + number);
        model_quiet(place, model);
        without += known(place, name) ? 1 : 0;
        uint64_t id = ask(place, name);
        assert_int_equal(id != 0, model->ids[number] != 0);
        if (model->ids[number] > 1) {
            assert_int_equal(id, model->ids[number]);
        }
    }
    return without;
}

static void run_model(struct place *place, bool packed)
{
    static struct model model;
    uint32_t from_memory = 0, beside = 0;
    char name[16];
    model = (struct model){.next_id = 1000000, .packed = packed, .random = {3}};
    for (uint32_t i = 0; i < MODEL; i++) {
        model.ids[i] = FIRST_ID + MIDDLE + i;
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        model_quiet(place, &model);
        (void)model_name(&model, name);
        if (test_random_below(&model.random, 8) == 0 && !known(place, name)) {
            hold_scan(place, name); /* and what happens meanwhile */
            for (uint32_t k = test_random_below(&model.random, 6); k > 0; k--) {
                model_change(place, &model);
                model_quiet(place, &model);
            }
            let_go(place);
            beside++;
        } else if (test_random_below(&model.random, 3) == 0) {
            from_memory += model_ask(place, &model);
        } else {
            model_change(place, &model);
        }
    }
    assert_true(beside > STEPS / 100);
    assert_true(from_memory > STEPS);
}

static void test_model(void **state)
{
    run_model(*state, false);
}

static void test_model_with_pack(void **state)
{
    run_model(*state, true);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_model),
        CASE(test_model_with_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
