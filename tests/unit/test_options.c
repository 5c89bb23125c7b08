/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fs/mount/options.h"

#define WORDS_MAX 16

/* Parses a line of words; the words must outlive the options. */
static enum kith_err parse(struct kith_fs_options *options, struct kith_error *error, char *line)
{
    char *argv[WORDS_MAX];
    int argc = 0;
    for (char *word = strtok(line, " "); word != NULL && argc < WORDS_MAX;
         word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    memset(error, 0, sizeof *error);
    return kith_fs_options_parse(argc, argv, options, error);
}

static void test_source(void **state)
{
    (void)state;
    struct kith_fs_options options;
    struct kith_error error;
    char line[] = "kithfs n1,n2:7171,[::1],[fe80::1]:80:/a//b/ /mnt "
                  "-o ro,nowatch,attr_timeout=2.5 -o log=/x,pid_file=/p";
    assert_int_equal(parse(&options, &error, line), KITH_OK);
    assert_int_equal(options.server_count, 4);
    assert_string_equal(options.servers[0], "n1:7070");
    assert_string_equal(options.servers[1], "n2:7171");
    assert_string_equal(options.servers[2], "[::1]:7070");
    assert_string_equal(options.servers[3], "[fe80::1]:80");
    assert_string_equal(options.path, "/a/b");
    assert_string_equal(options.mountpoint, "/mnt");
    assert_string_equal(options.log_path, "/x");
    assert_string_equal(options.pid_path, "/p");
    assert_true(options.read_only && !options.foreground && !options.allow_other);
    assert_true(options.no_watch);
    assert_true(options.attr_timeout > 2.4 && options.attr_timeout < 2.6);
    assert_int_equal(options.mount_timeout_ms, 10000);
    kith_fs_options_release(&options);
    char strict[] = "kithfs n1:/ /mnt -o sloppy,strict,w_min=2,zone=far,zone=west,read=one,"
                    "write=each-quorum,read=local-quorum";
    assert_int_equal(parse(&options, &error, strict), KITH_OK);
    assert_true(options.strict);
    assert_int_equal(options.w_min, 2);
    assert_string_equal(options.zone, "west");
    assert_int_equal(options.read_level, KITH_LEVEL_LOCAL_QUORUM);
    assert_int_equal(options.write_level, KITH_LEVEL_EACH_QUORUM);
    kith_fs_options_release(&options);
    char none[] = "kithfs n1:/ /mnt -o w_min=0";
    assert_int_equal(parse(&options, &error, none), KITH_EINVAL);
    assert_string_equal(error.message, "option w_min=0: want a number from 1 to 7");
    kith_fs_options_release(&options);
    char level[] = "kithfs n1:/ /mnt -o read=two";
    assert_int_equal(parse(&options, &error, level), KITH_EINVAL);
    assert_string_equal(error.message, "option read=two: want one, quorum, local-quorum, "
                                       "each-quorum or all");
    char infix[] = "kithfs n1:/ /mnt -o conflict_names=infix,conflicts=hide";
    assert_int_equal(parse(&options, &error, infix), KITH_OK);
    assert_true(options.hide_conflicts);
    assert_int_equal(options.conflict_names, KITH_CONFLICT_INFIX);
    assert_false(options.no_acl);
    kith_fs_options_release(&options);
    char hook[] = "kithfs n1:/ /mnt -o on_conflict=first,on_conflict=settle,hook_limit=2.5";
    assert_int_equal(parse(&options, &error, hook), KITH_OK);
    assert_string_equal(options.on_conflict, "settle");
    assert_int_equal(options.hook_limit_ms, 2500);
    assert_int_equal(options.hook_quiet_ms, 1000);
    kith_fs_options_release(&options);
    char no_hook[] = "kithfs n1:/ /mnt -o on_conflict=";
    assert_int_equal(parse(&options, &error, no_hook), KITH_EINVAL);
    assert_string_equal(error.message, "option on_conflict= wants a program");
    char noacl[] = "kithfs n1:/ /mnt -o noacl";
    assert_int_equal(parse(&options, &error, noacl), KITH_OK);
    assert_true(options.no_acl);
    kith_fs_options_release(&options);
    static const struct {
        const char *list;
        bool hard;
    } kinds[] = {{"ro", false},   {"soft", false},      {"hard", true},
                 {"hard,soft", false}, {"soft,hard", true}, {"hard,hard", true}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char words[64];
        snprintf(words, sizeof words, "kithfs n1:/ /mnt -o %s", kinds[i].list);
        assert_int_equal(parse(&options, &error, words), KITH_OK);
        assert_int_equal(options.hard, kinds[i].hard);
        kith_fs_options_release(&options);
    }
    char value[] = "kithfs n1:/ /mnt -o hard=1";
    assert_int_equal(parse(&options, &error, value), KITH_EINVAL);
    char both[] = "kithfs n1:/ /mnt -o noacl,acl";
    assert_int_equal(parse(&options, &error, both), KITH_OK);
    assert_false(options.no_acl);
    kith_fs_options_release(&options);
    char prefix[] = "kithfs n1:/ /mnt -o conflict_names=prefix";
    assert_int_equal(parse(&options, &error, prefix), KITH_EINVAL);
    assert_string_equal(error.message, "option conflict_names=prefix: want suffix or infix");
    char cert[] = "kithfs n1:/ /mnt -o cert=/no/such";
    assert_int_equal(parse(&options, &error, cert), KITH_EINVAL);
    assert_string_equal(error.message, "option cert=/no/such: No such file or directory");
    char certs[] = "kithfs n1:/ /mnt -o cert=/dev/../dev/null,key=/dev/null,ca=/dev/zero,crl=/dev";
    assert_int_equal(parse(&options, &error, certs), KITH_OK);
    assert_string_equal(options.cert, "/dev/null");
    assert_string_equal(options.key, "/dev/null");
    assert_string_equal(options.ca, "/dev/zero");
    assert_string_equal(options.crl, "/dev");
    kith_fs_options_release(&options);
    char zone[] = "kithfs n1:/ /mnt -o zone=12345678901234567890123456789012";
    assert_int_equal(parse(&options, &error, zone), KITH_EINVAL);
    assert_string_equal(error.message, "option zone=12345678901234567890123456789012: want a name "
                                       "of 1 to 31 bytes");
    char volumes[] = "kithfs n1:/ /mnt -o volume=a,volume=photos";
    assert_int_equal(parse(&options, &error, volumes), KITH_OK);
    assert_string_equal(options.volume, "photos");
    kith_fs_options_release(&options);
    char usual[] = "kithfs n1:/ /mnt -o volume=photos,volume=fs";
    assert_int_equal(parse(&options, &error, usual), KITH_OK);
    assert_null(options.volume);
    kith_fs_options_release(&options);
    static const char *const no_volumes[] = {"", "kv", "7", "0x7", "a/b", "-a", ".a"};
    for (size_t i = 0; i < sizeof no_volumes / sizeof no_volumes[0]; i++) {
        char words[64];
        snprintf(words, sizeof words, "kithfs n1:/ /mnt -o volume=%s", no_volumes[i]);
        assert_int_equal(parse(&options, &error, words), KITH_EINVAL);
        assert_non_null(strstr(error.message, "a volume's name has 1 to 64 letters"));
    }
    char root[] = "kithfs n1:/ /mnt -f -d";
    assert_int_equal(parse(&options, &error, root), KITH_OK);
    assert_true(!options.strict && options.w_min == 0);
    assert_string_equal(options.path, "/");
    assert_true(options.foreground && options.debug && !options.no_watch);
    kith_fs_options_release(&options);
}

static void test_helper(void **state)
{
    (void)state;
    struct kith_fs_options options;
    struct kith_error error;
    char line[] = "/sbin/mount.kithfs n1 /mnt -s -f -n -v -o "
                  "rw,noexec,nosuid,_netdev,nofail,user,x-systemd.automount,mount_timeout=5,"
                  "cache_size=64M,readahead=1k,op_timeout=0.5,log_level=debug";
    assert_int_equal(parse(&options, &error, line), KITH_OK);
    assert_false(options.foreground);
    assert_int_equal(options.extra_count, 2);
    assert_string_equal(options.extra[0], "noexec");
    assert_int_equal(options.mount_timeout_ms, 5000);
    assert_int_equal(options.op_timeout_ms, 500);
    assert_int_equal(options.cache_bytes, 64u << 20);
    assert_int_equal(options.readahead_bytes, 1024);
    assert_int_equal(options.log_level, KITH_LOG_DEBUG);
    assert_true(options.fake && options.tolerant && !options.read_only);
    kith_fs_options_release(&options);
    char together[] = "mount.fuse.kithfs n1 /mnt -nv -t fuse.kithfs -o bogus,plain=9,noexec -sr";
    assert_int_equal(parse(&options, &error, together), KITH_OK);
    assert_true(options.tolerant && options.read_only && !options.fake);
    assert_int_equal(options.extra_count, 1);
    kith_fs_options_release(&options);
    char writable[] = "mount.kithfs n1 /mnt -w";
    assert_int_equal(parse(&options, &error, writable), KITH_OK);
    assert_true(!options.tolerant && !options.read_only && !options.fake && !options.foreground);
    kith_fs_options_release(&options);
    char itself[] = "kithfs n1 /mnt -f"; /* not as a helper: in front */
    assert_int_equal(parse(&options, &error, itself), KITH_OK);
    assert_true(options.foreground && !options.fake);
    kith_fs_options_release(&options);
}

/* What stands in people's fstab and is nobody's here; libfuse would refuse some of it. */
static void test_fstab(void **state)
{
    (void)state;
    struct kith_fs_options options;
    struct kith_error error;
    char line[] = "mount.kithfs n1 /mnt -o "
                  "defaults,relatime,nodiratime,strictatime,lazytime,auto,nousers,noowner,nogroup,"
                  "user=me,uhelper=hal,helper=hal,X-mount.mkdir=0755,x-gvfs-show,comment=a,iversion,"
                  "nomand,silent,fsname=a,subtype=b,_netdev,noatime";
    assert_int_equal(parse(&options, &error, line), KITH_OK);
    assert_int_equal(options.extra_count, 1);
    assert_string_equal(options.extra[0], "noatime");
    assert_int_equal(options.own_count, 1);
    kith_fs_options_release(&options);
}

/* As of other filesystems' programs, where nothing else is on the line, or something is. */
static void test_asked_for_help(void **state)
{
    (void)state;
    static const char *const lines[] = {"kithfs -o help", "kithfs n1:/ /mnt -o ro,help",
                                        "mount.kithfs -o help", "mount.kithfs n1:/ /mnt -s -ohelp"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct kith_fs_options options;
        struct kith_error error;
        char line[64];
        snprintf(line, sizeof line, "%s", lines[i]);
        assert_int_equal(parse(&options, &error, line), KITH_OK);
        assert_true(options.help);
        kith_fs_options_release(&options);
    }
}

/* Every wrong line is refused, and the message names the word. */
static void test_wrong(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {"kithfs", "source"},
        {"kithfs n1", "mount point"},
        {"kithfs n1 /mnt more", "more"},
        {"kithfs n1 /mnt -o speed=9", "speed"},
        {"kithfs n1 /mnt -o fast", "fast"},
        {"kithfs n1 /mnt -z", "-z"},
        {"kithfs n1 /mnt -s", "-s"},
        {"mount.kithfs n1 /mnt -d -x", "-x"},
        {"mount.kithfs n1 /mnt -fz", "-fz"},
        {"mount.kithfs n1 /mnt -o fast", "fast"},
        {"mount.kithfs n1 /mnt -s -o op_timeout=0", "op_timeout"},
        {"mount.kithfs n1 /mnt -s -o log_level=loud", "loud"},
        {"mount.kithfs n1 /mnt -o nosymfollow", "nosymfollow"},
        {"kithfs n1 /mnt -o", "-o"},
        {"kithfs n1:0 /mnt", "n1:0"},
        {"kithfs n1:70000 /mnt", "n1:70000"},
        {"kithfs n1:x /mnt", "n1:x"},
        {"kithfs n1,,n2 /mnt", "HOST"},
        {"kithfs [::1 /mnt", "[::1"},
        {"kithfs []:1 /mnt", "[]:1"},
        {"kithfs n1:/a/../b /mnt", ".."},
        {"kithfs n1 /mnt -o attr_timeout=", "attr_timeout"},
        {"kithfs n1 /mnt -o attr_timeout=-1", "attr_timeout"},
        {"kithfs n1 /mnt -o attr_timeout=nan", "attr_timeout"},
        {"kithfs n1 /mnt -o op_timeout=0", "op_timeout"},
        {"kithfs n1 /mnt -o mount_timeout=1x", "mount_timeout"},
        {"kithfs n1 /mnt -o cache_size=1T", "cache_size"},
        {"kithfs n1 /mnt -o log_level=loud", "loud"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct kith_fs_options options;
        struct kith_error error;
        char line[256];
        snprintf(line, sizeof line, "%s", lines[i][0]);
        assert_int_equal(parse(&options, &error, line), KITH_EINVAL);
        if (strstr(error.message, lines[i][1]) == NULL) {
            fail_msg("\"%s\" says: %s", lines[i][0], error.message);
        }
    }
}

static void test_sizes(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    assert_int_equal(kith_fs_size_parse("0", &bytes), KITH_OK);
    assert_int_equal(kith_fs_size_parse("3k", &bytes), KITH_OK);
    assert_int_equal(bytes, 3072);
    assert_int_equal(kith_fs_size_parse("2G", &bytes), KITH_OK);
    assert_int_equal(bytes, 2ull << 30);
    static const char *const wrong[] = {
        "", "k", "-1", "1kk", "1 k", "99999999999999999999", "18446744073709551615G"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(kith_fs_size_parse(wrong[i], &bytes), KITH_EINVAL);
    }
}

static void text_is(const char *given, const char *want)
{
    struct kith_fs_options options;
    struct kith_error error;
    struct kith_buf out;
    char line[512];
    snprintf(line, sizeof line, "kithfs n1:/ /mnt%s%s", *given != '\0' ? " -o " : "", given);
    assert_int_equal(parse(&options, &error, line), KITH_OK);
    kith_buf_init(&out);
    kith_fs_options_text(&options, &out);
    kith_buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.data, want);
    kith_buf_release(&out);
    kith_fs_options_release(&options);
}

/* Only what is not as usual, and so that it can be given again. */
static void test_text(void **state)
{
    (void)state;
    text_is("", "");
    text_is("sloppy,acl,attr_timeout=1,op_timeout=10,read=quorum,conflicts=show", "");
    static const char all[] =
        "ro,allow_other,strict,w_min=2,zone=ams,volume=photos,read=one,write=all,attr_timeout=2.5,"
        "entry_timeout=0,check=60,mount_timeout=3,op_timeout=0.5,nowatch,noacl,conflicts=hide,"
        "conflict_names=infix,on_conflict=/usr/bin/settle,cache_size=1048576,readahead=4096,pid_file=/p,log=/l,log_level=warn,"
        "nosuid,noatime";
    text_is(all, all);
    struct kith_fs_options options;
    struct kith_error error;
    char line[] = "kithfs n1:/ /mnt -o nocontrol";
    assert_int_equal(parse(&options, &error, line), KITH_OK);
    assert_true(options.no_control);
    kith_fs_options_release(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source),
        cmocka_unit_test(test_helper),
        cmocka_unit_test(test_fstab),
        cmocka_unit_test(test_asked_for_help),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
