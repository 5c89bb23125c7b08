/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * diff.c - the command: what the other versions of a file have otherwise. */
#include "ctl/files/beside.h"
#include "ctl/files/spawn.h"
#include "ctl/format.h"

static enum kith_err compare(const struct kith_ctl_args *args, const struct kith_beside *beside,
                             uint32_t index, struct kith_buf *output, struct kith_error *error)
{
    const char *tool = kith_ctl_value(args, "tool");
    const char *paths[] = {beside->versions[0].path, beside->versions[index].path};
    const char *argv[] = {"diff",   "-ru",    "--", /* they may be directories */
                          paths[0], paths[1], NULL};
    int status = 0;
    enum kith_err err = tool ? kith_spawn_shell(tool, 2, paths, output, &status, error)
                             : kith_spawn((char *const *)argv, output, &status, error);
    if (err == KITH_OK && status > 1) { /* as diff does: 1 tells that they differ */
        err = kith_error_set(error, KITH_EIO, "%s: %s ended with status %d", paths[1],
                             tool ? tool : "diff", status);
    }
    return err;
}

static enum kith_err compare_json(const struct kith_ctl_args *args,
                                  const struct kith_beside *beside, json_t *list,
                                  struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    for (uint32_t i = 1; err == KITH_OK && i < beside->count; i++) {
        struct kith_buf output;
        kith_buf_init(&output);
        err = compare(args, beside, i, &output, error);
        json_t *object = json_pack("{s:i, s:o}", "number", (int)i + 1, "diff",
                                   kith_json_text((const char *)output.data, output.size));
        if (err == KITH_OK && json_array_append(list, object) != 0) {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
        json_decref(object);
        kith_buf_release(&output);
    }
    return err;
}

static enum kith_err run(const struct kith_ctl_args *args, const struct kith_beside *beside,
                         struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    if (args->json) {
        json_t *list = json_array();
        err = compare_json(args, beside, list, error);
        json_t *object =
            json_pack("{s:o, s:O}", "versions", kith_beside_json(beside), "diffs", list);
        json_decref(list);
        object = kith_json_named("path", args->positional[0], object);
        if (err != KITH_OK) {
            json_decref(object);
            return err;
        }
        return kith_json_print(object, error);
    }
    if (beside->count == 1) {
        (void)printf("%s has no other version.\n", args->positional[0]);
    }
    for (uint32_t i = 1; err == KITH_OK && i < beside->count; i++) {
        err = compare(args, beside, i, NULL, error);
    }
    return err;
}

int kith_ctl_diff(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_arena arena;
    struct kith_beside beside;
    kith_arena_init(&arena, 0);
    enum kith_err err = kith_beside_read(args, &arena, args->positional[0], &beside, &error);
    bool several = err == KITH_OK && beside.count > 1;
    if (err == KITH_OK) {
        err = run(args, &beside, &error);
    }
    kith_arena_release(&arena);
    return err != KITH_OK ? kith_ctl_fail(args, &error) : several ? KITH_CTL_SIBLINGS : KITH_CTL_OK;
}
