/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * config_parse.c - sizes, durations, and the nearest known word. */
#include <ctype.h>
#include <string.h>

#include "base/config.h"

/* A decimal number at the start of text; *ret_end is what follows it. */
static bool number_read(const char *text, uint64_t *ret_number, const char **ret_end)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    *ret_end = at;
    return at != text;
}

enum kith_err kith_size_parse(const char *text, uint64_t *ret_bytes, struct kith_error *error)
{
    static const char units[] = "KMGT";
    uint64_t number = 0;
    const char *unit = NULL;
    if (number_read(text, &number, &unit)) {
        const char *known = *unit ? strchr(units, toupper((unsigned char)*unit)) : NULL;
        unsigned shift = known ? 10 * (unsigned)(known - units + 1) : 0;
        unit += known ? 1 : 0;
        bool good = *unit == '\0' || strcmp(unit, "B") == 0 ||
                    (known && (strcmp(unit, "b") == 0 || strcmp(unit, "iB") == 0));
        if (good && number <= UINT64_MAX >> shift) {
            *ret_bytes = number << shift;
            return KITH_OK;
        }
    }
    return kith_error_set(error, KITH_EINVAL,
                          "'%s' is no size: write a number of bytes, or with K, M, G or T (256M)",
                          text);
}

enum kith_err kith_duration_parse(const char *text, uint64_t *ret_ms, struct kith_error *error)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t number = 0;
    const char *unit = NULL;
    if (number_read(text, &number, &unit)) {
        if (number == 0 && *unit == '\0') {
            *ret_ms = 0;
            return KITH_OK;
        }
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(unit, units[i].unit) == 0 && number <= UINT64_MAX / units[i].ms) {
                *ret_ms = number * units[i].ms;
                return KITH_OK;
            }
        }
    }
    return kith_error_set(error, KITH_EINVAL,
                          "'%s' is no duration: write a number with ms, s, m, h or d (1500ms, 10s)",
                          text);
}

#define NEAREST_WORD_MAX 64u /* characters; nothing longer is looked at */

/* Levenshtein's distance; Wagner and Fischer 1974, one row at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    size_t row[NEAREST_WORD_MAX + 1];
    for (size_t j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t add = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < add ? change : add;
        }
    }
    return row[width];
}

const char *kith_nearest(const char *text, const char *const *words, size_t count)
{
    size_t length = strlen(text);
    if (length > NEAREST_WORD_MAX) {
        return NULL;
    }
    const char *best = NULL;
    size_t least = length / 3 > 2 ? length / 3 : 2;
    for (size_t i = 0; i < count; i++) {
        if (strlen(words[i]) > NEAREST_WORD_MAX) {
            continue;
        }
        size_t distance = edit_distance(text, words[i]);
        if (distance < length && (best ? distance < least : distance <= least)) {
            least = distance;
            best = words[i];
        }
    }
    return best;
}
