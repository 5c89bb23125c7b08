/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * words.c - see words.h. The structs are the kernel's (linux/fuse.h); each is copied out of the
 * bytes where it fits, and is zeros where it does not. */
#include "fs/control/words.h"

#include <linux/fuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Of later kernels than the header's. */
#define OP_STATX              52u
#define OP_COPY_FILE_RANGE_64 53u

static const char *const names[] = {
    [FUSE_LOOKUP] = "lookup",
    [FUSE_FORGET] = "forget",
    [FUSE_GETATTR] = "getattr",
    [FUSE_SETATTR] = "setattr",
    [FUSE_READLINK] = "readlink",
    [FUSE_SYMLINK] = "symlink",
    [FUSE_MKNOD] = "mknod",
    [FUSE_MKDIR] = "mkdir",
    [FUSE_UNLINK] = "unlink",
    [FUSE_RMDIR] = "rmdir",
    [FUSE_RENAME] = "rename",
    [FUSE_LINK] = "link",
    [FUSE_OPEN] = "open",
    [FUSE_READ] = "read",
    [FUSE_WRITE] = "write",
    [FUSE_STATFS] = "statfs",
    [FUSE_RELEASE] = "release",
    [FUSE_FSYNC] = "fsync",
    [FUSE_SETXATTR] = "setxattr",
    [FUSE_GETXATTR] = "getxattr",
    [FUSE_LISTXATTR] = "listxattr",
    [FUSE_REMOVEXATTR] = "removexattr",
    [FUSE_FLUSH] = "flush",
    [FUSE_INIT] = "init",
    [FUSE_OPENDIR] = "opendir",
    [FUSE_READDIR] = "readdir",
    [FUSE_RELEASEDIR] = "releasedir",
    [FUSE_FSYNCDIR] = "fsyncdir",
    [FUSE_ACCESS] = "access",
    [FUSE_CREATE] = "create",
    [FUSE_INTERRUPT] = "interrupt",
    [FUSE_IOCTL] = "ioctl",
    [FUSE_POLL] = "poll",
    [FUSE_BATCH_FORGET] = "batch_forget",
    [FUSE_FALLOCATE] = "fallocate",
    [FUSE_READDIRPLUS] = "readdirplus",
    [FUSE_RENAME2] = "rename",
    [FUSE_LSEEK] = "lseek",
    [FUSE_COPY_FILE_RANGE] = "copy_file_range",
    [FUSE_SYNCFS] = "syncfs",
    [FUSE_TMPFILE] = "tmpfile",
    [OP_STATX] = "statx",
    [OP_COPY_FILE_RANGE_64] = "copy_file_range",
};

const char *kith_words_op(uint32_t opcode)
{
    bool known = opcode < sizeof names / sizeof names[0] && names[opcode] != NULL;
    return known ? names[opcode] : "other";
}

bool kith_words_unanswered(uint32_t opcode)
{
    return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT ||
           opcode == FUSE_NOTIFY_REPLY;
}

/* What is left of the bytes. */
struct rest {
    const char *at;
    size_t size;
};

/* A struct of so many bytes; zeros where they are not all there. */
static void take(struct rest *rest, void *ret_struct, size_t size)
{
    memset(ret_struct, 0, size);
    if (rest->size < size) {
        rest->size = 0;
        return;
    }
    memcpy(ret_struct, rest->at, size);
    rest->at += size;
    rest->size -= size;
}

/* A text with its NUL; NULL where that is missing. */
static const char *take_text(struct rest *rest)
{
    const char *text = rest->at, *end = rest->size > 0 ? memchr(text, '\0', rest->size) : NULL;
    if (end == NULL) {
        rest->size = 0;
        return NULL;
    }
    rest->at = end + 1;
    rest->size -= (size_t)(end + 1 - text);
    return text;
}

static void __attribute__((format(printf, 2, 3)))
say(struct kith_words *words, const char *format, ...)
{
    size_t used = strlen(words->args);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words->args + used, sizeof words->args - used, format, args); /* fits */
    va_end(args);
}

static void say_setattr(struct kith_words *words, struct rest *rest)
{
    struct fuse_setattr_in in;
    take(rest, &in, sizeof in);
    const char *gap = "";
    if ((in.valid & FATTR_MODE) != 0) {
        say(words, "mode=%04o", in.mode & 07777);
        gap = " ";
    }
    if ((in.valid & (FATTR_UID | FATTR_GID)) != 0) {
        say(words, "%sowner=%d:%d", gap, (in.valid & FATTR_UID) != 0 ? (int)in.uid : -1,
            (in.valid & FATTR_GID) != 0 ? (int)in.gid : -1);
        gap = " ";
    }
    if ((in.valid & FATTR_SIZE) != 0) {
        say(words, "%ssize=%llu", gap, (unsigned long long)in.size);
        gap = " ";
    }
    if ((in.valid & (FATTR_ATIME | FATTR_MTIME)) != 0) {
        say(words, "%stimes", gap);
    }
}

/* What makes a name. */
static void say_make(struct kith_words *words, struct rest *rest)
{
    union {
        struct fuse_mknod_in mknod;
        struct fuse_mkdir_in mkdir;
        struct fuse_create_in create;
    } in;
    switch (words->opcode) {
    case FUSE_MKNOD:
        take(rest, &in.mknod, sizeof in.mknod);
        say(words, "mode=%o", in.mknod.mode);
        break;
    case FUSE_MKDIR:
        take(rest, &in.mkdir, sizeof in.mkdir);
        say(words, "mode=%04o", in.mkdir.mode & 07777);
        break;
    default:
        take(rest, &in.create, sizeof in.create);
        say(words, "mode=%04o flags=0x%x", in.create.mode & 07777, in.create.flags);
        break;
    }
    words->name = take_text(rest);
}

static void say_two_names(struct kith_words *words, struct rest *rest)
{
    struct fuse_rename2_in rename = {.newdir = 0};
    struct fuse_link_in link;
    switch (words->opcode) {
    case FUSE_SYMLINK:
        words->name = take_text(rest);
        words->relation = "to";
        words->name2 = take_text(rest);
        return;
    case FUSE_LINK: /* of the directory that gets the name */
        take(rest, &link, sizeof link);
        words->name = take_text(rest);
        words->relation = "of";
        words->node2 = link.oldnodeid;
        return;
    case FUSE_RENAME2:
        take(rest, &rename, sizeof rename);
        break;
    default:
        take(rest, &rename.newdir, sizeof rename.newdir);
        break;
    }
    words->name = take_text(rest);
    words->relation = "to";
    words->node2 = rename.newdir;
    words->name2 = take_text(rest);
    if (rename.flags != 0) {
        say(words, "flags=0x%x", rename.flags);
    }
}

/* What is done to the bytes of an open file. */
static void say_range(struct kith_words *words, struct rest *rest)
{
    union {
        struct fuse_read_in read;
        struct fuse_write_in write;
        struct fuse_fallocate_in fallocate;
        struct fuse_lseek_in lseek;
        struct fuse_copy_file_range_in copy;
    } in;
    switch (words->opcode) {
    case FUSE_WRITE:
        take(rest, &in.write, sizeof in.write);
        say(words, "size=%u offset=%llu", in.write.size, (unsigned long long)in.write.offset);
        break;
    case FUSE_FALLOCATE:
        take(rest, &in.fallocate, sizeof in.fallocate);
        say(words, "size=%llu offset=%llu mode=0x%x", (unsigned long long)in.fallocate.length,
            (unsigned long long)in.fallocate.offset, in.fallocate.mode);
        break;
    case FUSE_LSEEK:
        take(rest, &in.lseek, sizeof in.lseek);
        say(words, "offset=%llu whence=%u", (unsigned long long)in.lseek.offset, in.lseek.whence);
        break;
    case FUSE_COPY_FILE_RANGE:
    case OP_COPY_FILE_RANGE_64:
        take(rest, &in.copy, sizeof in.copy);
        words->relation = "to";
        words->node2 = in.copy.nodeid_out;
        say(words, "size=%llu offset=%llu to_offset=%llu", (unsigned long long)in.copy.len,
            (unsigned long long)in.copy.off_in, (unsigned long long)in.copy.off_out);
        break;
    default: /* READ, READDIR, READDIRPLUS */
        take(rest, &in.read, sizeof in.read);
        say(words, "size=%u offset=%llu", in.read.size, (unsigned long long)in.read.offset);
        break;
    }
}

/* The name of an attribute is cut: it may have 255 bytes. Its value is nobody's business. */
static void say_xattr(struct kith_words *words, struct rest *rest)
{
    uint32_t in[2] = {0,
                      0}; /* size; flags of SETXATTR: the kernel's longer form was not agreed on */
    if (words->opcode == FUSE_SETXATTR) {
        take(rest, in, FUSE_COMPAT_SETXATTR_IN_SIZE);
    } else if (words->opcode == FUSE_GETXATTR) {
        take(rest, in, sizeof(struct fuse_getxattr_in));
    }
    const char *name = take_text(rest);
    char shown[64];
    size_t used = 0;
    for (; name != NULL && name[used] != '\0' && used + 1 < sizeof shown; used++) {
        shown[used] = '_';
        if (name[used] > ' ' && name[used] < 0x7f && name[used] != '\\') {
            shown[used] = name[used];
        }
    }
    shown[used] = '\0';
    say(words, "name=%s", shown);
    if (words->opcode != FUSE_REMOVEXATTR) {
        say(words, " size=%u", in[0]);
    }
}

static void say_rest(struct kith_words *words, struct rest *rest)
{
    struct fuse_open_in open;
    struct fuse_fsync_in fsync;
    switch (words->opcode) {
    case FUSE_OPEN:
        take(rest, &open, sizeof open);
        say(words, "flags=0x%x", open.flags);
        break;
    case FUSE_FSYNC:
        take(rest, &fsync, sizeof fsync);
        say(words, "%s", (fsync.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0 ? "data" : "");
        break;
    default:
        break;
    }
}

bool kith_words_read(const void *request, size_t size, struct kith_words *ret_words)
{
    struct fuse_in_header header;
    struct rest rest = {request, size};
    if (size < sizeof header) {
        return false;
    }
    take(&rest, &header, sizeof header);
    memset(ret_words, 0, sizeof *ret_words);
    ret_words->opcode = header.opcode;
    ret_words->uid = header.uid;
    ret_words->gid = header.gid;
    ret_words->pid = header.pid;
    ret_words->unique = header.unique;
    ret_words->node = header.nodeid;
    ret_words->op = kith_words_op(header.opcode);
    switch (header.opcode) {
    case FUSE_LOOKUP:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
        ret_words->name = take_text(&rest);
        break;
    case FUSE_SETATTR:
        say_setattr(ret_words, &rest);
        break;
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_CREATE:
        say_make(ret_words, &rest);
        break;
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_RENAME:
    case FUSE_RENAME2:
        say_two_names(ret_words, &rest);
        break;
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_WRITE:
    case FUSE_FALLOCATE:
    case FUSE_LSEEK:
    case FUSE_COPY_FILE_RANGE:
    case OP_COPY_FILE_RANGE_64:
        say_range(ret_words, &rest);
        break;
    case FUSE_SETXATTR:
    case FUSE_GETXATTR:
    case FUSE_REMOVEXATTR:
        say_xattr(ret_words, &rest);
        break;
    default:
        say_rest(ret_words, &rest);
        break;
    }
    return true;
}
