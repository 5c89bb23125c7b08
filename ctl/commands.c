/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * commands.c - the table of commands: what each is called, takes, and says of itself. */
#include "ctl/ctl.h"

#define LEVEL_TEXT "owners that must take part: one, quorum, local-quorum, each-quorum, all"

static const struct kith_ctl_option no_options[] = {{NULL, NULL, NULL}};
const struct kith_ctl_option kith_ctl_common_options[] = {
    {"servers", "LIST",
     "nodes to ask, host[:port],... (default $KITH_SERVERS, else 127.0.0.1:7070)"},
    {"timeout", "TIME", "give up after that long (default 10s)"},
    {"json", NULL, "answer in JSON, and tell errors in JSON (kithctl --help)"},
    {"help", NULL, "this text"},
    {NULL, NULL, NULL},
};
static const struct kith_ctl_option init_options[] = {
    {"name", "NAME", "the cluster's name (default that of the certificate, else kith)"},
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
    {"keep", "N", "then forget all but the last N whole runs (default: forget none)"},
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
     "not compared since its start (repair status). READ 99%, WRITE 99%: 99 of 100 that were asked of it\n"
     "since the look before were answered in that time. Where it is no terminal that it prints to,\n"
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
    {NULL, "gc", "", 0, 0, "how far nodes are with removing what nothing refers to",
     "CONDEMNED: chunks that were found, under this node's lead, to be in no file; a day later, if no\n"
     "member objects, their copies are DELETED, of that SIZE on this node. FORGOTTEN: traces here of\n"
     "deleted names that all owners had. PASS: when all that this node leads was looked through last.\n"
     "All since its start. Nodes do this on their own, and nothing goes while a member is away.\n"
     "Exit status 1: something is in the way.\n",
     "kithctl gc --watch", status_options, kith_ctl_gc},
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
