/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * page_chart.c - throughput and latency over the last hour: lines, with their last values in words
 * below. A line ends where nothing is known, or where there was nothing to take time. */
#include <math.h>
#include <stdio.h>

#include "metrics/page_impl.h"
#include "text/figures.h"

#define LEFT   70.0
#define RIGHT  632.0
#define TOP    10.0
#define BOTTOM 160.0
#define HEIGHT 186

/* What is drawn of a sample; below 0: nothing. */
typedef double (*value_of)(const struct kith_history_sample *sample, uint32_t kind);

static double rate_of(const struct kith_history_sample *sample, uint32_t kind)
{
    return sample->kinds[kind].count * 1000.0 / sample->span_ms;
}

static double bytes_of(const struct kith_history_sample *sample, uint32_t kind)
{
    return (double)(kind == KITH_HISTORY_READS ? sample->bytes_out : sample->bytes_in) * 1000.0 /
           sample->span_ms;
}

static double p50_of(const struct kith_history_sample *sample, uint32_t kind)
{
    return sample->kinds[kind].count > 0 ? sample->kinds[kind].p50_us : -1.0;
}

static double p99_of(const struct kith_history_sample *sample, uint32_t kind)
{
    return sample->kinds[kind].count > 0 ? sample->kinds[kind].p99_us : -1.0;
}

struct chart {
    const struct kith_history *history;
    uint64_t now_ms;
    bool log; /* microseconds, from 10^2 to 10^7; else from 0 to top */
    double top;
};

static double x_of(const struct chart *chart, uint64_t at_ms)
{
    double ago = chart->now_ms > at_ms ? (double)(chart->now_ms - at_ms) : 0;
    return RIGHT - (RIGHT - LEFT) * ago / (double)KITH_HISTORY_SPAN_MS;
}

static double y_of(const struct chart *chart, double value)
{
    double part = chart->log ? (log10(value < 100 ? 100 : value) - 2) / 5 : value / chart->top;
    return BOTTOM - (BOTTOM - TOP) * (part > 1 ? 1 : part);
}

static void line(const struct chart *chart, struct kith_buf *buf, value_of value, uint32_t kind,
                 const char *class)
{
    bool on = false;
    uint64_t end_ms = 0;
    kith_text_put(buf, "<path class=\"line %s\" d=\"", class);
    for (uint32_t i = 0; i < chart->history->count; i++) {
        const struct kith_history_sample *sample = kith_history_at(chart->history, i);
        double here = value(sample, kind);
        if (sample->end_ms + KITH_HISTORY_SPAN_MS < chart->now_ms) {
            continue;
        }
        bool joins = on && sample->end_ms - end_ms < 3 * KITH_HISTORY_STEP_MS;
        if (here >= 0) { /* one alone is a dot */
            kith_text_put(buf, "%s%.1f %.1f%s", joins ? "L" : "M", x_of(chart, sample->end_ms),
                          y_of(chart, here), joins ? "" : "h.1");
        }
        on = here >= 0;
        end_ms = sample->end_ms;
    }
    kith_text_put(buf, "\"/>\n");
}

static void rule(struct kith_buf *buf, double y, const char *text)
{
    kith_text_put(buf, "<path class=\"rule\" d=\"M%.0f %.1fH%.0f\"/>", LEFT, y, RIGHT);
    kith_text_put(buf, "<text class=\"y\" x=\"%.0f\" y=\"%.1f\">%s</text>\n", LEFT - 6, y + 4,
                  text);
}

static void begin(struct kith_buf *buf, const char *label)
{
    kith_text_put(buf,
                  "<svg class=\"chart\" viewBox=\"0 0 640 %d\" role=\"img\" aria-label=\"%s\">",
                  HEIGHT, label);
    for (uint32_t i = 0; i <= 4; i++) {
        double x = RIGHT - (RIGHT - LEFT) * i / 4;
        char text[16];
        (void)snprintf(text, sizeof text, i == 0 ? "now" : "-%u min", 15 * i);
        kith_text_put(buf, "<text class=\"x%s\" x=\"%.0f\" y=\"%d\">%s</text>",
                      i == 0   ? " last"
                      : i == 4 ? " first"
                               : "",
                      x, HEIGHT - 6, text);
    }
    kith_text_put(buf, "\n");
}

/* 1, 2 or 5 times a power of ten, or of two for bytes: at least `value`. */
static double round_up(double value, bool bytes)
{
    double unit = bytes ? 1024 : 1;
    double base = bytes ? 2 : 10;
    for (;; unit *= base) {
        if (value <= unit || (!bytes && value <= 2 * unit) || (!bytes && value <= 5 * unit)) {
            return value <= unit ? unit : value <= 2 * unit ? 2 * unit : 5 * unit;
        }
    }
}

static double highest(const struct kith_history *history, value_of value)
{
    double most = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        for (uint32_t kind = 0; kind < KITH_HISTORY_KINDS; kind++) {
            double here = value(kith_history_at(history, i), kind);
            most = here > most ? here : most;
        }
    }
    return most;
}

static void flow_text(double value, bool bytes, char text[KITH_FORMAT_SIZE])
{
    if (bytes) {
        kith_format_bytes((uint64_t)value, text);
    } else {
        bool part = value < 10 && value > floor(value);
        (void)snprintf(text, KITH_FORMAT_SIZE, part ? "%.1f" : "%.0f", value);
    }
}

/* What each line is, and the last and the highest value of it. */
static void flow_words(const struct kith_history *history, struct kith_buf *buf, value_of value,
                       bool bytes)
{
    static const char *const names[2][KITH_HISTORY_KINDS] = {{"reads", "writes"},
                                                             {"chunks sent", "chunks received"}};
    kith_text_put(buf, "<p class=\"keys\">");
    for (uint32_t kind = 0; kind < KITH_HISTORY_KINDS; kind++) {
        char last[KITH_FORMAT_SIZE], most[KITH_FORMAT_SIZE];
        double highest_here = 0;
        for (uint32_t i = 0; i < history->count; i++) {
            double here = value(kith_history_at(history, i), kind);
            highest_here = here > highest_here ? here : highest_here;
        }
        double now =
            history->count > 0 ? value(kith_history_at(history, history->count - 1), kind) : 0;
        flow_text(now, bytes, last);
        flow_text(highest_here, bytes, most);
        kith_text_put(buf, "<span><i class=\"key k%u\"></i>%s <b>%s/s</b>, at most %s/s</span> ",
                      kind, names[bytes ? 1 : 0][kind], last, most);
    }
    kith_text_put(buf, "</p>\n");
}

static void flow(const struct kith_history *history, uint64_t now_ms, struct kith_buf *buf,
                 value_of value, bool bytes)
{
    struct chart chart = {.history = history, .now_ms = now_ms};
    char text[KITH_FORMAT_SIZE];
    chart.top = round_up(highest(history, value), bytes);
    begin(buf, bytes ? "Contents of chunks, bytes a second" : "Requests a second");
    for (uint32_t i = 0; i <= 2; i++) {
        flow_text(chart.top * i / 2, bytes, text);
        rule(buf, y_of(&chart, chart.top * i / 2), text);
    }
    line(&chart, buf, value, KITH_HISTORY_READS, "k0");
    line(&chart, buf, value, KITH_HISTORY_WRITES, "k1");
    kith_text_put(buf, "</svg>\n");
    flow_words(history, buf, value, bytes);
}

static void latency_text(double us, char text[KITH_FORMAT_SIZE])
{
    if (us < 0) {
        (void)snprintf(text, KITH_FORMAT_SIZE, "-");
    } else {
        kith_format_duration((uint64_t)(us * 1000), text);
    }
}

static void latency(const struct kith_history *history, uint64_t now_ms, struct kith_buf *buf)
{
    static const char *const marks[] = {"0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s"};
    static const char *const names[] = {"reads", "writes"};
    struct chart chart = {.history = history, .now_ms = now_ms, .log = true};
    double us = 100;
    begin(buf, "How long answers take: of half of them, and of 99 of 100, at most");
    for (uint32_t i = 0; i < 6; i++, us *= 10) {
        rule(buf, y_of(&chart, us), marks[i]);
    }
    for (uint32_t kind = 0; kind < KITH_HISTORY_KINDS; kind++) {
        line(&chart, buf, p99_of, kind, kind == 0 ? "k0 faint" : "k1 faint");
        line(&chart, buf, p50_of, kind, kind == 0 ? "k0" : "k1");
    }
    kith_text_put(buf, "</svg>\n<p class=\"keys\">");
    for (uint32_t kind = 0; kind < KITH_HISTORY_KINDS; kind++) {
        char half[KITH_FORMAT_SIZE] = "-", most[KITH_FORMAT_SIZE] = "-";
        for (uint32_t i = 0; i < history->count; i++) { /* the last that there is */
            const struct kith_history_sample *sample = kith_history_at(history, i);
            if (sample->kinds[kind].count > 0) {
                latency_text(p50_of(sample, kind), half);
                latency_text(p99_of(sample, kind), most);
            }
        }
        kith_text_put(buf,
                      "<span><i class=\"key k%u\"></i>%s: half within <b>%s</b>, 99%% within "
                      "<b>%s</b> (faint)</span> ",
                      kind, names[kind], half, most);
    }
    kith_text_put(buf, "</p>\n");
}

void page_charts(const struct kith_history *history, uint64_t now_ms, struct kith_buf *buf)
{
    uint64_t failures = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        failures += kith_history_at(history, i)->failures;
    }
    kith_text_put(buf, "<section><h2>The last hour at this node</h2>\n<div class=\"charts\">\n<div>"
                       "<h3>Requests</h3>\n");
    flow(history, now_ms, buf, rate_of, false);
    kith_text_put(buf, "</div><div><h3>Time to answer</h3>\n");
    latency(history, now_ms, buf);
    kith_text_put(buf, "</div><div><h3>Contents</h3>\n");
    flow(history, now_ms, buf, bytes_of, true);
    kith_text_put(buf,
                  "</div></div>\n<p class=\"note\">A sample every 10 s; %s. %llu of its answers "
                  "in that time were failures.</p></section>\n",
                  history->count == 0 ? "none yet" : "gaps are where there was nothing to time",
                  (unsigned long long)failures);
}
