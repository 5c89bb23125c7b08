/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any text as a configuration file and as options of a command line: an error that tells where, or
 * values within their bounds, which are the same when they are set again one by one. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/config.h"

#define KEYS        (sizeof keys / sizeof keys[0])
#define WORDS_MAX   16
#define WEIGHT_MAX  1000u
#define TIMEOUT_MAX 600000u
#define CACHE_MIN   (1u << 20)

static const char *const colours[] = {"red", "green", "blue", NULL};
static const struct kith_config_key keys[] = {
    {"node", "listen", KITH_CONFIG_STRING, "0.0.0.0:7070", 0, 0, NULL, "ADDRESS", "where"},
    {"node", "weight", KITH_CONFIG_INTEGER, "1", 1, WEIGHT_MAX, NULL, NULL, "share"},
    {"store", "cache_size", KITH_CONFIG_SIZE, "256M", CACHE_MIN, 0, NULL, NULL, "memory"},
    {"node", "put_timeout", KITH_CONFIG_DURATION, "10s", 1, TIMEOUT_MAX, NULL, NULL, "patience"},
    {"store", "verify", KITH_CONFIG_BOOL, "no", 0, 0, NULL, NULL, "checks all"},
    {"log", "colour", KITH_CONFIG_CHOICE, "green", 0, 0, colours, NULL, "of lines"},
    {"", "log", KITH_CONFIG_STRING, NULL, 0, 0, NULL, "FILE", "where to"},
};

static struct kith_config *make(void)
{
    struct kith_config *config = NULL;
    KITH_ASSERT(kith_config_new(keys, KEYS, &config, NULL) == KITH_OK);
    return config;
}

static void check(const struct kith_config *config)
{
    struct kith_config *copy = make();
    KITH_ASSERT(kith_config_number(config, "weight") - 1u < WEIGHT_MAX);
    KITH_ASSERT(kith_config_number(config, "put_timeout") - 1u < TIMEOUT_MAX);
    KITH_ASSERT(kith_config_number(config, "cache_size") >= CACHE_MIN);
    KITH_ASSERT(kith_config_number(config, "colour") < 3);
    KITH_ASSERT(kith_config_string(config, "listen") != NULL);
    for (size_t i = 0; i < KEYS; i++) {
        const char *text = kith_config_string(config, keys[i].name);
        if (text == NULL) {
            KITH_ASSERT(!kith_config_is_set(config, keys[i].name));
            continue;
        }
        KITH_ASSERT(kith_config_set(copy, "again", keys[i].name, text, NULL) == KITH_OK);
        KITH_ASSERT(strcmp(kith_config_string(copy, keys[i].name), text) == 0);
        if (keys[i].type != KITH_CONFIG_STRING && keys[i].type != KITH_CONFIG_BOOL) {
            KITH_ASSERT(kith_config_number(copy, keys[i].name) ==
                        kith_config_number(config, keys[i].name));
        }
    }
    KITH_ASSERT(kith_config_bool(copy, "verify") == kith_config_bool(config, "verify"));
    kith_config_free(copy);
}

static void file(const char *text)
{
    struct kith_config *config = make();
    struct kith_error error;
    enum kith_err err = kith_config_load_text(config, "file", text, &error);
    KITH_ASSERT(err == KITH_OK || err == KITH_EINVAL);
    KITH_ASSERT(err == KITH_OK || strncmp(error.message, "file:", 5) == 0);
    check(config); /* after an error, too, every value is one that was taken */
    kith_config_free(config);
}

/* The lines as the words of a command line. */
static void options(char *text)
{
    struct kith_config *config = make();
    char *words[WORDS_MAX + 1];
    int count = 0;
    for (char *at = text; at && count < WORDS_MAX; count++) {
        words[count] = at;
        at = strchr(at, '\n');
        if (at) {
            *at++ = '\0';
        }
    }
    words[count] = NULL;
    for (int i = 0; i < count;) {
        int before = i;
        struct kith_error error;
        enum kith_err err = strncmp(words[i], "--", 2) == 0
                                ? kith_config_option(config, count, words, &i, &error)
                                : KITH_ENOTFOUND;
        KITH_ASSERT(err == KITH_OK || err == KITH_EINVAL || err == KITH_ENOTFOUND);
        KITH_ASSERT(err != KITH_EINVAL || error.message[0] != '\0');
        KITH_ASSERT(err != KITH_OK || (i > before && i <= before + 2 && i <= count));
        i = err == KITH_OK ? i : before + 1;
    }
    check(config);
    kith_config_free(config);
}

static void numbers(const char *text)
{
    uint64_t number;
    char again[32];
    if (kith_size_parse(text, &number, NULL) == KITH_OK) {
        uint64_t same = ~number;
        (void)snprintf(again, sizeof again, "%llu", (unsigned long long)number);
        KITH_ASSERT(kith_size_parse(again, &same, NULL) == KITH_OK && same == number);
    }
    if (kith_duration_parse(text, &number, NULL) == KITH_OK) {
        uint64_t same = ~number;
        (void)snprintf(again, sizeof again, "%llums", (unsigned long long)number);
        KITH_ASSERT(kith_duration_parse(again, &same, NULL) == KITH_OK && same == number);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = kith_malloc(size + 1);
    KITH_ASSERT(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0'; /* a file that holds a NUL is refused before */
    file(text);
    numbers(text);
    options(text);
    kith_free(text);
    return 0;
}
