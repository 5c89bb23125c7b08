/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * unput.c - since when, and why, what was written to a file could not be stored: for .kith/status.
 *
 * One attempt may be noted twice: by who has the client's words for it, and by who sees to the next
 * one. */
#include <stdio.h>
#include <string.h>

#include "fs/files/files.h"
#include "fs/fs.h"

static uint64_t wall_ms(void)
{
    struct kith_time now = kith_wall_time();
    return (uint64_t)now.sec * 1000u + now.nsec / 1000000u;
}

void kith_unput_note(struct kith_inode *inode, int error, const char *message)
{
    uint64_t now_ms = wall_ms();
    if (inode->unput == NULL) {
        inode->unput = kith_calloc(1, sizeof *inode->unput);
        if (inode->unput == NULL) {
            return; /* it is retried and logged all the same */
        }
        inode->unput->since_ms = now_ms;
    }
    struct kith_unput *unput = inode->unput;
    if (message != NULL) {
        snprintf(unput->message, sizeof unput->message, "%s", message); /* cut: for people */
        unput->error = error;
        return;
    }
    if (unput->error != error) {
        unput->message[0] = '\0'; /* of another failure */
    }
    unput->error = error;
    unput->last_ms = now_ms;
    unput->tries++;
}

void kith_unput_forget(struct kith_inode *inode)
{
    kith_free(inode->unput);
    inode->unput = NULL;
}
