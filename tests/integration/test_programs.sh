#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Editors, a database, backup programs and their like work in the mount while one node after the other
# is killed and started again: no error, nothing lost, and no conflict file, for one writer never
# conflicts with himself. Everything is read again through another mount.
. "$(dirname "$0")/lib.sh"
need_fuse

edits=6
two_mounts_up
export HOME=$work/home TERM=xterm LC_ALL=C.UTF-8
mkdir -p "$HOME"

# One node of three is away or coming back, until there is the file $work/enough.
fall() {
    until [ -e "$work/enough" ]; do
        nodes_fall
        nodes_up
    done
}
falling() {
    rm -f "$work/enough"
    fall &
    fall_pid=$!
}
standing() {
    touch "$work/enough"
    wait "$fall_pid" || fail "the nodes do not come up again"
}
# must NAME COMMAND...: says what the command said where it fails
must() {
    local name=$1
    shift
    "$@" >"$work/$name.out" 2>&1 </dev/null ||
        fail "$name: $1 failed: $(tail -n 5 "$work/$name.out")"
}

# lines FILE COUNT: it has the lines 1 to COUNT, and no more
lines() {
    [ "$(cat "$1" 2>&1)" = "$(seq "$2")" ] || fail "$1 has: $(head -c 300 "$1")"
}
# saves NAME EDITOR...: the editor appends a line to the file, again and again
saves() {
    local name=$1 i
    shift
    mkdir -p "$mnt/edited"
    echo 1 >"$mnt/edited/$name"
    for i in $(seq 2 "$edits"); do
        "$@" "$mnt/edited/$name" "$i" >"$work/$name.out" 2>&1 </dev/null ||
            fail "$name: $(tail -n 5 "$work/$name.out")"
        lines "$mnt/edited/$name" "$i"
    done
}
in_place() {
    echo "$2" >>"$1"
}
whole() {
    { cat "$1" && echo "$2"; } >"$work/whole" && cat "$work/whole" >"$1"
}
replaced() {
    { cat "$1" && echo "$2"; } >"$1.tmp" && mv "$1.tmp" "$1"
}
made_anew() {
    cp "$1" "$work/anew" && echo "$2" >>"$work/anew" && rm "$1" && cp "$work/anew" "$1"
}
backed_up() {
    mv "$1" "$1.bak" && { cat "$1.bak" && echo "$2"; } >"$1"
}
with_sed() {
    sed -i "\$a$2" "$1"
}
with_vim() { # HOW FILE LINE
    vim -es -N -u NONE -c "set swapfile writebackup $1" -c "normal! Go$3" -c wq "$2"
}
with_emacs() { # FORMS FILE LINE
    emacs -Q --batch --eval "(progn (setq make-backup-files t create-lockfiles t $1)
        (find-file \"$2\") (goto-char (point-max)) (insert \"$3\\n\") (save-buffer))"
}
with_nano() { # OPTIONS FILE LINE: it wants a terminal, and ends the last line itself
    local screen=$work/screen
    tmux -S "$screen" -f /dev/null new-session -d -x 80 -y 24 \
        "nano --ignorercfiles $1 '$2'"
    wait_for 20 "nano to be there" shows "$screen" "GNU nano"
    tmux -S "$screen" send-keys M-/ "$3" C-o
    wait_for 20 "nano to ask for the name" shows "$screen" "File Name to Write"
    tmux -S "$screen" send-keys Enter
    wait_for 20 "nano to have written" shows "$screen" "Wrote [0-9]* lines"
    tmux -S "$screen" send-keys C-x
    wait_for 20 "nano to end" ended "$screen"
}
ended() {
    ! tmux -S "$1" has-session
}
shows() {
    tmux -S "$1" capture-pane -p | grep -q "$2"
}

say "ways to save"
falling
for way in in_place whole replaced made_anew backed_up with_sed; do
    saves "$way" "$way"
done
say "vim"
for how in backupcopy=auto backupcopy=yes backupcopy=no "backup backupcopy=no"; do
    saves "vim ${how// /-}" with_vim "$how"
done
say "emacs"
saves emacs with_emacs ""
saves emacs-copy with_emacs "backup-by-copying t"
say "nano"
saves nano with_nano ""
saves nano-backup with_nano --backup

say "sqlite"
mkdir "$mnt/db"
for mode in delete wal; do
    db=$mnt/db/$mode.db
    must sqlite sqlite3 "$db" "pragma journal_mode=$mode; create table t(n integer primary key, v text);"
    writers=()
    for w in 0 1; do
        for i in $(seq 15); do
            echo "begin immediate; insert into t values($((i * 2 + w)), hex(randomblob(3000)));"
            echo "update t set v = v || 'x' where n % 5 = $((i % 5)); commit;"
        done | sqlite3 -bail -cmd ".timeout 60000" "$db" >"$work/sqlite$w.out" 2>&1 &
        writers+=($!)
    done
    for pid in "${writers[@]}"; do
        wait "$pid" || fail "sqlite, $mode: $(cat "$work"/sqlite?.out)"
    done
    [ "$(sqlite3 "$db" 'select count(*) from t; pragma integrity_check;' | xargs)" = "30 ok" ] ||
        fail "sqlite, $mode: $(sqlite3 "$db" 'pragma integrity_check;' 2>&1 | head -n 5)"
done

src=$work/src
mkdir "$src"
cp -a /usr/include/linux/netfilter /usr/include/rpc "$src" 2>/dev/null || true
cp -a /usr/include/arpa /usr/include/net /usr/include/scsi "$src"
head -c 6000000 /dev/urandom >"$src/big"

say "rsync and tar"
for way in "" --inplace; do
    must rsync rsync -a $way "$src/" "$mnt/rsync$way/"
    head -c 1000 /dev/urandom >>"$src/big"
    must rsync rsync -a $way --no-whole-file "$src/" "$mnt/rsync$way/"
    [ -z "$(rsync -anc --delete -i "$src/" "$mnt/rsync$way/")" ] || fail "rsync $way: not the same"
done
must tar tar -C "$src" -cf "$mnt/all.tar" .
mkdir "$mnt/tar"
must tar tar -C "$mnt/tar" -xf "$mnt/all.tar"
must tar tar -C "$src" -df "$mnt/all.tar"
same_tree "$src" "$mnt/tar"

say "git"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a \
    GIT_COMMITTER_EMAIL=a@example.org GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
    GIT_CONFIG_VALUE_0='*'
must git git init -q "$mnt/git"
cp -a "$src" "$mnt/git/tree"
must git git -C "$mnt/git" add .
must git git -C "$mnt/git" commit -qm "Add all"
must git git clone -q --no-local "$mnt/git" "$mnt/clone"
echo more >>"$mnt/clone/tree/big"
must git git -C "$mnt/clone" commit -qam "Change one"
must git git -C "$mnt/clone" gc -q
must git git -C "$mnt/clone" fsck --full
must git git -C "$mnt/git" pull -q "$mnt/clone" HEAD
must git git -C "$mnt/git" fsck --full

say "restic"
export RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$work/restic-cache
must restic restic -q -r "$mnt/restic" init
must restic restic -q -r "$mnt/restic" backup "$src"
must restic restic -q -r "$mnt/restic" backup "$mnt/tar"
must restic restic -q -r "$mnt/restic" check --read-data
must restic restic -q -r "$mnt/restic" restore latest --target "$mnt/restored"
same_tree "$src" "$mnt/restored$mnt/tar"

say "borg"
export BORG_PASSPHRASE=secret BORG_BASE_DIR=$work/borg
must borg borg init -e repokey "$mnt/borg"
must borg borg create "$mnt/borg::one" "$src"
(cd "$mnt" && must borg borg create "$mnt/borg::two" tar)
must borg borg check --verify-data "$mnt/borg"
mkdir "$mnt/extracted"
(cd "$mnt/extracted" && must borg borg extract "$mnt/borg::two")
same_tree "$src" "$mnt/extracted/tar"
standing

say "through another mount"
for file in "$other"/edited/*; do
    case $file in
    *~ | *.bak) lines "$file" $((edits - 1)) ;;
    *) lines "$file" "$edits" ;;
    esac
done
same_tree "$src" "$other/extracted/tar"
# (a directory's time is that of what this mount has seen changed in it)
[ -z "$(rsync -anciO --delete "$mnt/restic/" "$other/restic/")" ] || fail "the other mount's restic"
must git git -C "$other/clone" fsck --full
for mode in delete wal; do
    [ "$(sqlite3 "$other/db/$mode.db" 'select count(*) from t; pragma integrity_check;' | xargs)" = \
        "30 ok" ] || fail "the other mount's $mode.db"
done
for at in "$mnt" "$other"; do
    found=$(find "$at" -name '*.conflict-*' | head -n 5)
    [ -z "$found" ] || fail "conflict files: $found"
    must conflicts kithctl conflicts "$at"
done
two_mounts_down
pass
