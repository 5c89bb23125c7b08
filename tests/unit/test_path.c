/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a path lies in the cluster, by the mounts there are. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "ctl/files/path.h"
#include "format/versions.h"

static const char mounts[] =
    "22 1 0:20 / / rw - ext4 /dev/root rw\n"
    "23 22 0:21 / /srv/kith rw,nosuid shared:5 - fuse.kithfs n1,n2:7071:/ rw\n"
    "24 22 0:22 / /home/anna/my\\040files rw - fuse.kithfs [::1]:7070:/projects/x rw\n"
    "25 23 0:23 / /srv/kith/deep rw - fuse.kithfs n9:/ rw\n"
    "26 22 0:24 / /mnt/other rw - fuse.sshfs n1:/ rw\n"
    "27 22 0:25 / /odd rw - fuse.kithfs /dev/odd rw\n"
    "28 22\n"
    "29 22 0:26 / /vol rw - fuse.kithfs [::1]:7070:photos:/a rw\n"
    "30 22 0:27 / /bare rw - fuse.kithfs [::1]:/ rw\n";

static void located_in(const char *cwd, const char *path, const char *want, const char *want_servers,
                       const char *want_volume)
{
    char got[KITH_PATH_SIZE];
    char servers[KITH_PATH_SIZE];
    char volume[KITH_VOLUME_NAME_SIZE];
    struct kith_error error;
    assert_int_equal(kith_path_locate(mounts, cwd, path, got, servers, volume, &error), KITH_OK);
    assert_string_equal(got, want);
    assert_string_equal(servers, want_servers);
    assert_string_equal(volume, want_volume);
}

static void located(const char *cwd, const char *path, const char *want, const char *want_servers)
{
    located_in(cwd, path, want, want_servers, *want_servers ? "fs" : "");
}

static void test_locate(void **state)
{
    (void)state;
    located("/", "/srv/kith/a/b", "/a/b", "n1,n2:7071");
    located("/", "/srv/kith", "/", "n1,n2:7071");
    located("/", "/srv/kith/", "/", "n1,n2:7071");
    located("/", "/srv/kithless/a", "/srv/kithless/a", "");
    located("/srv/kith/a", "./b/../c//d", "/a/c/d", "n1,n2:7071");
}

static void test_more(void **state)
{
    (void)state;
    located("/", "/home/anna/my files/plan.odt", "/projects/x/plan.odt", "[::1]:7070");
    located("/", "/srv/kith/deep/er", "/er", "n9"); /* the mount on top */
    located("/", "/mnt/other/a", "/mnt/other/a", "");
    located("/", "/odd/a", "/odd/a", ""); /* a source that is none */
    located("/", "/", "/", "");
    located("/", "/../..", "/", "");
}

static void test_volumes(void **state)
{
    (void)state;
    located_in("/", "/vol/b", "/a/b", "[::1]:7070", "photos");
    located_in("/", "/bare/b", "/b", "[::1]", "fs"); /* nor is "1]" a volume */
}

static void test_refused(void **state)
{
    (void)state;
    char got[KITH_PATH_SIZE];
    char servers[KITH_PATH_SIZE];
    char volume[KITH_VOLUME_NAME_SIZE];
    static char endless[KITH_PATH_SIZE + 2];
    struct kith_error error;
    assert_int_equal(kith_path_locate(mounts, "/home", "./a", got, servers, volume, &error),
                     KITH_EINVAL);
    assert_non_null(strstr(error.message, "lies in no mounted kithfs"));
    memset(endless, 'x', sizeof(endless) - 1);
    endless[0] = '/';
    assert_int_equal(kith_path_locate(mounts, "/", endless, got, servers, volume, &error),
                     KITH_ETOOBIG);
}

static void test_shared_place(void **state)
{
    (void)state;
    struct kith_group dir;
    struct kith_inode_record link;
    struct kith_rowname name;
    struct kith_rowname want;
    memset(&dir, 1, sizeof(dir));
    memset(&link, 0, sizeof(link));
    link.file_id = 7;
    link.link = dir;
    kith_versions_shared_row(&dir, &link, &name);
    kith_rowname_shared(7, &want);
    assert_true(kith_bytes_equal(kith_rowname_bytes(&name), kith_rowname_bytes(&want)));
    link.link.bytes[3]++;
    kith_versions_shared_row(&dir, &link, &name);
    assert_int_equal(name.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locate),
        cmocka_unit_test(test_more),
        cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_shared_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
