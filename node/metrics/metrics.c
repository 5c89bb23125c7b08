/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/metrics.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "metrics/exposition.h"
#include "metrics/history.h"
#include "metrics/page.h"

#define RETRY_MS 1000u /* where the port is in use: it may be that of one who is ending */

struct kith_metrics {
    struct kith_metrics_options options;
    pthread_t thread;
    bool started;
    struct kith_http *http; /* of `thread`; NULL while the port is in use */
    bool told;              /* that it is: logged */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;              /* protected by lock, like all below */
    bool asking;            /* since asked_ms */
    uint64_t asked_ms;
    struct kith_snapshot *last;
    struct kith_history history;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* lock held. */
static void wait_until(struct kith_metrics *metrics, uint64_t until_ms)
{
    struct timespec until = {(time_t)(until_ms / 1000u), (long)(until_ms % 1000u) * 1000000};
    (void)pthread_cond_timedwait(&metrics->changed, &metrics->lock, &until);
}

/* lock held. */
static bool is_fresh(const struct kith_metrics *metrics, uint64_t since_ms)
{
    return metrics->last != NULL && metrics->last->mono_ms + KITH_METRICS_FRESH_MS >= since_ms;
}

/* The last snapshot, a fresh one where that can be had; NULL: there never was one. */
static struct kith_snapshot *look(struct kith_metrics *metrics)
{
    uint64_t now = now_ms();
    uint64_t until_ms = now + KITH_METRICS_WAIT_MS;
    pthread_mutex_lock(&metrics->lock);
    if (!is_fresh(metrics, now)) {
        bool ask = !metrics->asking || now >= metrics->asked_ms + KITH_METRICS_AGAIN_MS;
        if (ask && !metrics->stop) {
            metrics->asking = true;
            metrics->asked_ms = now;
            pthread_mutex_unlock(&metrics->lock);
            metrics->options.ask(metrics->options.arg);
            pthread_mutex_lock(&metrics->lock);
        } /* else who has asked before has waited, too: not once more for what is long overdue */
        until_ms = metrics->asked_ms + KITH_METRICS_WAIT_MS;
        while (metrics->asking && !metrics->stop && now_ms() < until_ms) {
            wait_until(metrics, until_ms);
        }
    }
    struct kith_snapshot *snapshot =
        metrics->last != NULL ? kith_snapshot_hold(metrics->last) : NULL;
    pthread_mutex_unlock(&metrics->lock);
    return snapshot;
}

void kith_metrics_publish(struct kith_metrics *metrics, struct kith_snapshot *snapshot)
{
    struct kith_snapshot *before = NULL;
    pthread_mutex_lock(&metrics->lock);
    metrics->asking = false;
    if (snapshot != NULL) {
        before = metrics->last;
        metrics->last = snapshot;
    }
    pthread_cond_broadcast(&metrics->changed);
    pthread_mutex_unlock(&metrics->lock);
    kith_snapshot_drop(before);
}

/* ---- Answers ---- */

static void answer_text(struct kith_http_answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    answer->type = "text/plain; charset=utf-8";
    kith_buf_put(&answer->body, text, strlen(text));
}

static void answer_metrics(struct kith_metrics *metrics, struct kith_http_answer *answer)
{
    struct kith_snapshot *snapshot = look(metrics);
    if (snapshot == NULL || now_ms() > snapshot->mono_ms + KITH_METRICS_STALE_MS) {
        answer_text(answer, 503, "the node does not answer: its disk may hang\n");
    } else {
        answer->type = KITH_EXPOSITION_TYPE;
        kith_exposition_write(snapshot, &answer->body);
    }
    kith_snapshot_drop(snapshot);
}

static void answer_page(struct kith_metrics *metrics, struct kith_http_answer *answer)
{
    struct kith_history *history = kith_malloc(sizeof *history);
    struct kith_snapshot *snapshot = look(metrics);
    answer->type = "text/html; charset=utf-8";
    if (history == NULL || snapshot == NULL) {
        answer_text(answer, 503, "the node does not answer: its disk may hang\n");
    } else {
        pthread_mutex_lock(&metrics->lock);
        *history = metrics->history;
        pthread_mutex_unlock(&metrics->lock);
        uint64_t now = now_ms();
        uint64_t age_ms = now > snapshot->mono_ms ? now - snapshot->mono_ms : 0;
        kith_page_write(snapshot, history, now, age_ms > KITH_METRICS_STALE_MS ? age_ms : 0,
                        &answer->body);
    }
    kith_snapshot_drop(snapshot);
    kith_free(history);
}

static void answer(void *arg, const char *path, struct kith_http_answer *answer)
{
    struct kith_bytes file;
    if (strcmp(path, "/metrics") == 0) {
        answer_metrics(arg, answer);
    } else if (strcmp(path, "/") == 0) {
        answer_page(arg, answer);
    } else if (kith_page_file(path, &file, &answer->type)) {
        kith_buf_put(&answer->body, file.data, file.size);
    } else {
        answer_text(answer, 404, "not found; there is / and /metrics\n");
    }
}

/* ---- The thread of its own ---- */

static void open_port(struct kith_metrics *metrics)
{
    struct kith_error error = {KITH_OK, ""};
    char address[KITH_HTTP_ADDRESS_SIZE];
    if (kith_http_start(metrics->options.listen, answer, metrics, &metrics->http, address,
                        &error) == KITH_OK) {
        kith_log_info("kithd", "status and metrics at http://%s/", address);
        metrics->options.listening(metrics->options.arg, address);
        return;
    }
    if (!metrics->told) {
        metrics->told = true;
        kith_log_warn("kithd",
                      "no status page and no metrics until it can listen: %s; choose another "
                      "address (metrics = HOST:PORT), or none (metrics = no)",
                      error.message);
    }
}

static void sample(struct kith_metrics *metrics)
{
    struct kith_snapshot *snapshot = look(metrics);
    if (snapshot != NULL) { /* the same as before adds nothing */
        pthread_mutex_lock(&metrics->lock);
        kith_history_add(&metrics->history, snapshot->mono_ms, &snapshot->requests);
        pthread_mutex_unlock(&metrics->lock);
        kith_snapshot_drop(snapshot);
    }
}

/* False: it is to end. */
static bool rest(struct kith_metrics *metrics, uint64_t until_ms)
{
    pthread_mutex_lock(&metrics->lock);
    while (!metrics->stop && now_ms() < until_ms) {
        wait_until(metrics, until_ms);
    }
    bool goes_on = !metrics->stop;
    pthread_mutex_unlock(&metrics->lock);
    return goes_on;
}

static void *run(void *arg)
{
    struct kith_metrics *metrics = arg;
    uint64_t now = now_ms(), due_ms = now; /* of the next sample */
    pthread_setname_np(pthread_self(), "metrics");
    do {
        if (metrics->http == NULL) {
            open_port(metrics);
        }
        if (now >= due_ms) {
            if (metrics->http != NULL) {
                kith_http_tick(metrics->http, KITH_HTTP_LIFE_MS);
            }
            sample(metrics);
            due_ms += KITH_HISTORY_STEP_MS;
        }
        now = now_ms();
        due_ms = due_ms < now ? now : due_ms; /* the machine slept */
        bool retry = metrics->http == NULL && now + RETRY_MS < due_ms;
        if (!rest(metrics, retry ? now + RETRY_MS : due_ms)) {
            return NULL;
        }
        now = now_ms();
    } while (true);
}

/* ---- Beginning and end ---- */

struct kith_metrics *kith_metrics_new(const struct kith_metrics_options *options)
{
    struct kith_metrics *metrics = kith_calloc(1, sizeof *metrics);
    pthread_condattr_t attributes;
    if (metrics == NULL) {
        return NULL;
    }
    metrics->options = *options;
    pthread_mutex_init(&metrics->lock, NULL); /* these fail in no way on Linux */
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&metrics->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return metrics;
}

enum kith_err kith_metrics_start(struct kith_metrics *metrics)
{
    if (pthread_create(&metrics->thread, NULL, run, metrics) != 0) {
        return KITH_ENOMEM;
    }
    metrics->started = true;
    return KITH_OK;
}

void kith_metrics_stop(struct kith_metrics *metrics)
{
    pthread_mutex_lock(&metrics->lock);
    metrics->stop = true;
    pthread_cond_broadcast(&metrics->changed);
    pthread_mutex_unlock(&metrics->lock);
    if (metrics->started) {
        pthread_join(metrics->thread, NULL);
        metrics->started = false;
    }
    kith_http_stop(metrics->http);
    metrics->http = NULL;
}

void kith_metrics_free(struct kith_metrics *metrics)
{
    if (metrics != NULL) {
        kith_snapshot_drop(metrics->last);
        pthread_cond_destroy(&metrics->changed);
        pthread_mutex_destroy(&metrics->lock);
        kith_free(metrics);
    }
}
