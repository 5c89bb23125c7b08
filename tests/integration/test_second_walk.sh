#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What goes through an unchanged tree a second time (find, git status, rsync) asks the cluster nothing:
# the directories are watched since they were listed, and one message a second to each node keeps all
# watches. A change by another mount shows all the same.
. "$(dirname "$0")/lib.sh"
need_fuse
dirs=600

# count REGEX: the sum of the figures of the mount whose lines match
count() {
    grep -E "$1" "$mnt/.kith/stats" | awk '{ sum += $2 } END { print sum + 0 }'
}
calls() {
    count '^kithfs_calls_total\{'
}
asked() {
    count '^kithfs_calls_total\{kind="(get|scan|groups|put|chunk_get|chunk_put|where)"'
}

cluster_up 3
mount_up "$mnt"
/usr/bin/python3 - "$mnt" $dirs <<'END'
import os, sys
mnt, dirs = sys.argv[1], int(sys.argv[2])
for i in range(dirs):
    path = "%s/tree/%d/%d" % (mnt, i // 20, i % 20)
    os.makedirs(path)
    for k in range(5):
        with open("%s/f%d" % (path, k), "w") as file:
            file.write("text %d\n" % k)
END
git() {
    command git -C "$mnt/tree" -c user.name=n -c user.email=e "$@"
}
git init -q
git add .
git commit -qm all
mount_down
mount_up "$mnt" # knows nothing

walk() {
    find "$mnt/tree" -name .git -prune -o -printf '%p %s %T@ %i %m\n' | LC_ALL=C sort >"$work/found.$1"
    GIT_OPTIONAL_LOCKS=0 git status --porcelain >"$work/status.$1" # it writes nothing down
    rsync -a "$mnt/tree/" "$work/copy/"
    rsync -a "$work/copy/" "$mnt/tree/"
}
git status >/dev/null # this one writes down what it has found out
walk 1
[ "$(wc -l <"$work/found.1")" -gt $((dirs * 6)) ] || fail "not all was found"
[ ! -s "$work/status.1" ] || fail "git status: $(cat "$work/status.1")"
sleep 3 # the times of the directories that this has changed are put
for round in 2 3; do
    before=$(asked)
    kept=$(count '^kithfs_node_messages_total\{kind="watch_req"')
    from=$SECONDS
    walk $round
    took=$((SECONDS - from + 1))
    now=$(asked)
    asked=$((now - before))
    diff "$work/found.1" "$work/found.$round" >"$work/diff" || fail "another tree: $(head -n 5 "$work/diff")"
    [ ! -s "$work/status.$round" ] || fail "git status: $(cat "$work/status.$round")"
    # none; but where the machine is busy a watch may have lapsed or have begun late
    [ $asked -le $((took + 2)) ] ||
        fail "round $round: $asked requests in $took s: $(grep calls_total "$mnt/.kith/stats")"
    now=$(count '^kithfs_node_messages_total\{kind="watch_req"')
    [ $((now - kept)) -le $((3 * (took * 4 / 3 + 2))) ] ||
        fail "round $round: $((now - kept)) messages for watches in $took s"
    say "round $round: $took s, $asked requests"
    [ $round = 3 ] || sleep 7 # watches last
done

# another mount changes something: it is seen, and little is asked
mount_up "$work/mnt2"
echo new >"$work/mnt2/tree/3/3/new"
echo longer text >"$work/mnt2/tree/4/4/f1"
rm "$work/mnt2/tree/5/5/f2"
before=$(asked)
from=$SECONDS
settled() {
    [ "$(git status --porcelain)" = " M 4/4/f1
 D 5/5/f2
?? 3/3/new" ]
}
wait_for 5 "the changes to be seen" settled
now=$(asked)
[ $((now - before)) -le $((SECONDS - from + 60)) ] || fail "$((now - before)) requests for three changes"
pass
