#!/usr/bin/env bats
# `make install`: what it puts where, and that the programs and units find each other there.

setup_file() {
        export ROOT=$BATS_FILE_TMPDIR/prefix
        make -s -C "$BATS_TEST_DIRNAME/../.." BUILD="${BUILD:-build}" install PREFIX="$ROOT"
}

@test "programs, manual pages, completion and units are there" {
        for f in bin/swarmctl sbin/swarm-manager sbin/swarm-agent libexec/swarm/swarm-shim libexec/swarm/swarm-unpack; do
                [ -x "$ROOT/$f" ]
        done
        for f in share/man/man1/swarmctl.1 share/man/man8/swarm-agent.8 share/man/man8/swarm-manager.8 \
                share/bash-completion/completions/swarmctl; do
                [ -s "$ROOT/$f" ]
        done
}

@test "the units name the installed programs, and containers outlive the agent's" {
        for unit in manager agent; do
                f=$ROOT/lib/systemd/system/swarm-$unit.service
                [ "$(grep -c '@' "$f")" = 0 ]
                [ -x "$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$f")" ]
                command -v systemd-analyze >/dev/null || continue
                run systemd-analyze verify --man=no "$f"
                [ "$status" = 0 ]
                [[ "$output" != *swarm-$unit* ]]
        done
        grep -qx KillMode=process "$ROOT/lib/systemd/system/swarm-agent.service"
        grep -qx "RestartPreventExitStatus=2 3" "$ROOT/lib/systemd/system/swarm-agent.service"
        grep -qx Delegate=yes "$ROOT/lib/systemd/system/swarm-agent.service"
}

@test "an installed agent finds its supervisor" {
        run timeout 5 "$ROOT/sbin/swarm-agent" --data-dir "$BATS_TEST_TMPDIR/d"
        [ "$status" = 2 ]
        [[ "$output" != *swarm-shim* && "$output" != *swarm-unpack* ]]
}
