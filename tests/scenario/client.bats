#!/usr/bin/env bats
# swarmctl: what it waits for and follows outlives a restart of the manager; what it says when it ends.
load lib

setup_file() {
        cluster_for_file 1
        image_make tool:1 tool 'exec "$@"'
}

teardown() {
        daemon_is_alive m1 || manager_start m1
        local s
        for s in $(ctl service ls -q); do ctl service rm "$s" >/dev/null; done
        wait_for 20 "the end of all containers" eval '[ -z "$(container_pids n1)" ]'
}

# SCRIPT in the background; what it says goes to $out, its exit code to $out.code.
begin() {
        out=$BATS_TEST_TMPDIR/out
        rm -f "$out" "$out.code"
        { got=0; "$@" >"$out" 2>"$out.err" </dev/null 3>&- || got=$?; echo "$got" >"$out.code"; } &
        begun=$!
}
has_said() { grep -q "$1" "$out" "$out.err"; }
has_exited() { [ -s "$out.code" ]; }
manager_restart() {
        daemon_stop m1 KILL
        sleep 1
        manager_start m1
}

@test "a wait goes on when the manager restarts" {
        begin ctl service create --name web --replicas 2 --update-monitor 3s --network none --stop-grace-period 500ms tool:1 sleep 1000
        wait_for 15 "a task that runs" has_said "web.1: running"
        manager_restart
        wait_for 30 "the end of the wait" has_exited
        cat "$out" "$out.err"
        [ "$(cat "$out.code")" = 0 ]
        grep -qx "web converged" "$out"
        ! grep -qi broke "$out.err"
}

@test "a manager that stays away ends the wait, and what was accepted is said" {
        begin ctl --timeout 4s service create --name web --network none --stop-grace-period 500ms tool:1 sleep 1000
        wait_for 15 "a task that runs" has_said "web.1: running"
        daemon_stop m1 KILL
        wait_for 15 "the end of the wait" has_exited
        cat "$out" "$out.err"
        [ "$(cat "$out.code")" = 3 ]
        grep -q "^swarmctl: service web: created, but the manager cannot be reached to follow its progress: no manager at ipc:" "$out.err"
        [ "$(wc -l <"$out.err")" = 1 ]
        manager_start m1
        [ "$(ctl service ls --format '{{.Name}}')" = web ]
}

@test "logs go on where they were when the manager restarts" {
        ctl service create --detach --quiet --name web --network none --stop-grace-period 500ms tool:1 /bin/sh -c \
                'i=0; while true; do echo "a $i"; echo "b $i"; i=$((i + 1)); sleep 0.02; done'
        wait_for 15 "a task that runs" service_running web 1
        begin ctl service logs --follow --raw web
        wait_for 15 "the first lines" has_said "^b 50$"
        manager_restart
        local n
        n=$(wc -l <"$out")
        wait_for 30 "lines after the restart" eval '[ "$(wc -l <"$out")" -gt $((n + 100)) ]'
        ctl service rm web
        wait_for 15 "the end of the logs" has_exited
        cat "$out.err"
        [ "$(cat "$out.code")" = 0 ]
        diff <(awk 'BEGIN { i = 0; while (i < 1000000) { print "a " i; print "b " i; i++ } }' | head -n "$(wc -l <"$out")") "$out"
}

@test "logs of the last lines only go on likewise" {
        ctl service create --detach --quiet --name web --network none --stop-grace-period 500ms tool:1 /bin/sh -c \
                'i=0; while true; do echo "$i"; i=$((i + 1)); sleep 0.05; done'
        wait_for 15 "some lines" logs_have web 20
        begin ctl service logs --follow --raw --tail 3 web
        wait_for 15 "lines" eval '[ "$(wc -l <"$out")" -gt 5 ]'
        manager_restart
        local n
        n=$(wc -l <"$out")
        wait_for 30 "lines after the restart" eval '[ "$(wc -l <"$out")" -gt $((n + 30)) ]'
        kill "$(pgrep -P "$begun" swarmctl)"
        awk 'NR > 1 && $1 != last + 1 { print "after " last ": " $1; bad = 1 } { last = $1 } END { exit bad }' "$out"
}

@test "logs of a task that had not spoken yet go on with its first line" {
        mkdir -p "$CLUSTER/ask"
        ctl service create --detach --quiet --name two --replicas 2 --env 'SLOT={{.Task.Slot}}' --network none --stop-grace-period 500ms \
                --mount "type=bind,source=$CLUSTER/ask,target=/ask" tool:1 /bin/sh -c \
                'echo early; [ "$SLOT" = 2 ] || while true; do echo busy; sleep 0.05; done; until [ -e /ask/now ]; do sleep 0.1; done; echo late; sleep 1000'
        wait_for 15 "both" eval '[ "$(ctl service logs --raw two | grep -c early)" = 2 ]'
        begin ctl service logs --follow --raw --tail 0 two
        wait_for 15 "lines of the one that speaks" has_said busy
        manager_restart
        touch "$CLUSTER/ask/now"
        wait_for 30 "the first line of the other" has_said late
        [ "$(grep -c late "$out")" = 1 ]
        run ! grep -q early "$out"
        kill "$(pgrep -P "$begun" swarmctl)"
}

@test "logs that are not followed end although their task writes without end" {
        ctl service create --quiet --name flood --network none tool:1 /bin/sh -c 'while :; do echo 0123456789; done'
        wait_for 20 "some lines" eval '[ "$(timeout 60 "$BUILD/swarmctl" --host "ipc://$CLUSTER/m1/manager.sock" service logs --raw --since 0 --tail 100 flood | grep -c 0123456789)" = 100 ]'
        timeout 120 "$BUILD/swarmctl" --host "ipc://$CLUSTER/m1/manager.sock" service logs --raw --since 0 flood >"$CLUSTER/flood"
        [ -s "$CLUSTER/flood" ]
        ctl service rm flood
}

@test "events go on when the manager restarts, and that some may be missing is said" {
        ctl service create --detach --quiet --name probe --replicas 0 --network none tool:1 sleep 1000
        begin ctl events --filter type=service
        wait_for 10 "the stream" eval 'ctl service update --detach --quiet --label-add "n=$RANDOM" probe && has_said name=probe'
        ctl service create --detach --quiet --name one --network none --stop-grace-period 500ms tool:1 sleep 1000
        wait_for 10 "the first event" has_said "service create .*name=one"
        manager_restart
        wait_for 10 "the warning" has_said "^warning: the manager was not reached for .*: events may be missing"
        ctl service create --detach --quiet --name two --network none --stop-grace-period 500ms tool:1 sleep 1000
        wait_for 10 "the second event" has_said "service create .*name=two"
        [ "$(grep -c 'service create .*name=one' "$out")" = 1 ]
        kill "$(pgrep -P "$begun" swarmctl)"
}

@test "scaled to none has converged once nothing runs any more" {
        ctl service create --quiet --name web --replicas 2 --update-monitor 0s --stop-grace-period 2s --network none \
                tool:1 /bin/sh -c 'trap "" TERM; while true; do sleep 1; done'
        [ "$(container_pids n1 | wc -l)" = 2 ]
        ctl service scale web=0 >"$BATS_TEST_TMPDIR/out"
        [ -z "$(container_pids n1)" ]
        grep -qx "web: waiting for 2 tasks to stop" "$BATS_TEST_TMPDIR/out"
        grep -qx "web converged" "$BATS_TEST_TMPDIR/out"
}

@test "a wait that is too long says how far it has come" {
        expect_fail 124 "service web: not converged within 2s: 0 of 1 tasks running; web.1: " \
                ctl --timeout 2s service create --quiet --name web --network none --stop-grace-period 500ms --restart-delay 10s tool:1 /bin/sh -c 'exit 3'
        expect_fail 124 "service big: not converged within 1s: 0 of 1 tasks running; big.1: no suitable node" \
                ctl --timeout 1s service create --quiet --name big --network none --stop-grace-period 500ms --reserve-cpu 1000 tool:1 sleep 1
}

# completed LINE: what the shell would offer, on one line.
completed() {
        PATH=$BUILD:$PATH SWARM_HOST=ipc://$CLUSTER/m1/manager.sock bash --norc -c '
                source deploy/completions/swarmctl.bash
                COMP_LINE=$1 COMP_POINT=${#1}
                _swarmctl
                echo "${COMPREPLY[*]}"' bash "$1"
}

@test "the shell completes commands, flags and names" {
        ctl service create --detach --quiet --name web-a --network none --stop-grace-period 500ms tool:1 sleep 1000
        ctl service create --detach --quiet --name web-b --network none --stop-grace-period 500ms tool:1 sleep 1000
        [ "$(completed 'swarmctl no')" = node ]
        [ "$(completed 'swarmctl node i')" = inspect ]
        [ "$(completed 'swarmctl service update --rollback-o')" = --rollback-order ]
        [ "$(completed 'swarmctl service update --rollback-order ')" = "start-first stop-first" ]
        [ "$(completed 'swarmctl service update --rollback-order=st')" = "start-first stop-first" ]
        [ "$(completed 'swarmctl service ps we' | tr ' ' '\n' | sort | xargs)" = "web-a web-b" ]
        [ "$(completed 'swarmctl service scale web-a=2 web-b')" = "web-b=" ]
        [ "$(completed 'swarmctl node inspect n')" = n1 ]
        [ "$(completed 'swarmctl image inspect to')" = tool:1 ]
        [ "$(completed 'swarmctl image inspect tool:')" = 1 ]
        [ "$(SWARM_HOST=x completed 'swarmctl --host ipc:///none service ps ')" = "" ]
}

@test "over tcp with a manager's keys, and only with them" {
        at=tcp://$(host_address m1):7377
        SWARM_DATA_DIR=$CLUSTER/m1 host_run n1 "$BUILD/swarmctl" --host "$at" node ls -q | grep -q .
        SWARM_DATA_DIR=$CLUSTER/none expect_fail 1 "tcp needs the keys of a manager's data-dir" host_run n1 "$BUILD/swarmctl" --host "$at" info
        SWARM_DATA_DIR=$CLUSTER/n1 expect_fail 1 "" host_run n1 "$BUILD/swarmctl" --host "$at" info
}

@test "a manager and an agent with one folder are one node" {
        daemon_start m1a m1 "$BUILD/swarm-agent" --data-dir "$CLUSTER/m1" --hostname m1 --advertise "$(host_address m1)" \
                --shim "$BUILD/swarm-shim" --cgroup-parent "$CLUSTER_TAG-m1" \
                --join "$(host_address m1):7377" --token "$(ctl swarm join-token -q worker)"
        wait_for 20 "the agent" node_is m1 ready
        [ "$(ctl node ls --filter membership=accepted -q | wc -l)" = 2 ]
        [ "$(ctl node ls --filter role=manager --format '{{.Hostname}} {{.ManagerStatus}}')" = "m1 Leader" ]
        ctl service create --quiet --name here --network none --constraint node.role==manager tool:1 /bin/sleep 1000
        service_running here 1
        ctl service rm here
        wait_for 20 "its end" eval '[ -z "$(container_pids m1)" ]'
        daemon_stop m1a
}

@test "whoever follows and is behind gets all that a task wrote that is removed" {
        mkdir -p "$CLUSTER/big"
        ctl service create --detach --quiet --name big --network none --restart-condition none --constraint node.hostname==n1 \
                --mount "type=bind,source=$CLUSTER/big,target=/big" tool:1 /bin/sh -c \
                'echo begin; until [ -e /big/go ]; do sleep 0.1; done; x=$(head -c 1000 /dev/zero | tr "\0" x); for i in $(seq 1 25000); do echo "$i $x"; done; touch /big/done'
        begin ctl service logs --follow --raw big
        wait_for 15 "the first line" has_said begin
        kill -STOP "$(pgrep -P "$begun" swarmctl)"
        touch "$CLUSTER/big/go"
        wait_for 60 "the last line" test -e "$CLUSTER/big/done"
        ctl service rm big
        wait_for 20 "the removal" eval '[ -z "$(ls "$CLUSTER/n1/agent/runtime/c")" ]'
        kill -CONT "$(pgrep -P "$begun" swarmctl)"
        wait_for 60 "the end of the logs" has_exited
        cat "$out.err"
        [ "$(cat "$out.code")" = 0 ]
        diff <(echo begin; seq 1 25000) <(cut -d ' ' -f 1 "$out")
}
