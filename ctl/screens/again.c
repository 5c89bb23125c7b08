/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * again.c - see again.h. */
#include "ctl/screens/again.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ctl/report.h"
#include "ctl/screens/screen.h"
#include "text/columns.h"

#define AGAIN_MS 2000u

static int again_lines(bool json, int (*look)(void *arg), void *arg)
{
    const struct timespec pause = {AGAIN_MS / 1000, (long)(AGAIN_MS % 1000) * 1000000};
    for (;;) {
        int status = look(arg);
        (void)fputs(json ? "" : "\n", stdout);
        if (fflush(stdout) != 0) {
            return status; /* main tells it */
        }
        (void)nanosleep(&pause, NULL); /* earlier is no harm */
    }
}

/* What a look prints, to be drawn at once and again in another size; the caller's to free. NULL:
 * memory is short. */
static char *look_text(int (*look)(void *arg), void *arg, int *ret_status, size_t *ret_size)
{
    char *text = NULL;
    FILE *frame = open_memstream(&text, ret_size);
    FILE *terminal = stdout;
    if (!frame) {
        return NULL;
    }
    bool colours = kith_colours_shown(terminal);
    stdout = frame; /* glibc's may be set; no other thread prints */
    kith_report_to(frame);
    kith_colours_show(colours ? frame : NULL);
    *ret_status = look(arg);
    stdout = terminal;
    kith_report_to(NULL);
    kith_colours_show(NULL);
    return fclose(frame) == 0 ? text : NULL;
}

static int again_screen(int (*look)(void *arg), void *arg)
{
    int status = 0;
    enum kith_screen_event event = KITH_SCREEN_TIME;
    while (event != KITH_SCREEN_QUIT) {
        size_t size = 0;
        char *text = look_text(look, arg, &status, &size);
        do {
            kith_screen_draw(kith_bytes_make(text, text ? size : 0));
            event = kith_screen_wait(AGAIN_MS);
        } while (event == KITH_SCREEN_RESIZED);
        free(text);
    }
    kith_screen_close();
    return status;
}

int kith_again(bool json, int (*look)(void *arg), void *arg)
{
    return !json && kith_screen_open() ? again_screen(look, arg) : again_lines(json, look, arg);
}
