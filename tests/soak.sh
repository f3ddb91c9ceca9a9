#!/bin/bash
# Runs both simulators on seeds that no run before had, without end or for SOAK_SECONDS, until one fails.
# Each gets half of the time. Says how many seeds there were, and shows the failure. Run by
# `make soak`.
#
#   tests/soak.sh [sim|raft-sim]...     SOAK_FROM=1000000: the first seed, else by the time of day
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
SOAK_SECONDS=${SOAK_SECONDS:-0}
from=${SOAK_FROM:-$(date +%s)000}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
declare -A seeds=() spent=() batch=([sim]=20 [raft-sim]=200)
[ $# -gt 0 ] || set -- sim raft-sim
for name in "$@"; do
        [ -n "${batch[$name]:-}" ] || { echo "soak: no such simulator: $name" >&2; exit 2; }
done

tell() {
        local name
        for name in "$@"; do
                echo "# $name: ${seeds[$name]:-0} seeds from $from on in ${spent[$name]:-0} s"
        done
}

# run NAME: the next seeds of that one.
run() {
        local start=$SECONDS done=${seeds[$1]:-0}
        if ! "$BUILD/tests/$1-run" --seeds "${batch[$1]}" --from $((from + done)) >"$log" 2>&1; then
                grep -v '^ok' "$log"
                echo "not ok - $1"
                exit 1
        fi
        seeds[$1]=$((done + batch[$1])) spent[$1]=$((${spent[$1]:-0} + SECONDS - start))
}

trap 'tell "$@"; exit 0' INT TERM
told=0
while [ "$SOAK_SECONDS" = 0 ] || [ "$SECONDS" -lt "$SOAK_SECONDS" ]; do
        next=$1
        for name in "$@"; do
                [ "${spent[$name]:-0}" -lt "${spent[$next]:-0}" ] && next=$name
        done
        run "$next"
        if [ $((SECONDS - told)) -ge 60 ]; then
                tell "$@"
                told=$SECONDS
        fi
done
tell "$@"
echo "ok - soak"
