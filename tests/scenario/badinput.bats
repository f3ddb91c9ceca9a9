#!/usr/bin/env bats
# What is wrong is refused with one line that names the object and the cause, and with the right exit
# code; the daemons stay up, and nothing is left of what was refused. The table is badinput.txt.
load lib

setup_file() {
        cluster_for_file 1
        image_make tool:1 tool 'exec "$@"'
}

@test "each wrong command of the table is refused as it should be" {
        local bad=0 n=0 status text args out got
        while IFS='|' read -r status text args; do
                [[ -z "$status" || "$status" = \#* ]] && continue
                n=$((n + 1)) got=0
                eval "set -- $args"
                out=$(timeout 20 "$BUILD/swarmctl" --host "ipc://$CLUSTER/m1/manager.sock" "$@" 2>&1 >/dev/null </dev/null) || got=$?
                if [ "$got" != "$status" ] || [[ "$(head -n 1 <<<"$out")" != "swarmctl: $text"* ]]; then
                        printf 'swarmctl %s\n  exit %s, expected %s\n  said: %s\n' "$args" "$got" "$status" "$out"
                        bad=$((bad + 1))
                fi
        done <"$BATS_TEST_DIRNAME/badinput.txt"
        echo "$n commands, $bad wrong"
        [ "$n" -gt 50 ] && [ "$bad" = 0 ]
}

@test "what only the service, or a file, makes wrong is a failure and no wrong usage" {
        ctl service create --detach --quiet --name every --mode global --network none tool:1 /bin/sleep 1000
        ctl service create --detach --quiet --name one --network none tool:1 /bin/sleep 1000
        expect_fail 1 "service one: --generic-resource-rm X: the service has no such" ctl service update --generic-resource-rm X one
        expect_fail 1 "service every: --replicas can only be used with replicated mode" ctl service update --replicas 3 every
        expect_fail 2 "--replicas can only be used" ctl service create --mode global --replicas 3 tool:1 /bin/true
        expect_fail 1 "scale can only be used with replicated" ctl service scale every=3
        printf 'A=1\nB C=2\n' >"$BATS_TEST_TMPDIR/env"
        expect_fail 1 "line 2: variable \"B C\" contains whitespace" ctl service create --env-file "$BATS_TEST_TMPDIR/env" tool:1 /bin/true
        expect_fail 1 "no such service: nope" ctl service ps nope one
        [ "$(ctl service ps nope one one --format '{{.Name}}' 2>/dev/null)" = one.1 ]
        expect_fail 1 "no such node: nope" ctl node ps nope n1
        [ "$(ctl help service scale)" = "$(ctl service scale --help)" ]
        expect_fail 1 "no such service: nope" ctl service rm nope one
        expect_fail 1 "standard output: no space left" eval 'ctl info >/dev/full'
        ctl service rm every
        wait_for 20 "nothing is left" eval '[ -z "$(ctl service ls -q)" ]'
}

@test "nothing is left of what was refused, and the daemons are up" {
        [ -z "$(ctl service ls -q)" ]
        [ "$(ctl image ls -q | wc -l)" = 1 ]
        daemon_is_alive m1
        daemon_is_alive n1
        node_is n1 ready
}

@test "a container that cannot be made says why, and leaves nothing half made" {
        run_once nocmd true --detach
        ctl service rm nocmd
        ctl service create --detach --quiet --name nocmd --restart-condition none --network none tool:1 /bin/none
        ctl service create --detach --quiet --name nouser --restart-condition none --network none --user ghost tool:1 /bin/true
        ctl service create --detach --quiet --name nobind --restart-condition none --network none \
                --mount type=bind,source=/none/such,target=/x tool:1 /bin/true
        for s in nocmd nouser nobind; do
                wait_for 15 "the end of $s" ended $s
        done
        ctl service ps nocmd --no-trunc --format '{{.Error}}' | grep -q "command /bin/none: no such file in the container"
        ctl service ps nouser --no-trunc --format '{{.Error}}' | grep -q "user ghost: there is none of that name in the image's /etc/passwd"
        ctl service ps nobind --no-trunc --format '{{.Error}}' | grep -q "mount source /none/such: no such file or folder on this node"
        ctl service rm nocmd nouser nobind
        wait_for 15 "no container folder" eval '[ -z "$(ls "$CLUSTER/n1/agent/runtime/c")" ]'
        [ -z "$(find /sys/fs/cgroup -path "*/$CLUSTER_TAG-n1/*" -name cgroup.procs -exec cat {} +)" ]
        ! grep -qF "$CLUSTER/n1" /proc/self/mountinfo
}
ended() { has_state "$1" Failed || has_state "$1" Rejected; }

@test "a node without the right token is not let in" {
        host_add n9 10.77.0.19
        good=$(ctl swarm join-token -q worker)
        for token in nonsense "${good%?????}aaaaa" "SWMT-1-$(printf '0%.0s' $(seq 50))-$(printf '0%.0s' $(seq 25))"; do
                rm -rf "$CLUSTER/n9"
                run timeout 5 nsenter --net="/run/netns/$CLUSTER_TAG-n9" "$BUILD/swarm-agent" --data-dir "$CLUSTER/n9" \
                        --hostname n9 --shim "$BUILD/swarm-shim" --cgroup-parent "$CLUSTER_TAG-n9" --join 10.77.0.1:7377 --token "$token"
                [ "$status" != 0 ]
        done
        ! ctl node ls --format '{{.Hostname}}' | grep -qx n9
}

@test "wrong flags of an agent are refused before it touches anything" {
        for flag in "--label 'a b=c'" "--label =x" "--join nowhere" "--advertise x" "--hostname 'a b'" "--log-level loud" "--no-such x"; do
                eval "run timeout 5 '$BUILD/swarm-agent' --data-dir '$CLUSTER/n8' $flag"
                [ "$status" = 2 ]
                [ "${#lines[@]}" -le 2 ]
                [[ "${lines[0]}" = "swarm-agent: "*"${flag%% *}"* ]]
                [ ! -e "$CLUSTER/n8" ]
        done
        expect_fail 2 "token: does not begin with SWMT-1-" "$BUILD/swarm-agent" --data-dir "$CLUSTER/n8" --token garbage
        expect_fail 2 "--join HOST:PORT is needed" "$BUILD/swarm-agent" --data-dir "$CLUSTER/n8" --token "$(ctl swarm join-token -q worker)"
        rm -r "$CLUSTER/n8"
        expect_fail 2 "--token is needed" "$BUILD/swarm-agent" --data-dir "$CLUSTER/n8" --join 10.77.0.1:7377
}
