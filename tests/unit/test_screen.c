/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "ctl/screens/screen.h"

#define K "\033[0m\033[K"

static void fits(const char *text, uint32_t columns, uint32_t rows, const char *want)
{
    struct kith_buf out;
    kith_buf_init(&out);
    kith_screen_fit(kith_bytes_make(text, strlen(text)), columns, rows, &out);
    kith_buf_put_u8(&out, 0);
    assert_false(out.failed);
    assert_string_equal((const char *)out.data, want);
    kith_buf_release(&out);
}

static void test_lines(void **state)
{
    (void)state;
    fits("", 10, 5, "");
    fits("one\n", 10, 5, "one" K);
    fits("one\n\ntwo", 10, 5, "one" K "\r\n" K "\r\ntwo" K);
    fits("0123456789\n", 10, 5, "0123456789" K);
}

static void test_long(void **state)
{
    (void)state;
    fits("one two  three\n", 8, 5, "one two" K "\r\nthree" K);
    fits("0123456789abc\nx", 5, 5, "01234" K "\r\n56789" K "\r\nabc" K "\r\nx" K);
    fits("  indented text", 11, 5, "  indented" K "\r\ntext" K);
    fits("abc", 0, 5, "a" K "\r\nb" K "\r\nc" K); /* no terminal is so narrow: it ends all the same */
}

/* A row of a table is one line. */
static void test_table(void **state)
{
    (void)state;
    fits("A  B  C  D  E  FGH\n1  2  3  4  5  678\n", 16, 5,
         "A  B  C  D  E  F" K "\r\n1  2  3  4  5  6" K);
    fits("A  B  C  D  E  FGH\n", 18, 5, "A  B  C  D  E  FGH" K);
}

static void test_rows(void **state)
{
    (void)state;
    fits("1\n2\n3\n", 20, 3, "1" K "\r\n2" K "\r\n3" K);
    fits("1\n2\n3\n4\n", 20, 3, "1" K "\r\n2" K "\r\n\033[0m... 2 more lines\033[K");
    fits("1\n2\n", 20, 1, "\033[0m... 2 more lines\033[K");
    fits("1\n2\n", 20, 0, "");
}

/* Colours take no columns; nothing else that a node says may move the cursor. */
static void test_escapes(void **state)
{
    (void)state;
    fits("\033[32mUP\033[0m abc", 6, 5, "\033[32mUP\033[0m abc" K);
    fits("\033[32mUP\033[0m abcd", 6, 5, "\033[32mUP\033[0m" K "\r\nabcd" K);
    fits("a\033[2Jb\033c\ad\r\te\x7f", 20, 5, "a[2Jbcde" K);
    fits("\033[31", 20, 5, "[31" K);
    fits("a\xc2\x9b" "2Jb", 20, 5, "a2Jb" K); /* the same in one character: CSI */
    fits("\xff\xfe", 20, 5, K);
}

static void test_characters(void **state)
{
    (void)state;
    fits("\xc3\xa9\xc3\xa8\xc3\xaa\xc3\xab", 3, 5,
         "\xc3\xa9\xc3\xa8\xc3\xaa" K "\r\n\xc3\xab" K); /* two bytes, a column */
    fits("\xe4\xb8\xad\xe6\x96\x87", 3, 5, "\xe4\xb8\xad" K "\r\n\xe6\x96\x87" K); /* two each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),      cmocka_unit_test(test_long),
        cmocka_unit_test(test_table),      cmocka_unit_test(test_rows),
        cmocka_unit_test(test_escapes),    cmocka_unit_test(test_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
