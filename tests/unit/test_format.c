/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "ctl/format.h"

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *bytes, *age;
    } cases[] = {{0, "0 B", "now"},
                 {999, "999 B", "now"},
                 {1536, "1.5 KiB", "1 s"},
                 {10240, "10 KiB", "10 s"},
                 {840000, "820 KiB", "14 m"},
                 {7200000, "6.8 MiB", "2 h"},
                 {172800000, "164 MiB", "2 d"},
                 {UINT64_C(412) << 30, "412 GiB", "5120 d"},
                 {UINT64_MAX, "15 EiB", "213503982334 d"}};
    char text[KITH_FORMAT_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kith_format_bytes(cases[i].value, text);
        assert_string_equal(text, cases[i].bytes);
        kith_format_age(cases[i].value, text);
        assert_string_equal(text, cases[i].age);
    }
    kith_format_count(0, text);
    assert_string_equal(text, "0");
    kith_format_count(999, text);
    assert_string_equal(text, "999");
    kith_format_count(1204567, text);
    assert_string_equal(text, "1 204 567");
    kith_format_count(UINT64_MAX, text);
    assert_string_equal(text, "18 446 744 073 709 551 615");
    kith_format_share(1, 3, text);
    assert_string_equal(text, "33.3%");
    kith_format_share(2, 3, text);
    assert_string_equal(text, "66.7%");
    kith_format_share(5, 0, text);
    assert_string_equal(text, "-");
    kith_format_share(UINT64_MAX / 2, UINT64_MAX, text);
    assert_string_equal(text, "50.0%");
    kith_format_time(UINT64_C(1795197753123), text);
    assert_string_equal(text, "2026-11-20T18:02:33Z");
    kith_format_time(UINT64_MAX, text); /* a time that no calendar has does no harm */
    assert_true(strlen(text) < KITH_FORMAT_SIZE);
}

static const char *member(const char *bytes, size_t size, const char *name)
{
    static char kept[64];
    json_t *object = json_object();
    assert_int_equal(kith_json_bytes(object, "v", kith_bytes_make(bytes, size)), KITH_OK);
    const char *text = json_string_value(json_object_get(object, name));
    assert_non_null(text);
    (void)strcpy(kept, text);
    json_decref(object);
    return kept;
}

static void test_json_bytes(void **state)
{
    (void)state;
    assert_string_equal(member("gr\xc3\xbc\xc3\x9f", 6, "v"), "gr\xc3\xbc\xc3\x9f");
    assert_string_equal(member(NULL, 0, "v"), "");
    assert_string_equal(member("\xff", 1, "v_base64"), "/w==");
    assert_string_equal(member("\xff\xfe", 2, "v_base64"), "//4=");
    assert_string_equal(member("\xff\xfe\xfd", 3, "v_base64"), "//79");
    assert_string_equal(member("\xff\xfe\xfd\0", 4, "v_base64"), "//79AA==");
}

static void text_is(const char *text, const char *want)
{
    json_t *string = kith_json_text(text, strlen(text));
    assert_non_null(string);
    assert_string_equal(json_string_value(string), want);
    json_decref(string);
}

#define ODD "\xef\xbf\xbd"

static void test_json_text(void **state)
{
    (void)state;
    text_is("", "");
    text_is("plain\n\x7f", "plain\n\x7f");
    text_is("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf",
            "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf");
    text_is("a\xff"
            "b",
            "a" ODD "b");
    text_is("cut \xe2\x82", "cut " ODD ODD);
    text_is("\xc0\x80", ODD ODD);                 /* longer than it must be */
    text_is("\xe0\x9f\xbf", ODD ODD ODD);         /* the same */
    text_is("\xed\xa0\x80", ODD ODD ODD);         /* a surrogate */
    text_is("\xf4\x90\x80\x80", ODD ODD ODD ODD); /* behind the last character */
    for (int first = 1; first < 256; first++) {   /* whatever it is, JSON takes it */
        for (int second = 1; second < 256; second++) {
            char text[] = {(char)first, (char)second, 'x', '\0'};
            json_t *string = kith_json_text(text, 3);
            assert_non_null(string);
            json_decref(string);
        }
    }
}

static void shown(const char *text, size_t size, const char *want)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_format_text(kith_bytes_make(text, size), &buf);
    kith_buf_put_u8(&buf, 0);
    assert_string_equal((const char *)buf.data, want);
    kith_buf_release(&buf);
}

static void test_format_text(void **state)
{
    (void)state;
    shown("", 0, "");
    shown("gr\xc3\xbc\xc3\x9f 'a\\", 10, "gr\xc3\xbc\xc3\x9f 'a\\");
    shown("a\nb\x1b[m\0", 7, "a\\x0ab\\x1b[m\\x00");
    shown("\xc2\x9b\x7f", 3, "\\xc2\\x9b\\x7f"); /* a control of U+0080 to U+009F */
    shown("\xc2\xa0", 2, "\xc2\xa0");
    shown("a\xffz\xc3", 4, "a\\xffz\\xc3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_format_text),
        cmocka_unit_test(test_json_bytes),
        cmocka_unit_test(test_json_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
