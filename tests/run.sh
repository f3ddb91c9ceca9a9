#!/bin/bash
# Runs the test suites and counts: tests/run.sh all | [tidy] [unit] [golden] [fault] [sim] [scenario]...
# Every suite speaks TAP ("ok 1 - name", "not ok 2 - name"). A program that ends badly without a
# "not ok", or that ran no test, counts as one failure. Last line: "N passed, N failed".
#
# As many run at once as there are cores (JOBS): most of a scenario's time is spent waiting, and each
# program makes machines, folders and names of its own.
set -um
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
JOBS=${JOBS:-$(nproc)}
export BUILD CMOCKA_MESSAGE_OUTPUT=TAP
SIM_SEEDS=${SIM_SEEDS:-200}
RAFT_SEEDS=$((SIM_SEEDS * 5))
begun=0
shopt -s nullglob
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Each runs in a process group of its own, and hears of an interrupt from here.
trap 'for p in $(jobs -p); do kill -INT -- "-$p"; done; wait; exit 130' INT TERM

# run NAME COMMAND...: runs it as soon as there is a free place.
run() {
        while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
        begun=$((begun + 1))
        run_one "$out/$begun" "$@" &
}

# run_one FILE NAME COMMAND...: runs it, shows failures, leaves "passed failed" in FILE.count.
run_one() {
        local file=$1 name=$2 start=$SECONDS status ok bad skipped
        shift 2
        "$@" >"$file" 2>&1 </dev/null
        status=$?
        skipped=$(grep -cE '^ok\b.*# skip' "$file")
        ok=$(($(grep -cE '^ok\b' "$file") - skipped))
        bad=$(grep -cE '^not ok\b' "$file")
        if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ $((ok + skipped)) = 0 ]; }; then
                bad=1
        fi
        {
                flock 9
                printf '%-44s %4d passed %3d failed  %4ds\n' "$name" "$ok" "$bad" $((SECONDS - start))
                grep -E '^ok\b.*# skip' "$file" | sed 's/^ok [0-9]*/  skipped:/'
                if [ "$bad" != 0 ]; then
                        echo "--- $name (exit $status)"
                        grep -vE '^ok\b' "$file" | tail -n 80
                        echo "---"
                fi
        } 9>"$out/print"
        echo "$ok $bad $skipped" >"$file.count"
}

suite_tidy() { run tidy tests/tidy/tidy.sh --tap; }
suite_unit() {
        local t
        for t in $(find "$BUILD/tests/unit" -type f -perm -u+x 2>/dev/null | sort); do
                run "unit ${t#"$BUILD"/tests/unit/}" "$t"
        done
}
suite_golden() { run golden "$BUILD/tests/golden-run" tests/golden/cases; }
suite_sim() {
        run "sim ($SIM_SEEDS seeds)" "$BUILD/tests/sim-run" --seeds "$SIM_SEEDS"
        run "raft sim ($RAFT_SEEDS seeds)" "$BUILD/tests/raft-sim-run" --seeds "$RAFT_SEEDS"
}
suite_scenario() {
        local t
        for t in tests/scenario/*.bats; do
                run "scenario $(basename "$t" .bats)" bats --tap "$t"
        done
}

[ $# -gt 0 ] || set -- all
for s in "$@"; do
        case $s in
        all) suite_tidy; suite_unit; suite_golden; suite_sim; suite_scenario ;;
        tidy | unit | golden | sim | scenario) "suite_$s" ;;
        *) echo "run.sh: no such suite: $s" >&2; exit 2 ;;
        esac
done
while [ -n "$(jobs -rp)" ]; do wait -n; done
# One that left no count was ended from outside.
failed=$begun passed=0 skipped=0
for count in "$out"/*.count; do
        read -r ok bad without <"$count"
        passed=$((passed + ok)) failed=$((failed - 1 + bad)) skipped=$((skipped + without))
done
[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
