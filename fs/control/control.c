/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * control.c - .kith from its beginning to its end. */
#include <string.h>

#include "fs/control/impl.h"
#include "fs/mount/mountpoint.h"

enum kith_err kith_control_new(struct kith_fs *fs, struct kith_control **ret_control)
{
    struct kith_control *control = kith_calloc(1, sizeof *control);
    if (control == NULL) {
        return KITH_ENOMEM;
    }
    control->fs = fs;
    control->since = kith_wall_time();
    pthread_mutex_init(&control->lock, NULL);
    *ret_control = control;
    return KITH_OK;
}

void kith_control_free(struct kith_control *control)
{
    if (control == NULL) {
        return;
    }
    kith_accesslog_free(control);
    for (unsigned i = 0; i < KITH_METER_SLOTS; i++) {
        kith_free(control->meter.slots[i].line); /* of what was never answered */
    }
    pthread_mutex_destroy(&control->lock);
    kith_free(control);
}

/* Whoever unmounts lazily does not wait for who has a file open, but the kernel does; and who reads
 * the log would for ever. */
void kith_control_tick(struct kith_control *control)
{
    if (control != NULL && atomic_load(&control->readers) > 0 && control->fs->mount_number != 0 &&
        !kith_mountpoint_lives(control->fs->mount_number)) {
        kith_control_end(control);
    }
}

bool kith_control_hides(const struct kith_fs *fs, const struct kith_inode *dir, const char *name)
{
    return dir == fs->root && fs->control != NULL && strcmp(name, KITH_CONTROL_NAME) == 0;
}
