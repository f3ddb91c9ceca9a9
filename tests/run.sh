#!/bin/bash
# Runs the test suites and counts: tests/run.sh all | [tidy] [unit] [golden] [fault] [sim] [scenario]...
# Every suite speaks TAP ("ok 1 - name", "not ok 2 - name"). A program that ends badly without a
# "not ok", or that ran no test, counts as one failure. Last line: "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
export BUILD CMOCKA_MESSAGE_OUTPUT=TAP
SIM_SEEDS=${SIM_SEEDS:-200}
RAFT_SEEDS=$((SIM_SEEDS * 5))
passed=0 failed=0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# run NAME COMMAND...: runs it, shows failures, adds to the counts.
run() {
        local name=$1 start=$SECONDS status ok bad
        shift
        "$@" >"$out/log" 2>&1 </dev/null
        status=$?
        ok=$(grep -cE '^ok\b' "$out/log")
        bad=$(grep -cE '^not ok\b' "$out/log")
        if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ "$ok" = 0 ]; }; then
                bad=1
        fi
        passed=$((passed + ok)) failed=$((failed + bad))
        printf '%-44s %4d passed %3d failed  %4ds\n' "$name" "$ok" "$bad" $((SECONDS - start))
        if [ "$bad" != 0 ]; then
                echo "--- $name (exit $status)"
                grep -vE '^ok\b' "$out/log" | tail -n 80
                echo "---"
        fi
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
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
