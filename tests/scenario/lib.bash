# What the scenario tests share: a cluster a file (setup_file), and checks that say what they saw.
# shellcheck source=deploy/demo/lib.sh
. "$BATS_TEST_DIRNAME/../../deploy/demo/lib.sh"
bats_require_minimum_version 1.5.0 # "run !": a plain "!" fails no test, unless it is its last line

# cluster_for_file N [AGENT FLAG...]: in setup_file.
cluster_for_file() {
        cluster_up "$@" || { tail -n 20 "$CLUSTER"/log/* >&2; return 1; }
        export CLUSTER CLUSTER_TAG BUILD
}

teardown_file() { cluster_down; }

# expect_fail STATUS TEXT COMMAND...: the command fails with that status and one line holding the text.
expect_fail() {
        local status=$1 text=$2 out got
        shift 2
        out=$("$@" 2>&1 >/dev/null) && { echo "succeeded: $*"; return 1; }
        got=$?
        if [ "$got" != "$status" ] || [[ "$out" != *"$text"* ]] || [ "$(wc -l <<<"$out")" -gt 2 ]; then
                printf 'command: %s\nexit %s, expected %s\nsaid: %s\nexpected: %s\n' "$*" "$got" "$status" "$out" "$text"
                return 1
        fi
}

# logs_have SERVICE TEXT: some line of its logs is the text.
logs_have() { ctl service logs --raw "$1" 2>/dev/null | grep -qxF -- "$2"; }

# run_once NAME SCRIPT [FLAG...]: a service of one task of image tool:1 that runs a shell script once.
run_once() {
        local name=$1 script=$2
        shift 2
        ctl service create --detach --quiet --name "$name" --restart-condition none --network none "$@" \
                tool:1 /bin/sh -c "$script" >/dev/null
}

# task_states SERVICE: the states of all its tasks, "Running 1".
task_states() {
        ctl service ps "$1" --format '{{.CurrentState}}' | awk '{ print $1 }' | sort | uniq -c | awk '{ print $2, $1 }'
}
has_state() { task_states "$1" | grep -q "^$2 "; }
