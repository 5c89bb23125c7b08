/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/screens/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "text/figures.h"

#define ENTER "\033[?1049h\033[?25l\033[H\033[J" /* the second page, no cursor, empty */
#define LEAVE "\033[0m\033[?25h\033[?1049l"
#define COLUMNS_DEFAULT 80u
#define ROWS_DEFAULT    24u
#define TABLE_GAPS      5u /* of two blanks or more: with so many a line is a row of a table */

/* Written by open and close, read by handlers: they do nothing while `on` is 0. */
static volatile sig_atomic_t on;
static volatile sig_atomic_t resized;
static struct termios saved, raw;
static bool keys; /* stdin is the terminal, too */
static int woken = -1; /* eventfd: a signal has come, on whichever thread */
static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static struct sigaction before_ends[sizeof ends / sizeof ends[0]], before_stop, before_resize;

/* ---- The terminal; these may be called by handlers ---- */

static void say(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t done = write(STDOUT_FILENO, text, size);
        if (done < 0 && errno != EINTR) {
            return; /* it is gone */
        }
        text += done > 0 ? done : 0;
        size -= done > 0 ? (size_t)done : 0;
    }
}

static void enter(void)
{
    if (keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    say(ENTER, sizeof ENTER - 1);
}

static void leave(void)
{
    say(LEAVE, sizeof LEAVE - 1);
    if (keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    }
}

static void wake(void)
{
    const uint64_t one = 1;
    (void)!write(woken, &one, sizeof one); /* it cannot be full */
}

/* ---- Signals ---- */

static void on_end(int number)
{
    if (on) {
        on = 0;
        leave();
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* once this returns */
}

static void on_stop(int number)
{
    int kept = errno;
    (void)number;
    if (on) {
        leave();
        (void)raise(SIGSTOP);
        enter();
        resized = 1;
        wake();
    }
    errno = kept;
}

static void on_resize(int number)
{
    int kept = errno;
    (void)number;
    resized = 1;
    wake();
    errno = kept;
}

static void handle(int number, void (*handler)(int), struct sigaction *before)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    (void)sigaction(number, NULL, before);
    if (before->sa_handler != SIG_IGN) { /* as of nohup */
        (void)sigaction(number, &action, NULL);
    }
}

/* ---- Open and close ---- */

bool kith_screen_open(void)
{
    const char *term = getenv("TERM");
    if (on || !isatty(STDOUT_FILENO) || !term || !*term || strcmp(term, "dumb") == 0) {
        return false;
    }
    woken = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (woken < 0) {
        return false;
    }
    keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
    raw = saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        handle(ends[i], on_end, &before_ends[i]);
    }
    handle(SIGTSTP, on_stop, &before_stop);
    handle(SIGWINCH, on_resize, &before_resize);
    on = 1;
    enter();
    return true;
}

void kith_screen_close(void)
{
    if (!on) {
        return;
    }
    on = 0;
    leave();
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)sigaction(ends[i], &before_ends[i], NULL);
    }
    (void)sigaction(SIGTSTP, &before_stop, NULL);
    (void)sigaction(SIGWINCH, &before_resize, NULL);
    (void)close(woken);
    woken = -1;
}

/* ---- Waiting ---- */

/* Whether q, or Ctrl-D, was typed; the terminal may also be gone. */
static bool quit_typed(void)
{
    char typed[64];
    ssize_t size = read(STDIN_FILENO, typed, sizeof typed);
    bool quit = size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN);
    for (ssize_t i = 0; i < size; i++) {
        quit = quit || typed[i] == 'q' || typed[i] == 'Q' || typed[i] == 4;
    }
    return quit;
}

enum kith_screen_event kith_screen_wait(uint32_t ms)
{
    uint64_t end_ms = kith_mono_ms() + ms;
    for (uint64_t now = kith_mono_ms(); now < end_ms; now = kith_mono_ms()) {
        struct pollfd fds[] = {{.fd = woken, .events = POLLIN},
                               {.fd = STDIN_FILENO, .events = POLLIN}};
        if (poll(fds, keys ? 2 : 1, (int)(end_ms - now)) < 0) {
            continue; /* EINTR */
        }
        if (fds[0].revents != 0) {
            uint64_t count;
            (void)!read(woken, &count, sizeof count);
        }
        if (keys && fds[1].revents != 0 && quit_typed()) {
            return KITH_SCREEN_QUIT;
        }
        if (resized) {
            resized = 0;
            return KITH_SCREEN_RESIZED;
        }
    }
    return KITH_SCREEN_TIME;
}

/* ---- Drawing ---- */

/* The bytes of a colour at the beginning (ESC [ digits ; m), 0 where there is none. */
static size_t colour_size(const uint8_t *at, size_t size)
{
    size_t i = 2;
    if (size < 3 || at[0] != 0x1b || at[1] != '[') {
        return 0;
    }
    while (i < size && ((at[i] >= '0' && at[i] <= '9') || at[i] == ';')) {
        i++;
    }
    return i < size && at[i] == 'm' ? i + 1 : 0;
}

/* What is at the beginning: its bytes, and the columns that it takes. Bytes of no text take none,
 * and are not `shown`. */
static size_t piece(const uint8_t *at, size_t size, uint32_t *ret_width, bool *ret_shown)
{
    size_t colour = colour_size(at, size);
    size_t length = kith_format_character(at, size);
    *ret_width = 0;
    bool control = length == 0 || *at < ' ' || *at == 0x7f || /* U+0080 to U+009F: */
                   (length == 2 && at[0] == 0xc2 && at[1] < 0xa0);
    *ret_shown = colour > 0 || !control;
    if (colour > 0) {
        return colour;
    }
    if (*ret_shown) { /* from U+1100 on there are those that take two; where in doubt, two */
        *ret_width = length > 2 && !(at[0] == 0xe1 && at[1] < 0x84) ? 2 : 1;
    }
    return length > 0 ? length : 1;
}

/* A row of a table is cut, where other lines go on in the next one: it would be a table no more. */
static bool is_row(const uint8_t *line, size_t size)
{
    uint32_t gaps = 0;
    for (size_t i = 1; i + 1 < size; i++) {
        gaps += line[i] == ' ' && line[i - 1] == ' ' && line[i + 1] != ' ' ? 1 : 0;
    }
    return gaps >= TABLE_GAPS;
}

/* The end of what fits of a line into so many columns: at a blank where there is one. */
static size_t line_fit(const uint8_t *line, size_t size, uint32_t columns, bool row)
{
    uint32_t width = 0, each = 0;
    size_t at = 0, blank = 0;
    bool shown = false;
    while (at < size) {
        size_t step = piece(line + at, size - at, &each, &shown);
        if (width + each > columns) {
            return blank > 0 ? blank : at > 0 ? at : step;
        }
        if (line[at] == ' ' && width > 0 && !row) {
            blank = at;
        }
        width += each;
        at += step;
    }
    return size;
}

static void line_put(const uint8_t *line, size_t size, struct kith_buf *out)
{
    uint32_t width = 0;
    bool shown = false;
    for (size_t at = 0; at < size;) {
        size_t step = piece(line + at, size - at, &width, &shown);
        if (shown) {
            kith_buf_put(out, line + at, step);
        }
        at += step;
    }
}

/* Calls itself twice: once to count. Lines from `rows` on are only counted. */
static uint32_t lines_put(struct kith_bytes text, uint32_t columns, uint32_t rows,
                          struct kith_buf *out)
{
    uint32_t count = 0;
    for (size_t at = 0; at < text.size;) {
        const uint8_t *line = text.data + at;
        const uint8_t *end = memchr(line, '\n', text.size - at);
        size_t left = end ? (size_t)(end - line) : text.size - at;
        at += left + 1;
        bool row = is_row(line, left);
        do {
            size_t fits = line_fit(line, left, columns, row);
            if (count++ < rows) {
                kith_buf_put(out, count > 1 ? "\r\n" : "", count > 1 ? 2 : 0);
                line_put(line, fits, out);
                kith_buf_put(out, "\033[0m\033[K", 7); /* nothing of before stays behind it */
            }
            fits = row ? left : fits;
            while (fits < left && line[fits] == ' ') {
                fits++;
            }
            line += fits;
            left -= fits;
        } while (left > 0);
    }
    return count;
}

void kith_screen_fit(struct kith_bytes text, uint32_t columns, uint32_t rows, struct kith_buf *out)
{
    uint32_t count = lines_put(text, columns, 0, out);
    bool more = count > rows && rows > 0;
    (void)lines_put(text, columns, more ? rows - 1 : rows, out);
    if (more) {
        char line[64];
        int size = snprintf(line, sizeof line, "%s\033[0m... %u more lines\033[K",
                            rows > 1 ? "\r\n" : "", count - (rows - 1));
        kith_buf_put(out, line, (size_t)size);
    }
}

void kith_screen_draw(struct kith_bytes text)
{
    struct winsize size = {0};
    struct kith_buf out;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
        size = (struct winsize){.ws_col = COLUMNS_DEFAULT, .ws_row = ROWS_DEFAULT};
    }
    kith_buf_init(&out);
    kith_buf_put(&out, "\033[H", 3);
    kith_screen_fit(text, size.ws_col, size.ws_row, &out);
    kith_buf_put(&out, "\033[0m\033[J", 7);
    if (!out.failed) {
        say((const char *)out.data, out.size);
    }
    kith_buf_release(&out);
}
