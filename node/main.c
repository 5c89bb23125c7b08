/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * main.c - kithd's command line. Exit status: 0 ended in order, 1 usage or configuration, 2 system.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/loopback.h"
#include "base/stdfd.h"
#include "metrics/metrics.h"
#include "shell/daemon.h"
#include "shell/supervisor.h"
#include "store/store_wt.h"

#define EXIT_USAGE  1
#define EXIT_SYSTEM 2
#define HELP_SIZE   8192u
#define FILES_WANTED 65536u /* descriptors: as many connections as rpc_gate.h lets in, and more */
/* how often this process has begun anew: each time without another damaged file, or two */
#define AGAIN_VARIABLE "KITHD_BEGUN_AGAIN"
#define AGAIN_MOST     8u

/* Blocks of chunks (1 MiB) come and go all the time: taken from the kernel and given back for each,
 * the page faults would cost as much as the copy. */
#define HEAP_BLOCK_MAX (4 << 20)
#define HEAP_KEEP      (16 << 20)
/* A page of the cache is taken by one thread and given back by another. With a heap for each of them
 * what is free in one is of no use to the next, and the process outgrows its cache by twice as much. */
#define HEAPS 1

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};

static const struct kith_config_key keys[] = {
    {.section = "node",
     .name = "data",
     .type = KITH_CONFIG_STRING,
     .argument = "DIR",
     .help = "where everything is kept; made when missing"},
    {.section = "node",
     .name = "listen",
     .type = KITH_CONFIG_STRING,
     .fallback = "0.0.0.0:7070",
     .argument = "HOST:PORT",
     .help = "address to listen on; port 0 takes a free one"},
    {.section = "node",
     .name = "advertise",
     .type = KITH_CONFIG_STRING,
     .argument = "HOST:PORT",
     .help = "address at which others reach this node, if another"},
    {.section = "node",
     .name = "local_socket",
     .type = KITH_CONFIG_BOOL,
     .fallback = "yes",
     .help = "processes of this machine connect without TCP"},
    {.section = "node",
     .name = "join",
     .type = KITH_CONFIG_STRING,
     .argument = "HOST:PORT",
     .help = "join the cluster of this member, if in none yet"},
    {.section = "node",
     .name = "cert",
     .type = KITH_CONFIG_STRING,
     .argument = "FILE",
     .help = "this node's certificate ('kithctl cert node'): all connections are TLS then, and who "
             "has none of this cluster gets no answer; files may be replaced at any time"},
    {.section = "node",
     .name = "key",
     .type = KITH_CONFIG_STRING,
     .argument = "FILE",
     .help = "its key; for its owner alone (mode 0600)"},
    {.section = "node",
     .name = "ca",
     .type = KITH_CONFIG_STRING,
     .argument = "FILE",
     .help = "the certificate of the cluster's authority"},
    {.section = "node",
     .name = "crl",
     .type = KITH_CONFIG_STRING,
     .argument = "FILE",
     .help = "the authority's list of what is revoked (default: nothing is)"},
    {.section = "node",
     .name = "insecure",
     .type = KITH_CONFIG_BOOL,
     .fallback = "no",
     .help = "without certificates: whoever reaches the node may read and write everything; on "
             "loopback alone"},
    {.section = "node",
     .name = "zone",
     .type = KITH_CONFIG_STRING,
     .fallback = "",
     .argument = "NAME",
     .help = "data centre of this node"},
    {.section = "node",
     .name = "weight",
     .type = KITH_CONFIG_INTEGER,
     .fallback = "1",
     .min = 1,
     .max = KITH_WEIGHT_MAX,
     .help = "share of the data, relative to other nodes"},
    {.section = "node",
     .name = "repair_rate",
     .type = KITH_CONFIG_SIZE,
     .max = UINT64_C(1) << 40,
     .help = "bytes a second that this node fetches of what it has missed (default no bound; it "
             "always yields to requests)"},
    {.section = "node",
     .name = "zone_rate",
     .type = KITH_CONFIG_SIZE,
     .max = UINT64_C(1) << 40,
     .help = "bytes a second of it that come from nodes in other data centres, and that it hands "
             "over to them (default no bound)"},
    {.section = "node",
     .name = "scrub",
     .type = KITH_CONFIG_DURATION,
     .fallback = "30d",
     .max = UINT64_C(3650) * 86400000,
     .help = "read everything again within this time, to find what the disk has damaged; 0 only "
             "when asked for"},
    {.section = "node",
     .name = "scrub_rate",
     .type = KITH_CONFIG_SIZE,
     .fallback = "64M",
     .max = UINT64_C(1) << 40,
     .help = "bytes a second that it reads for that at most; 0 no bound (it always yields to "
             "requests)"},
    {.section = "node",
     .name = "sweep",
     .type = KITH_CONFIG_DURATION,
     .fallback = "24h",
     .max = UINT64_C(365) * 86400000,
     .help = "contents that no file has any more go after twice this time, and deletions are "
             "forgotten; 0 never; less than 24h is for tests"},
    {.section = "node",
     .name = "metrics",
     .type = KITH_CONFIG_STRING,
     .fallback = KITH_METRICS_LISTEN,
     .argument = "HOST:PORT",
     .help = "address of the status page and of /metrics (HTTP, for anybody who reaches it); port "
             "0 takes a free one, 'no' has neither"},
    {.section = "store",
     .name = "cache",
     .type = KITH_CONFIG_SIZE,
     .min = KITH_STORE_CACHE_MIN,
     .max = UINT64_C(1) << 44,
     .help =
         "WiredTiger's cache (default a sixteenth of the memory, 64M to 1G); it takes up to 2.5 "
         "times that"},
    {.section = "store",
     .name = "encrypt",
     .type = KITH_CONFIG_BOOL,
     .fallback = "no",
     .help = "all that is stored is encrypted, from the first start on (AES-256-GCM)"},
    {.section = "store",
     .name = "encrypt_key",
     .type = KITH_CONFIG_STRING,
     .argument = "FILE",
     .help = "the key for that: 32 bytes or 64 hexadecimal digits, mode 0600 (default systemd's "
             "credential "
             "kithd.key)"},
    {.section = "store",
     .name = "disk_low",
     .type = KITH_CONFIG_INTEGER,
     .fallback = "85",
     .min = 1,
     .max = 100,
     .help = "with so much of the disk used (%), chunks that it has missed are not fetched"},
    {.section = "store",
     .name = "disk_scarce",
     .type = KITH_CONFIG_INTEGER,
     .fallback = "92",
     .min = 1,
     .max = 100,
     .help = "and nothing more is kept for other nodes"},
    {.section = "store",
     .name = "disk_full",
     .type = KITH_CONFIG_INTEGER,
     .fallback = "95",
     .min = 1,
     .max = 100,
     .help = "and it takes deletes and repairs only"},
    {.section = "log",
     .name = "log",
     .type = KITH_CONFIG_STRING,
     .argument = "FILE",
     .help = "append to this file instead of stderr; SIGHUP opens it again"},
    {.section = "log",
     .name = "log_level",
     .type = KITH_CONFIG_CHOICE,
     .fallback = "info",
     .choices = log_levels,
     .help = "error, warn, info or debug"},
};
#define KEY_COUNT (sizeof keys / sizeof keys[0])

static void print_help(void)
{
    char text[HELP_SIZE];
    kith_config_help(keys, KEY_COUNT, text, sizeof text);
    printf(
        "Usage: kithd --data DIR [OPTION]...\n"
        "A node of a kithfs cluster. It stays in the foreground.\n\n"
        "%s"
        "  --config FILE   read settings from FILE first; its sections are [node], [store], [log]\n"
        "  --foreground    the default; kithd never leaves the foreground\n"
        "  --help, --version\n\n"
        "Example: kithd --data /var/lib/kithfs --listen 10.0.1.11:7070 \\\n"
        "             --cert node.crt --key node.key --ca ca.crt\n"
        "then, for a new cluster: kithctl init 10.0.1.11:7070\n"
        "or, to join one:         kithctl join 10.0.1.11:7070 --through 10.0.1.12:7070\n"
        "Exit status: 0 ended in order, 1 wrong option or setting, 2 failure.\n",
        text);
}

static int fail(int status, const char *message)
{
    fprintf(stderr, "kithd: %s\n", message);
    return status;
}

/* --config and its file come first, whatever their place, so that options win over the file. */
static enum kith_err load_file(struct kith_config *config, int argc, char *const argv[],
                               struct kith_error *error)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0) {
            path = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0) {
            if (i + 1 == argc) {
                return kith_error_set(error, KITH_EINVAL, "--config needs a file");
            }
            path = argv[++i];
        }
    }
    return path == NULL ? KITH_OK : kith_config_load(config, path, error);
}

static enum kith_err load_options(struct kith_config *config, int argc, char *const argv[],
                                  struct kith_error *error)
{
    enum kith_err err = load_file(config, argc, argv, error);
    for (int i = 1; err == KITH_OK && i < argc;) {
        if (strcmp(argv[i], "--config") == 0) {
            i += 2;
        } else if (strncmp(argv[i], "--config=", 9) == 0 || strcmp(argv[i], "--foreground") == 0) {
            i++;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            const char *option = argv[i];
            err = kith_config_option(config, argc, argv, &i, error);
            if (err == KITH_ENOTFOUND) {
                err = kith_error_set(error, KITH_EINVAL, "unknown option %s; see kithd --help",
                                     option);
            }
        } else {
            err = kith_error_set(error, KITH_EINVAL,
                                 "%s: kithd takes only options; see kithd --help", argv[i]);
        }
    }
    if (err == KITH_OK && kith_config_string(config, "data") == NULL) {
        err = kith_error_set(error, KITH_EINVAL,
                             "--data DIR (in a file: data, in [node]) is missing: where is the "
                             "data to be kept?");
    }
    if (err == KITH_OK && strlen(kith_config_string(config, "zone")) >= KITH_ZONE_SIZE) {
        err = kith_error_set(error, KITH_EINVAL, "--zone: at most %u bytes", KITH_ZONE_SIZE - 1);
    }
    return err;
}

/* What the store cannot do in this process (kith_store_open) is done by the same one, begun anew. */
static int begin_again(char *argv[], struct kith_error *error)
{
    const char *before = getenv(AGAIN_VARIABLE);
    unsigned long count = before != NULL ? strtoul(before, NULL, 10) : 0;
    char text[24];
    (void)snprintf(text, sizeof text, "%lu", count + 1);
    if (count < AGAIN_MOST && setenv(AGAIN_VARIABLE, text, 1) == 0) {
        (void)execv("/proc/self/exe", argv); /* it returns where it failed */
    }
    return fail(EXIT_SYSTEM, error->message);
}

/* Certificates, or that there shall be none, where nobody but this machine can reach the node. */
static enum kith_err check_tls(const struct kith_daemon_options *options, bool insecure,
                               struct kith_error *error)
{
    const struct kith_identity_files *tls = &options->tls;
    bool any = tls->cert || tls->key || tls->ca || tls->crl, loopback = false;
    if (any && !(tls->cert && tls->key && tls->ca)) {
        return kith_error_set(error, KITH_EINVAL,
                              "--cert, --key and --ca go together: kithctl cert node makes them");
    }
    if (any) {
        return !insecure ? KITH_OK
                         : kith_error_set(error, KITH_EINVAL,
                                          "--insecure and --cert exclude each other: it is without "
                                          "certificates, or with them");
    }
    if (!insecure) {
        return kith_error_set(error, KITH_EINVAL,
                              "it has no certificate: give it --cert, --key and --ca ('kithctl init' "
                              "and 'kithctl cert node' make them), or --insecure where it listens on "
                              "loopback alone");
    }
    enum kith_err err = kith_loopback_only(options->listen, &loopback, error);
    if (err != KITH_OK) {
        return kith_error_wrap(error, "--listen");
    }
    return loopback ? KITH_OK
                    : kith_error_set(error, KITH_EINVAL,
                                     "--insecure is for loopback alone, and others can reach %s: "
                                     "anybody could read and write all that is stored. Give it --cert, "
                                     "--key and --ca ('kithctl cert node' makes them)",
                                     options->listen);
}

/* That the files of the certificate are there and may be read; what is in them is looked at later. Who brings
 * them while a supervisor starts it again and again need do nothing else. */
static enum kith_err check_files(const struct kith_identity_files *tls, struct kith_error *error)
{
    const char *const files[] = {tls->cert, tls->key, tls->ca, tls->crl};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (!files[i] || faccessat(AT_FDCWD, files[i], R_OK, AT_EACCESS) == 0) {
            continue;
        }
        if (errno == ENOENT || errno == ENOTDIR) {
            return kith_error_set(error, KITH_ENOTFOUND,
                                  "%s is missing: 'kithctl cert node NAME' makes it, and 'kithctl "
                                  "init DIR' for the first node of a cluster",
                                  files[i]);
        }
        return kith_error_set(error, KITH_EPERM,
                              "%s cannot be read: %s; where the file is another user's: chown %u %s",
                              files[i], strerror(errno), (unsigned)geteuid(), files[i]);
    }
    return KITH_OK;
}

/* 'no' is nowhere. */
static enum kith_err check_metrics(struct kith_daemon_options *options, const char *metrics,
                                   struct kith_error *error)
{
    if (strcmp(metrics, "no") == 0) {
        return KITH_OK;
    }
    options->metrics = metrics;
    return kith_http_check(metrics, error) == KITH_OK ? KITH_OK
                                                      : kith_error_wrap(error, "--metrics");
}

/* Connections and the store's files want descriptors, and the usual limit of 1,024 is for programs
 * that use select. A process may raise it as far as the hard one. */
static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_WANTED &&
        limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* else the gate of rpc_gate.h is narrower */
    }
}

static int run(const struct kith_config *config, char *argv[])
{
    struct kith_error error = {KITH_OK, ""};
    kith_log_set_level((enum kith_log_level)kith_config_number(config, "log_level"));
    const char *log_file = kith_config_string(config, "log");
    if (log_file != NULL && kith_log_open(log_file, &error) != KITH_OK) {
        return fail(EXIT_SYSTEM, error.message);
    }
    kith_crash_init("kithd");
    raise_files();
    struct kith_daemon_options options = {
        .data = kith_config_string(config, "data"),
        .listen = kith_config_string(config, "listen"),
        .advertise = kith_config_string(config, "advertise"),
        .local_socket = kith_config_bool(config, "local_socket"),
        .join = kith_config_string(config, "join"),
        .zone = kith_config_string(config, "zone"),
        .weight = (uint32_t)kith_config_number(config, "weight"),
        .cache_bytes = kith_config_number(config, "cache"),
        .repair_rate = kith_config_number(config, "repair_rate"),
        .zone_rate = kith_config_number(config, "zone_rate"),
        .scrub_ms = kith_config_number(config, "scrub"),
        .scrub_rate = kith_config_number(config, "scrub_rate"),
        .sweep_ms = kith_config_number(config, "sweep"),
        .space_percent = {(uint32_t)kith_config_number(config, "disk_low"),
                          (uint32_t)kith_config_number(config, "disk_scarce"),
                          (uint32_t)kith_config_number(config, "disk_full")},
        .encrypt = kith_config_bool(config, "encrypt"),
        .encrypt_key = kith_config_string(config, "encrypt_key"),
        .log_file = log_file,
        .tls = {kith_config_string(config, "cert"), kith_config_string(config, "key"),
                kith_config_string(config, "ca"), kith_config_string(config, "crl"), NULL},
    };
    enum kith_err err = check_tls(&options, kith_config_bool(config, "insecure"), &error);
    if (err == KITH_OK) {
        err = check_metrics(&options, kith_config_string(config, "metrics"), &error);
    }
    if (err != KITH_OK) {
        return fail(EXIT_USAGE, error.message);
    }
    if (options.encrypt_key && !options.encrypt) {
        return fail(
            EXIT_USAGE,
            "--encrypt-key is for --encrypt (in a file: encrypt = yes, in [store]), which is "
            "not set");
    }
    err = check_files(&options.tls, &error);
    if (err == KITH_OK) {
        err = kith_daemon_run(&options, &error);
    }
    if (err == KITH_OK) {
        return 0;
    }
    if (err == KITH_ENOTREADY) {
        return begin_again(argv, &error);
    }
    if (log_file != NULL) {
        kith_log_error("kithd", "%s", error.message);
    }
    kith_supervisor_say("%s", error.message);
    return fail(EXIT_SYSTEM, error.message);
}

int main(int argc, char *argv[])
{
    struct kith_error error = {KITH_OK, ""};
    struct kith_config *config = NULL;
    if (kith_stdfd_init(&error) != KITH_OK) {
        return fail(EXIT_SYSTEM, error.message);
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("kithd %s\n", KITH_VERSION);
            return 0;
        }
    }
    mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEEP);
    mallopt(M_ARENA_MAX, HEAPS);
    if (kith_config_new(keys, KEY_COUNT, &config, &error) != KITH_OK) {
        return fail(EXIT_SYSTEM, error.message);
    }
    int status = load_options(config, argc, argv, &error) == KITH_OK
                     ? run(config, argv)
                     : fail(EXIT_USAGE, error.message);
    kith_config_free(config);
    return status;
}
