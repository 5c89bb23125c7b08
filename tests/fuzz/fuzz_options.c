/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any words as the command line of a mount, as fstab and mount(8) give it: refused with a message,
 * or options within their bounds. Those that are said back are the same again. The lines of the
 * input are the words; the first one is the program's name. */
#include "fuzz.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "fs/mount/options.h"

#define WORDS_MAX 16

static void check(const struct kith_fs_options *options)
{
    KITH_ASSERT(options->server_count > 0 && options->server_count <= KITH_FS_SERVERS_MAX);
    for (uint32_t i = 0; i < options->server_count; i++) {
        const char *colon = strrchr(options->servers[i], ':');
        KITH_ASSERT(colon != NULL && colon > options->servers[i] && colon[1] != '\0');
    }
    size_t size = strlen(options->path);
    KITH_ASSERT(options->path[0] == '/' && (size == 1 || options->path[size - 1] != '/'));
    KITH_ASSERT(strstr(options->path, "//") == NULL && strstr(options->path, "/../") == NULL);
    KITH_ASSERT(options->mountpoint != NULL);
    KITH_ASSERT(options->extra_count <= KITH_FS_EXTRA_MAX);
    KITH_ASSERT(options->w_min <= KITH_REPLICAS_MAX);
    KITH_ASSERT(options->op_timeout_ms >= 1 && options->op_timeout_ms <= 600000);
    KITH_ASSERT(options->mount_timeout_ms >= 1 && options->mount_timeout_ms <= 600000);
    KITH_ASSERT(options->attr_timeout >= 0.0 && options->entry_timeout >= 0.0);
}

/* What `.kith/status` shows is a line that mounts in the same way. */
static void say_again(const struct kith_fs_options *options)
{
    struct kith_buf first, second;
    struct kith_fs_options again;
    kith_buf_init(&first);
    kith_buf_init(&second);
    kith_fs_options_text(options, &first);
    kith_buf_put(&first, "", 1);
    KITH_ASSERT(!first.failed);
    char program[] = "kithfs", source[] = "h:/", place[] = "m", letter[] = "-o";
    char *const words[] = {program, source, place, letter, (char *)first.data, NULL};
    KITH_ASSERT(kith_fs_options_parse(5, words, &again, NULL) == KITH_OK);
    kith_fs_options_text(&again, &second);
    kith_buf_put(&second, "", 1);
    KITH_ASSERT(kith_bytes_equal(kith_buf_bytes(&first), kith_buf_bytes(&second)));
    kith_fs_options_release(&again);
    kith_buf_release(&first);
    kith_buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kith_fs_options options;
    struct kith_error error;
    char *text = kith_malloc(size + 1), *words[WORDS_MAX + 1];
    int count = 0;
    KITH_ASSERT(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    for (char *at = text; at && count < WORDS_MAX; count++) {
        words[count] = at;
        at = strchr(at, '\n');
        if (at) {
            *at++ = '\0';
        }
    }
    words[count] = NULL;
    error.message[0] = '\0';
    enum kith_err err = kith_fs_options_parse(count, words, &options, &error);
    KITH_ASSERT(err == KITH_OK || err == KITH_EINVAL);
    KITH_ASSERT(err == KITH_OK || error.message[0] != '\0');
    if (err == KITH_OK) {
        if (!options.help && !options.version) {
            check(&options);
        }
        say_again(&options);
        kith_fs_options_release(&options);
    }
    kith_free(text);
    return 0;
}
