/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * command.c - the table of commands, and what follows from it: dispatch, parsing, help. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/config.h"
#include "ctl/ctl.h"
#include "ctl/report.h"

/* ---- The table ---- */

#define LEVEL_TEXT "owners that must take part: one, quorum, local-quorum, each-quorum, all"

static const struct kith_ctl_option no_options[] = {{NULL, NULL, NULL}};
static const struct kith_ctl_option common_options[] = {
    {"servers", "LIST",
     "nodes to ask, host[:port],... (default $KITH_SERVERS, else 127.0.0.1:7070)"},
    {"timeout", "TIME", "give up after that long (default 10s)"},
    {"json", NULL, "answer in JSON, and tell errors in JSON (kithctl --help)"},
    {"help", NULL, "this text"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option init_options[] = {
    {"name", "NAME", "the cluster's name (default kith)"},
    {"cluster", "NAME", "the same"},
    {"node", "NAME", "DIR: the first node's name (default: this machine's)"},
    {"days", "N", "DIR: how long certificates are valid (default 1095)"},
    {"partitions", "Q", "a power of two, fixed for ever (default 1024)"},
    {"replicas", "N", "copies of everything, 1 to 7 (default 3)"},
    {"zone", "ZONE", "data centre of this node (default: that of kithd --zone)"},
    {"weight", "W", "share of the data, relative (default: that of kithd --weight)"},
    {NULL, NULL, NULL},
};
#define CA_OPTION                                                                                  \
    {                                                                                              \
        "ca", "DIR", "the authority's folder (default /etc/kithfs/ca)"                             \
    }
#define ISSUE_OPTIONS                                                                              \
    CA_OPTION, {"out", "DIR", "the folder that it is put into (default NAME)"},                    \
        {"days", "N", "how long it is valid (default 1095)"},                                      \
    {                                                                                              \
        "renew", NULL, "a new certificate for the key that is there"                               \
    }
static const struct kith_ctl_option cert_options[] = {ISSUE_OPTIONS, {NULL, NULL, NULL}};
static const struct kith_ctl_option cert_client_options[] = {
    ISSUE_OPTIONS,
    {"volume", "V...", "only this volume: its name, kv, or a number; may be repeated (default all)"},
    {"read-only", NULL, "nothing may be changed with it"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option ca_options[] = {CA_OPTION, {NULL, NULL, NULL}};
static const struct kith_ctl_option volume_create_options[] = {
    {"owner", "USER", "of its root directory: USER[:GROUP] (default: who runs this)"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option join_options[] = {
    {"through", "ADDRESS", "any member of the cluster (default: the first of --servers)"},
    {"zone", "ZONE", "data centre of the new node (default: that of kithd --zone)"},
    {"weight", "W", "share of the data, relative (default: that of kithd --weight)"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option status_options[] = {
    {"watch", NULL, "look again every 2 s, until q is typed or it is interrupted"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option ring_options[] = {
    {"partition", "P", "only this one"},
    {"key", "KEY", "only the one that this key of the key-value door lies in"},
    {NULL, NULL, NULL},
};
#define VOLUME_OPTION                                                                              \
    {                                                                                              \
        "volume", "NAME", "of a path that lies in no mount: the tree of that name (default fs)"     \
    }
static const struct kith_ctl_option explain_options[] = {
    {"key", NULL, "it is a key, although it begins with '/' or '.'"},
    VOLUME_OPTION,
    {NULL, NULL, NULL},
};
#define LIMIT_OPTION                                                                               \
    {                                                                                              \
        "limit", "RATE", "at most so many bytes a second, as in 20M (default: no limit)"           \
    }
static const struct kith_ctl_option backup_options[] = {
    LIMIT_OPTION,
    {"check", NULL, "only verify DIR: every record, and that all chunks are there"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option restore_options[] = {
    {"run", "N", "as of that run (default: the last one)"},
    LIMIT_OPTION,
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option get_options[] = {
    {"version", "K", "where there are several versions: print the K-th"},
    {"level", "LEVEL", LEVEL_TEXT},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option put_options[] = {
    {"file", "FILE", "the value is what the file holds (- = standard input)"},
    {"blind", NULL, "do not read first: stands beside what others wrote"},
    {"disk", NULL, "answer when it is flushed to disk, not only in the system's memory"},
    {"level", "LEVEL", LEVEL_TEXT},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option delete_options[] = {
    {"blind", NULL, "do not read first: removes nothing that this command has not seen"},
    {"disk", NULL, "answer when it is flushed to disk"},
    {"level", "LEVEL", LEVEL_TEXT},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option scan_options[] = {
    {"limit", "COUNT", "at most so many rows (default all)"},
    {"level", "LEVEL", LEVEL_TEXT},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option plan_join_options[] = {
    {"zone", "ZONE", "data centre of the new node (default none)"},
    {"weight", "W", "share of the data, relative (default 1)"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option plan_show_options[] = {
    {"watch", NULL, "look again every 2 s, until it is interrupted"},
    {"force", NULL, "what 'apply --force' would do"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option plan_apply_options[] = {
    {"wait", NULL, "until everything has moved and the table is settled"},
    {"accept-loss", NULL, "where too few owners are left, the rest stand for what there is"},
    {"force", NULL, "most nodes are gone for good: leave out all that are down, unasked"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option plan_revert_options[] = {
    {"force", NULL, "most nodes are down, and cannot agree"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option conflicts_options[] = {
    {"count", NULL, "how many there are, and nothing more"},
    VOLUME_OPTION,
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option diff_options[] = {
    {"tool", "CMD", "run CMD for each other version, with the file and that (default diff -ru)"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option resolve_options[] = {
    {"keep", "N", "version N (or of that name) gets the name, the others go"},
    {"latest", NULL, "the same with the one that was written last"},
    {"with", "FILE", "what FILE holds gets the name, all versions go"},
    {"all-as-files", NULL, "the others become files: NAME.version-TIME-WRITER.EXT"},
    {"tool", "CMD", "run CMD with all versions; what it writes to $KITH_RESULT gets the name"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option up_options[] = {
    {"nodes", "COUNT", "how many (default 3, or as many as there were)"},
    {"insecure", NULL,
     "without certificates: every user of this machine may read and write everything"},
    {"cache", "SIZE",
     "of each node (default: all share a sixteenth of the memory, 64M to 1G each)"},
    {NULL, NULL, NULL},
};

const struct kith_ctl_command kith_ctl_commands[] = {
    {NULL, "init", "NODE|DIR", 1, 1, "make a cluster of one running node, or its certificates",
     "NODE is the address of a kithd that has no cluster yet. Others are added with 'kithctl "
     "join'.\n"
     "DIR has a '/' in it, or is '.': the folder DIR/ca gets a new authority for the cluster, DIR\n"
     "the certificates of the first node and of an admin. Others come from 'kithctl cert'.\n",
     "kithctl init 127.0.0.1:7070 --name home", init_options, kith_ctl_init},
    {"cert", "node", "NAME", 1, 1, "issue a node's certificate",
     "Key and certificate (node.key, node.crt) and what it needs to check others (ca.crt,\n"
     "crl.pem) are put into a folder, to be brought to the node's machine. A key that is there\n"
     "stays: --renew for a new certificate, another --out for a new key.\n",
     "kithctl cert node elm --out elm", cert_options, kith_ctl_cert_node},
    {"cert", "admin", "NAME", 1, 1, "issue a certificate that allows everything",
     "For who runs kithctl. As 'cert node', in admin.key and admin.crt.\n",
     "kithctl cert admin anna", cert_options, kith_ctl_cert_admin},
    {"cert", "client", "NAME", 1, 1, "issue the certificate of a mount or program",
     "As 'cert node', in client.key and client.crt. With --renew it allows what the one that is\n"
     "there does, where nothing else is said.\n",
     "kithctl cert client laptop --volume fs --read-only", cert_client_options,
     kith_ctl_cert_client},
    {"cert", "list", "", 0, 0, "what was issued, and what became of it",
     "STATE: valid, soon (ends within 30 days), expired, revoked.\n", "kithctl cert list",
     ca_options, kith_ctl_cert_list},
    {"cert", "revoke", "SERIAL|NAME", 1, 1, "make certificates worthless",
     "All of that name, or the one of that serial number (or of its first 8 digits or more).\n"
     "Nodes go by the new list when 'cert push' has brought it to them.\n",
     "kithctl cert revoke laptop", ca_options, kith_ctl_cert_revoke},
    {"cert", "push", "", 0, 0, "bring the list of what is revoked to all nodes",
     "Over the network, with an admin's certificate. A node takes it only when its authority has\n"
     "signed it and it is no older than its own, keeps it with its data, and goes by it at once.\n"
     "Exit status 1: not every member has it; they are named. Run it again when they are up.\n",
     "kithctl cert push --servers 10.0.1.11", ca_options, kith_ctl_cert_push},
    {"volume", "create", "NAME", 1, 1, "make a tree of its own",
     "To be mounted with -o volume=NAME. Trees share nothing; a client's certificate may be confined\n"
     "to some of them. The root directory has mode 755.\n",
     "kithctl volume create photos --owner anna", volume_create_options, kith_ctl_volume_create},
    {"volume", "list", "", 0, 0, "the trees that there are",
     "fs: what is mounted where nothing else is said; kv: the keys of 'get' and 'put'. NUMBER: what\n"
     "certificates call it by.\n",
     "kithctl volume list", no_options, kith_ctl_volume_list},
    {"volume", "remove", "NAME", 1, 1, "remove a tree in which nothing is left",
     "It is refused while anything is in it: mount it, and remove that first.\n",
     "kithctl volume remove photos", no_options, kith_ctl_volume_remove},
    {NULL, "join", "NODE", 1, 1, "add a running node to a cluster",
     "NODE is the address of a kithd that has no cluster yet. Where the cluster holds data, that\n"
     "begins to move at once; 'plan join' shows first what would.\n",
     "kithctl join 10.0.1.12:7070 --through 10.0.1.11:7070", join_options, kith_ctl_join},
    {NULL, "status", "", 0, 0, "what the cluster is doing",
     "Asks every member itself. STATE: UP, DOWN (turned down), SILENT (no answer in time).\n"
     "OWNS: its share of all copies. DATA: rows and chunks on its disk. DISK: how full that is.\n"
     "HINTS: writes that it keeps for nodes that missed them. SEEN: when one that answers last\n"
     "heard of it. MOVE: its part while data moves, partitions that are there of those to come.\n"
     "Exit status: 0 healthy, 1 degraded, 2 some keys below quorum, 3 no answer.\n",
     "kithctl status --servers 10.0.1.11 --watch", status_options, kith_ctl_status},
    {NULL, "top", "", 0, 0, "what the nodes are doing right now",
     "Looks every 2 s, until q is typed or it is interrupted; what needs somebody first, then who\n"
     "has most to do. READS (with scans), WRITES: a second, since the look before; a write counts\n"
     "at the node that it is sent to. HINTS: writes that it keeps for others. BEHIND: pairs that it has\n"
     "not compared since its start (repair status). Where it is no terminal that it prints to,\n"
     "looks follow each other.\n"
     "Exit status: as that of status.\n",
     "kithctl top --servers 10.0.1.11", no_options, kith_ctl_top},
    {NULL, "ring", "", 0, 0, "which nodes own what",
     "COPIES: partitions that the node holds; FIRST: those that it is asked for first.\n"
     "balance: what the fullest node has by its weight's due; 1.000 is even.\n",
     "kithctl ring --key greeting", ring_options, kith_ctl_ring},
    {NULL, "explain", "PATH|KEY", 1, 1, "what each owner holds of a file or key",
     "A PATH begins with '/' or '.': one below a mounted kithfs (its servers are asked where none\n"
     "are named), else from the root of the filesystem. STATE: whole, behind (has missed\n"
     "something), none, deleted, no answer. COMPARED: how long ago it had all rows that each other\n"
     "owner had. Each version with the dot that names it.\n"
     "Exit status 5: no owner that answered has such a row.\n",
     "kithctl explain ~/projects/plan.odt", explain_options, kith_ctl_explain},
    {NULL, "conflicts", "[PATH]", 0, 1, "files that were changed in two places at once",
     "PATH: a directory, all below it; or a file. Below a mounted kithfs, else from the root of\n"
     "the filesystem (default: the present directory where it is in a mount, else /). A file with\n"
     "hard links counts at each of its names. SINCE: when the oldest version beside the one that\n"
     "bears the name was written (UTC). WRITERS: of all versions. It is read from the nodes, no\n"
     "mount is needed; --timeout is that of each question.\n"
     "Exit status: 0 there is none, 4 there are some.\n",
     "kithctl conflicts ~/projects", conflicts_options, kith_ctl_conflicts},
    {NULL, "diff", "PATH", 1, 1, "compare a file with its other versions",
     "PATH lies in a mount. CMD is a line for the shell, to which two paths are added.\n"
     "Exit status: 0 there is no other version, 4 there are some.\n",
     "kithctl diff ~/projects/plan.odt --tool meld", diff_options, kith_ctl_diff},
    {NULL, "resolve", "PATH", 1, 1, "choose among the versions of a file",
     "PATH lies in a mount. Without an option the versions are listed: 1 bears the name, the\n"
     "others follow, the latest first. What is kept is stored and flushed before anything is\n"
     "removed, and what turns up meanwhile stays. CMD is a line for the shell, to which the paths\n"
     "of the versions are added in that order; where it fails nothing is changed.\n"
     "Exit status: 0 there is no other version (any more), 4 there are some.\n",
     "kithctl resolve ~/projects/plan.odt --keep 2", resolve_options, kith_ctl_resolve},
    {NULL, "get", "KEY", 1, 1, "print the value of a key",
     "Exit status 4: there are several versions (they are listed), 5: no such key. With --json\n"
     "both are answers: the list of versions has several members, or none.\n",
     "kithctl get greeting", get_options, kith_ctl_get},
    {NULL, "put", "KEY [VALUE]", 1, 2, "store a value under a key",
     "Reads the key first, so that the new value replaces what is there. Without VALUE and --file\n"
     "the value is read from standard input.\n",
     "kithctl put greeting hello", put_options, kith_ctl_put},
    {NULL, "delete", "KEY", 1, 1, "remove a key", "", "kithctl delete greeting", delete_options,
     kith_ctl_delete},
    {NULL, "scan", "GROUP", 1, 1, "list the rows of a group",
     "GROUP is 32 hex digits (8 of them the volume), or key:KEY for the group that KEY lies in.\n",
     "kithctl scan key:greeting", scan_options, kith_ctl_scan},
    {NULL, "handoff", "", 0, 0, "what nodes keep for others that were away",
     "KEPT: rows for owners that missed them; COPIES: those of these that count as a copy, and go\n"
     "only when a quorum of owners has them. THIN: rows of its own that stand on fewer copies than\n"
     "a quorum. OLDEST: how long the oldest of all these has waited.\n"
     "Exit status 1: something waits.\n",
     "kithctl handoff --watch", status_options, kith_ctl_handoff},
    {"repair", "start", "", 0, 0, "compare everything with every other owner, now",
     "Nodes do that on their own, each pair within the hour, and at once with one that comes up.\n",
     "kithctl repair start", no_options, kith_ctl_repair_start},
    {"repair", "status", "", 0, 0, "how far each node is with each other one",
     "COMPARED: of the partitions that both hold, their rows and their chunks, since the node's\n"
     "start or the last 'repair start'. ROWS, CHUNKS, BYTES: what came from there since.\n"
     "Exit status 1: a member did not answer.\n",
     "kithctl repair status --watch", status_options, kith_ctl_repair_status},
    {"repair", "stop", "", 0, 0, "compare nothing until it is started again",
     "Until then a node that has missed something stays behind; one that is started anew forgets\n"
     "it, and compares.\n", "kithctl repair stop",
     no_options, kith_ctl_repair_stop},
    {"repair", "limit", "RATE", 1, 1, "bytes a second that each node may fetch",
     "0 is no limit. Until the node ends; kithd --repair-rate is for good.\n",
     "kithctl repair limit 20M", no_options, kith_ctl_repair_limit},
    {NULL, "scrub", "[start|status|stop]", 0, 1, "read everything, to find what disks damaged",
     "What does not fit its checksum is set aside and comes from another owner. Nodes do that on\n"
     "their own, slowly (kithd --scrub); 'start' does not wait, 'stop' goes back to that.\n"
     "DAMAGED: found by this pass, wrong sums of trees, too. SET ASIDE: not back yet.\n"
     "Exit status 1: a member did not answer.\n",
     "kithctl scrub status --watch", status_options, kith_ctl_scrub},
    {NULL, "backup", "DIR|-", 1, 1, "back up what the cluster holds, or what has changed of it",
     "Into a folder: the first run takes everything, each further one what has changed since; one\n"
     "that was broken off is gone on with. - is a full backup as one stream on standard output. Each\n"
     "partition is as its owners had it at one moment, no half of a batch among it. --timeout is\n"
     "for each request. With certificates it needs an administrator's.\n"
     "Exit status 1: some of it is not whole, as is told; or damaged.\n",
     "kithctl backup /srv/backup/kith --limit 50M", backup_options, kith_ctl_backup},
    {NULL, "restore", "DIR|-", 1, 1, "write a backup into a cluster, as new writes",
     "Into a new cluster, before it is mounted, or into any other: what it has already is left\n"
     "alone, and where it has something else the restored version stands beside that, as a\n"
     "conflict. The same again goes on where it was broken off. --timeout is for each request.\n"
     "Exit status 1: some of it could not be restored, as is told.\n",
     "kithctl restore /srv/backup/kith", restore_options, kith_ctl_restore},
    {"plan", "join", "ADDRESS", 1, 1, "stage a node to join",
     "ADDRESS is that of a kithd that has no cluster yet. Changes are staged in the cluster,\n"
     "shown with 'plan show', and carried out all together with 'plan apply'.\n",
     "kithctl plan join 10.0.2.13:7070 --zone fra", plan_join_options, kith_ctl_plan_join},
    {"plan", "leave", "NODE", 1, 1, "stage a node to leave",
     "NODE is an address, a name as 'status' shows it, or the beginning of a uuid. One that is up\n"
     "hands over what it keeps for others; one that is down is taken to be gone for good.\n",
     "kithctl plan leave 10.0.1.12:7070", no_options, kith_ctl_plan_leave},
    {"plan", "replace", "OLD NEWADDRESS", 2, 2, "stage a new node in the place of another one",
     "It gets the other one's partitions, zone and weight; nothing else moves.\n",
     "kithctl plan replace 10.0.1.12:7070 10.0.1.22:7070", no_options, kith_ctl_plan_replace},
    {"plan", "weight", "NODE W", 2, 2, "stage another share of the data for a node",
     "W is relative to the other nodes' weights.\n", "kithctl plan weight 10.0.1.12:7070 2",
     no_options, kith_ctl_plan_weight},
    {"plan", "zone", "NODE ZONE", 2, 2, "stage another data centre for a node",
     "'-' is no zone.\n", "kithctl plan zone 10.0.1.12:7070 ams", no_options, kith_ctl_plan_zone},
    {"plan", "show", "", 0, 0, "what would move, or how far the move under way is",
     "Figures of bytes and time are estimates, from what the nodes say that they hold.\n",
     "kithctl plan show --watch", plan_show_options, kith_ctl_plan_show},
    {"plan", "apply", "[VERSION]", 0, 1, "carry out what is staged",
     "VERSION is the one that 'plan show' named: it is refused where another change came first.\n"
     "Reads and writes go on meanwhile. Run it again where it was broken off.\n",
     "kithctl plan apply 8 --wait", plan_apply_options, kith_ctl_plan_apply},
    {"plan", "revert", "", 0, 0, "give up the move under way",
     "The owners of before have everything that was written meanwhile.\n", "kithctl plan revert",
     plan_revert_options, kith_ctl_plan_revert},
    {"plan", "drop", "[NODE]", 0, 1, "forget what is staged, all of it or for one node", "",
     "kithctl plan drop", no_options, kith_ctl_plan_drop},
    {"local", "up", "DIR", 1, 1, "start a cluster on this machine",
     "Data, logs and cluster.json lie under DIR. Running it again starts what is not running.\n"
     "A run that fails removes what it has made and ends the new nodes; those of earlier runs run on.\n"
     "A node takes up to 2.5 times its cache in memory.\n",
     "kithctl local up ~/kith --nodes 3", up_options, kith_ctl_local_up},
    {"local", "down", "DIR", 1, 1, "stop a cluster on this machine", "The data stays.\n",
     "kithctl local down ~/kith", no_options, kith_ctl_local_down},
    {"local", "status", "DIR", 1, 1, "status of a cluster on this machine", "",
     "kithctl local status ~/kith", no_options, kith_ctl_local_status},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL},
};

/* ---- Help ---- */

static void title(const struct kith_ctl_command *command, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s%s%s", command->group ? command->group : "",
                   command->group ? " " : "", command->name, *command->arguments ? " " : "",
                   command->arguments);
}

/* group: only its commands; NULL: all */
static void help_all(FILE *out, const char *group)
{
    (void)fprintf(out, "kithctl - look after a kithfs cluster\n\nCommands:\n");
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        char text[80];
        if (group && (!command->group || strcmp(command->group, group) != 0)) {
            continue;
        }
        title(command, text, sizeof(text));
        (void)fprintf(out, "  %-27s %s\n", text, command->summary);
    }
    (void)fprintf(
        out,
        "\nkithctl COMMAND --help tells more, with an example. Exit status: 0 done, 1 failed,\n"
        "3 no node answered, 6 outcome unknown, 64 bad command line.\n"
        "With --json the answer is one JSON value on standard output; an error is a line on\n"
        "standard error, and the exit status the same:\n"
        "{\"error\":{\"code\":\"EUNREACH\",\"message\":\"no node ...\",\"command\":\"get\","
        "\"exit_status\":3}}\n");
}

static void help_options(const struct kith_ctl_option *options)
{
    for (; options->name; options++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "--%s%s%s", options->name, options->argument ? " " : "",
                       options->argument ? options->argument : "");
        (void)printf("  %-18s %s\n", text, options->help);
    }
}

static void help_command(const struct kith_ctl_command *command)
{
    char text[80];
    title(command, text, sizeof(text));
    (void)printf("Usage: kithctl %s [OPTIONS]\n%c%s.\n%s\nOptions:\n", text,
                 command->summary[0] - 'a' + 'A', command->summary + 1, command->details);
    help_options(command->options);
    help_options(common_options);
    (void)printf("\nExample:\n  %s\n", command->example);
}

/* ---- Parsing ---- */

const struct kith_ctl_command *kith_ctl_find(int argc, char *const argv[], int *ret_words)
{
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        int words = command->group ? 2 : 1;
        if (argc >= words && strcmp(argv[words - 1], command->name) == 0 &&
            (!command->group || strcmp(argv[0], command->group) == 0)) {
            *ret_words = words;
            return command;
        }
    }
    return NULL;
}

const char *kith_ctl_value(const struct kith_ctl_args *args, const char *name)
{
    const struct kith_ctl_option *options = args->command->options;
    uint32_t i = 0;
    while (options[i].name && strcmp(options[i].name, name) != 0) {
        i++;
    }
    KITH_ASSERT(options[i].name); /* asked for an option that the command does not have */
    return args->values[i];
}

enum kith_err kith_ctl_number(const struct kith_ctl_args *args, const char *name, uint64_t min,
                              uint64_t max, uint64_t *number, struct kith_error *error)
{
    const char *text = kith_ctl_value(args, name);
    if (!text) {
        return KITH_OK;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long value = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno != 0 || value < min || value > max) {
        return kith_error_set(error, KITH_EINVAL, "--%s: '%s' is no number from %llu to %llu", name,
                              text, (unsigned long long)min, (unsigned long long)max);
    }
    *number = value;
    return KITH_OK;
}

static bool port_fits(const char *text, size_t length)
{
    unsigned port = 0;
    for (size_t i = 0; i < length; i++) {
        if (i == 5 || text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static enum kith_err server_add(const char *text, size_t length, struct kith_ctl_args *args,
                                struct kith_error *error)
{
    bool bracket = length > 0 && text[0] == '[';
    const char *close = bracket ? memchr(text, ']', length) : NULL;
    const char *colon =
        memchr(close ? close : text, ':', close ? length - (size_t)(close - text) : length);
    const char *host_end = colon ? colon : text + length;
    if (length == 0 || length > 250 || (bracket && !close) ||
        (close && (close == text + 1 || host_end != close + 1)) || colon == text ||
        (colon && colon + 1 == text + length)) {
        return kith_error_set(error, KITH_EINVAL,
                              "'%.*s' is no address: write host, host:port or [v6]:port",
                              (int)(length > 250 ? 250 : length), text);
    }
    if (colon && !port_fits(colon + 1, length - (size_t)(colon + 1 - text))) {
        return kith_error_set(error, KITH_EINVAL,
                              "'%.*s' is no address: a port is a number from 1 to 65535",
                              (int)length, text);
    }
    if (args->server_count == KITH_CTL_SERVERS_MAX) {
        return kith_error_set(error, KITH_ELIMIT, "more than %u servers", KITH_CTL_SERVERS_MAX);
    }
    char *out = args->servers[args->server_count++];
    if (colon) {
        (void)snprintf(out, sizeof(args->servers[0]), "%.*s", (int)length, text);
    } else {
        (void)snprintf(out, sizeof(args->servers[0]), "%.*s:%d", (int)length, text, KITH_CTL_PORT);
    }
    return KITH_OK;
}

enum kith_err kith_ctl_servers(const char *text, struct kith_ctl_args *args,
                               struct kith_error *error)
{
    args->server_count = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        enum kith_err err = server_add(text, length, args, error);
        if (err != KITH_OK) {
            return err;
        }
        if (text[length] == '\0') {
            return KITH_OK;
        }
        text += length + 1;
    }
}

static bool may_repeat(const struct kith_ctl_args *args, const char *name, size_t length)
{
    for (const struct kith_ctl_option *option = args->command->options; option->name; option++) {
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0) {
            size_t size = option->argument ? strlen(option->argument) : 0;
            return size > 3 && strcmp(option->argument + size - 3, "...") == 0;
        }
    }
    return false;
}

static enum kith_err option_repeat(struct kith_ctl_args *args, const char *name, size_t length,
                                   const char *value, struct kith_error *error)
{
    if (!may_repeat(args, name, length)) {
        return KITH_OK;
    }
    if (args->many_count == KITH_CTL_MANY_MAX) {
        return kith_error_set(error, KITH_EINVAL, "--%.*s is given more than %u times", (int)length,
                              name, KITH_CTL_MANY_MAX);
    }
    args->many[args->many_count++] = value;
    return KITH_OK;
}

static const char **option_place(struct kith_ctl_args *args, const char *name, size_t length,
                                 const char *common[4], bool *ret_switch)
{
    const struct kith_ctl_option *lists[2] = {args->command->options, common_options};
    for (uint32_t which = 0; which < 2; which++) {
        for (uint32_t i = 0; lists[which][i].name; i++) {
            if (strlen(lists[which][i].name) == length &&
                strncmp(lists[which][i].name, name, length) == 0) {
                *ret_switch = !lists[which][i].argument;
                return which == 0 ? &args->values[i] : &common[i];
            }
        }
    }
    return NULL;
}

static enum kith_err unknown_option(const struct kith_ctl_args *args, const char *name,
                                    struct kith_error *error)
{
    const char *names[KITH_CTL_OPTIONS_MAX + 4];
    size_t count = 0;
    for (const struct kith_ctl_option *option = args->command->options; option->name; option++) {
        names[count++] = option->name;
    }
    for (const struct kith_ctl_option *option = common_options; option->name; option++) {
        names[count++] = option->name;
    }
    const char *near = kith_nearest(name, names, count);
    return kith_error_set(error, KITH_EINVAL, "unknown option --%s%s%s%s", name,
                          near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* One option at argv[*at]; moves *at to its last word. */
static enum kith_err option_parse(struct kith_ctl_args *args, int argc, char *const argv[], int *at,
                                  const char *common[4], struct kith_error *error)
{
    const char *name = argv[*at] + 2;
    size_t length = strcspn(name, "=");
    bool is_switch = false;
    const char **place = option_place(args, name, length, common, &is_switch);
    if (!place) {
        return unknown_option(args, name, error);
    }
    if (is_switch) {
        *place = "";
        return name[length] == '\0'
                   ? KITH_OK
                   : kith_error_set(error, KITH_EINVAL, "--%.*s takes no value", (int)length, name);
    }
    if (name[length] == '=') {
        *place = name + length + 1;
    } else if (*at + 1 >= argc) {
        return kith_error_set(error, KITH_EINVAL, "--%s needs a value", name);
    } else {
        *place = argv[++*at];
    }
    return option_repeat(args, name, length, *place, error);
}

/* Whether --json stands in a command line that may make no sense. */
static bool asks_json(int argc, char *const argv[])
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

enum kith_err kith_ctl_parse(const struct kith_ctl_command *command, int argc, char *const argv[],
                             struct kith_ctl_args *ret_args, struct kith_error *error)
{
    const char *common[4] = {NULL, NULL, NULL, NULL}; /* as in common_options */
    bool only_words = false;
    memset(ret_args, 0, sizeof(*ret_args));
    ret_args->command = command;
    ret_args->json = asks_json(argc, argv); /* for the errors below */
    ret_args->timeout_ms = KITH_CTL_TIMEOUT_MS;
    for (int at = 0; at < argc; at++) {
        if (!only_words && strcmp(argv[at], "--") == 0) {
            only_words = true;
        } else if (!only_words && strcmp(argv[at], "-h") == 0) {
            common[3] = "";
        } else if (!only_words && strncmp(argv[at], "--", 2) == 0) {
            enum kith_err err = option_parse(ret_args, argc, argv, &at, common, error);
            if (err != KITH_OK) {
                return err;
            }
        } else if (ret_args->count == command->max_args) {
            return kith_error_set(error, KITH_EINVAL, "'%s' is one argument too many", argv[at]);
        } else {
            ret_args->positional[ret_args->count++] = argv[at];
        }
    }
    ret_args->json = common[2] != NULL;
    ret_args->help = common[3] != NULL;
    if (ret_args->help) {
        return KITH_OK;
    }
    if (ret_args->count < command->min_args) {
        return kith_error_set(error, KITH_EINVAL, "an argument is missing: %s", command->arguments);
    }
    if (common[1]) {
        enum kith_err err = kith_duration_parse(common[1], &ret_args->timeout_ms, error);
        if (err != KITH_OK) {
            return err;
        }
        if (ret_args->timeout_ms < 1 || ret_args->timeout_ms > 600000) {
            return kith_error_set(error, KITH_EINVAL, "--timeout must be between 1ms and 10m");
        }
    }
    const char *servers = getenv("KITH_SERVERS");
    bool local = command->group && strcmp(command->group, "local") == 0; /* they know their nodes */
    ret_args->servers_given = common[0] != NULL;
    if (common[0] || !servers || !*servers || local) {
        return kith_ctl_servers(common[0] ? common[0] : "127.0.0.1", ret_args, error);
    }
    enum kith_err err = kith_ctl_servers(servers, ret_args, error);
    return err == KITH_OK ? KITH_OK : kith_error_wrap(error, "$KITH_SERVERS");
}

/* ---- Dispatch ---- */

static int fail(const struct kith_ctl_args *args, const struct kith_error *error, int status,
                json_t *more)
{
    const struct kith_ctl_command *command = args->command;
    char name[32];
    (void)snprintf(name, sizeof(name), "%s%s%s", command->group ? command->group : "",
                   command->group ? " " : "", command->name);
    kith_report_error(args->json, name, error, status, more);
    return status;
}

int kith_ctl_usage(const struct kith_ctl_args *args, const struct kith_error *error)
{
    return fail(args, error, KITH_CTL_USAGE, NULL);
}

int kith_ctl_fail_as(const struct kith_ctl_args *args, const struct kith_error *error, int status)
{
    return fail(args, error, status, NULL);
}

int kith_ctl_fail(const struct kith_ctl_args *args, const struct kith_error *error)
{
    return kith_ctl_fail_more(args, error, NULL);
}

static int status_of(enum kith_err code)
{
    switch (code) {
    case KITH_EUNREACH:
    case KITH_ETIMEOUT:
    case KITH_ECLOSED:
        return KITH_CTL_NO_ANSWER;
    case KITH_EUNKNOWN:
        return KITH_CTL_UNKNOWN;
    default:
        return KITH_CTL_FAILED;
    }
}

int kith_ctl_fail_more(const struct kith_ctl_args *args, const struct kith_error *error,
                       json_t *more)
{
    return fail(args, error, status_of(error->code), more);
}

/* The group that the word names; NULL: none. */
static const char *group_find(const char *word)
{
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        if (command->group && strcmp(command->group, word) == 0) {
            return command->group;
        }
    }
    return NULL;
}

static int unknown_command(int argc, char *const argv[])
{
    const char *names[64];
    size_t count = 0;
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        bool in_group = argc > 1 && command->group && strcmp(command->group, argv[0]) == 0;
        if (in_group || !command->group) {
            names[count++] = command->name;
        }
    }
    const char *group = group_find(argv[0]);
    const char *given = group ? (argc > 1 ? argv[1] : "") : argv[0];
    const char *near = kith_nearest(given, names, count);
    struct kith_error error;
    (void)kith_error_set(&error, KITH_EINVAL,
                         "unknown command '%s%s%.200s'%s%s%s; 'kithctl --help' lists them",
                         group ? group : "", group ? " " : "", given,
                         near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
    kith_report_error(asks_json(argc, argv), NULL, &error, KITH_CTL_USAGE, NULL);
    return KITH_CTL_USAGE;
}

static bool asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* Without the program's own name. */
static int run(int argc, char *const argv[])
{
    const char *group = argc > 0 ? group_find(argv[0]) : NULL;
    int words = group ? 1 : 0;
    if (argc == words) {
        help_all(stderr, group);
        return KITH_CTL_USAGE;
    }
    if (asks_help(argv[words])) {
        help_all(stdout, group);
        return KITH_CTL_OK;
    }
    if (strcmp(argv[0], "--version") == 0) {
        (void)printf("kithctl %s\n", KITH_VERSION);
        return KITH_CTL_OK;
    }
    const struct kith_ctl_command *command = kith_ctl_find(argc, argv, &words);
    if (!command) {
        return unknown_command(argc, argv);
    }
    struct kith_ctl_args args;
    struct kith_error error;
    if (kith_ctl_parse(command, argc - words, argv + words, &args, &error) != KITH_OK) {
        return kith_ctl_usage(&args, &error);
    }
    if (args.help) {
        help_command(command);
        return KITH_CTL_OK;
    }
    return command->run(&args);
}

int kith_ctl_main(int argc, char *const argv[])
{
    int status = run(argc > 0 ? argc - 1 : 0, argv + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        struct kith_error error;
        status = status == KITH_CTL_OK ? KITH_CTL_FAILED : status;
        (void)kith_error_set(&error, KITH_EIO, "cannot write the answer to standard output");
        kith_report_error(asks_json(argc, argv), NULL, &error, status, NULL);
    }
    return status;
}
