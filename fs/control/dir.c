/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir.c - what .kith looks like: its attributes, its names. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs/control/impl.h"

#define NAME_TIMEOUT_S 86400.0 /* the names are as long as the mount */

static const struct {
    const char *name;
    mode_t mode;
} nodes[KITH_CONTROL_END_NODE] = {
    [KITH_CONTROL_DIR] = {KITH_CONTROL_NAME, S_IFDIR | 0555},
    [KITH_CONTROL_STATUS] = {"status", S_IFREG | 0444},
    [KITH_CONTROL_STATS] = {"stats", S_IFREG | 0444},
    /* these two tell names, whatever the permissions of their directories */
    [KITH_CONTROL_CONFLICTS] = {"conflicts", S_IFREG | 0400},
    [KITH_CONTROL_LOG] = {"accesslog", S_IFREG | 0400},
};

/* Times: of a directory that does not change, and of files that change all the time. */
static void stat_of(const struct kith_control *control, enum kith_control_node node,
                    struct stat *ret_stat)
{
    struct kith_time time = node == KITH_CONTROL_DIR ? control->since : kith_wall_time();
    memset(ret_stat, 0, sizeof *ret_stat);
    ret_stat->st_ino = node;
    ret_stat->st_mode = nodes[node].mode;
    ret_stat->st_nlink = node == KITH_CONTROL_DIR ? 2 : 1;
    ret_stat->st_uid = geteuid();
    ret_stat->st_gid = getegid();
    ret_stat->st_blksize = 4096;
    ret_stat->st_size = node == KITH_CONTROL_LOG ? KITH_LOG_RING_BYTES : 0; /* accesslog.c */
    ret_stat->st_mtim.tv_sec = (time_t)time.sec;
    ret_stat->st_mtim.tv_nsec = (long)time.nsec;
    ret_stat->st_atim = ret_stat->st_ctim = ret_stat->st_mtim;
}

static void entry_of(const struct kith_control *control, enum kith_control_node node,
                     struct fuse_entry_param *ret_param)
{
    memset(ret_param, 0, sizeof *ret_param);
    ret_param->ino = node;
    stat_of(control, node, &ret_param->attr);
    ret_param->entry_timeout = NAME_TIMEOUT_S;
    ret_param->attr_timeout = node == KITH_CONTROL_DIR ? NAME_TIMEOUT_S : 0;
}

void kith_control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param param;
    enum kith_control_node node = parent == FUSE_ROOT_ID ? KITH_CONTROL_DIR : KITH_CONTROL_STATUS;
    while (node < KITH_CONTROL_END_NODE && strcmp(name, nodes[node].name) != 0) {
        node++;
    }
    if (node == KITH_CONTROL_END_NODE || (parent != FUSE_ROOT_ID && parent != KITH_CONTROL_DIR)) {
        fuse_reply_err(req, parent == KITH_CONTROL_DIR ? ENOENT : ENOTDIR);
        return;
    }
    entry_of(kith_control_of(req), node, &param);
    fuse_reply_entry(req, &param); /* lookups of these are not counted */
}

void kith_control_getattr(fuse_req_t req, fuse_ino_t node)
{
    struct stat attr;
    stat_of(kith_control_of(req), (enum kith_control_node)node, &attr);
    fuse_reply_attr(req, &attr, node == KITH_CONTROL_DIR ? NAME_TIMEOUT_S : 0);
}

/* Positions: 0 ".", 1 "..", then the files. */
void kith_control_readdir(fuse_req_t req, size_t size, off_t off, bool plus)
{
    const struct kith_control *control = kith_control_of(req);
    char data[1024]; /* of all of them: less than 200 bytes each */
    size_t used = 0, room = size < sizeof data ? size : sizeof data;
    for (off_t at = off; at < KITH_CONTROL_END_NODE - KITH_CONTROL_DIR + 1; at++) {
        struct fuse_entry_param param;
        const char *name = at == 0 ? "." : "..";
        memset(&param, 0, sizeof param);
        if (at >= 2) {
            enum kith_control_node node = (enum kith_control_node)(KITH_CONTROL_STATUS + at - 2);
            entry_of(control, node, &param);
            name = nodes[node].name;
        } else {
            param.attr.st_ino = at == 0 ? KITH_CONTROL_DIR : FUSE_ROOT_ID;
            param.attr.st_mode = S_IFDIR;
        }
        size_t more =
            plus ? fuse_add_direntry_plus(req, data + used, room - used, name, &param, at + 1)
                 : fuse_add_direntry(req, data + used, room - used, name, &param.attr, at + 1);
        if (more > room - used) {
            break;
        }
        used += more;
    }
    fuse_reply_buf(req, data, used);
}
