#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A node that was away has, soon after it has come back, the chunks that were written meanwhile, and
# nobody needs to read them. Then the others end, and the files are read from what it has.
. "$(dirname "$0")/lib.sh"
need_fuse

# All nodes have as many chunks, each by itself, and at least so many.
all_have() {
    kv status --json | /usr/bin/python3 -c 'import json, sys
chunks = [node["chunks"] for node in json.load(sys.stdin)["nodes"]]
sys.exit((chunks != [chunks[0]] * 3 or chunks[0] < int(sys.argv[1])) and str(chunks))' "$1"
}
# write FOLDER: a large file, some of middle size, which are kept in the table
write() {
    mkdir "$mnt/$1"
    head -c 40M /dev/urandom >"$mnt/$1/large"
    for i in $(seq 20); do head -c 60K /dev/urandom >"$mnt/$1/middle$i"; done
    sync "$mnt/$1"/*
}

say "written while a node is away"
cluster_up 3
nodes_up
mount_up
write before
node_kill 3
write while
(cd "$mnt" && find . -type f ! -path './.kith*' -print0 | sort -z | xargs -0 sha256sum) >"$work/sums"
cluster_up 3
nodes_up
began=$(date +%s%N)
wait_for 60 "the chunks to come" all_have 80
say "it has them all after $((($(date +%s%N) - began) / 1000000)) ms"
wait_for 30 "what came to be told" grep -q "chunks were missing" "$dir/node3.log"

say "the files are read from it, with the other nodes gone"
mount_down
node_kill 1
node_kill 2
mount_up "$other"
(cd "$other" && sha256sum --quiet -c "$work/sums") || fail "other contents"
mount_down "$other"
pass
