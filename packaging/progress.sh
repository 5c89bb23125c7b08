# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# progress.sh - for what builds: how far it is.

# Of ninja's last line in LOG, on standard error, until the script ends or this is killed.
progress_show() {
    local log=$1 made all cells text begun=$SECONDS first='' most=0
    while kill -0 $$ 2>/dev/null; do
        made='' all=''
        read -r made all < <({
            sed -n 's|^\[\([0-9]*\)/\([0-9]*\)\].*|\1 \2|p' "$log" | tail -n 1
        } 2>/dev/null) || true # it may be killed meanwhile
        if [ "${all:-0}" -ge "$most" ] && [ "${all:-0}" -gt 0 ]; then # not what installs the files, in one step
            most=$all first=${first:-$made}
            printf -v cells '%*s' $((20 * made / all)) ''
            printf -v text '%-20s' "${cells// /#}"
            text="$made of $all files  [${text// /-}] $((100 * made / all))%"
            [ "$made" -le "$first" ] ||
                text="$text  ETA $(((SECONDS - begun) * (all - made) / (made - first))) s"
            printf '\r\033[K%s' "$text" >&2
        fi
        sleep 0.5
    done
}

# told LOG COMMAND...: runs it with all that it says in LOG; a terminal is told how far ninja is
told() {
    local log=$1 status=0 shown=''
    shift
    : >"$log"
    if [ -t 2 ]; then
        progress_show "$log" &
        shown=$!
    fi
    "$@" >"$log" 2>&1 || status=$?
    if [ -n "$shown" ]; then
        kill "$shown"
        wait "$shown" 2>/dev/null || true # it was killed
        printf '\r\033[K' >&2
    fi
    return "$status"
}
