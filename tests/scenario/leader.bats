#!/usr/bin/env bats
# The leader is lost while clients ask, wait and follow through another manager: they go on.
load lib

setup_file() {
        cluster_init
        export CLUSTER CLUSTER_TAG BUILD
        local i
        for i in 1 2 3; do host_add m$i 10.77.0.$i; done
        host_add n1 10.77.0.11
        manager_start m1 --hostname m1
        manager_join m2
        manager_join m3
        JOIN=m2 agent_start n1
        wait_for 20 "n1 ready" node_is n1 ready
        image_make tool:1 tool 'exec "$@"'
}

# In each test m1, m2 or m3 leads; clients are at one that follows.
setup() {
        wait_for 20 "a leader" has_leader
        lead=$(leader_name m1)
        CTL=m1
        [ "$lead" != m1 ] || CTL=m2
        wait_for 20 "all managers" all_reachable
}

teardown() {
        local s
        manager_back
        for s in $(ctl service ls -q); do ctl service rm "$s" >/dev/null; done
        wait_for 20 "the end of all containers" eval '[ -z "$(container_pids n1)" ]'
}

has_leader() { [ -n "$(leader_name)" ]; }
all_reachable() { [ "$(ctl info --format '{{.Swarm.ManagersReachable}}')" = 3 ]; }
manager_back() {
        daemon_is_alive "$lead" || daemon_start "$lead" "$lead" "$BUILD/swarm-manager" \
                --data-dir "$CLUSTER/$lead" --hostname "$lead"
        wait_for 20 "all managers" all_reachable
}
begin() {
        out=$BATS_TEST_TMPDIR/out
        rm -f "$out" "$out.code"
        { got=0; "$@" >"$out" 2>"$out.err" </dev/null 3>&- || got=$?; echo "$got" >"$out.code"; } &
        begun=$!
}
has_said() { grep -q "$1" "$out" "$out.err"; }
has_exited() { [ -s "$out.code" ]; }

@test "self is the manager that is asked, not the one that leads" {
        for m in m1 m2 m3; do
                [ "$(ctl_of $m node inspect self --format '{{.Description.Hostname}}')" = $m ]
                [ "$(ctl_of $m info --format '{{.Swarm.NodeID}}')" = "$(ctl node inspect $m --format '{{.ID}}')" ]
                ctl_of $m node ls | grep ' \* ' | grep -qw $m
                [ "$(ctl_of $m node ls | grep -c ' \* ')" = 1 ]
        done
        ctl info | grep -q "^Managers: *3 (3 reachable)$"
        ctl info | grep -q "^Leader: *$lead$"
}

@test "questions are asked again when the leader is lost, and answered" {
        ctl service create --detach --quiet --name web --network none --stop-grace-period 500ms tool:1 sleep 1000
        ask() { for _ in $(seq 150); do ctl node ls -q && ctl service ls -q && ctl service ps web -q &&
                ctl info || return; done; }
        begin ask
        sleep 0.2
        daemon_stop "$lead" KILL
        wait_for 60 "the answers" has_exited
        cat "$out.err"
        [ "$(cat "$out.code")" = 0 ]
        [ ! -s "$out.err" ]
}

@test "a wait goes on when the leader is lost" {
        begin ctl service create --name web --replicas 2 --update-monitor 5s --network none --stop-grace-period 500ms tool:1 sleep 1000
        wait_for 15 "a task that runs" has_said "web.1: running"
        daemon_stop "$lead" KILL
        wait_for 40 "the end of the wait" has_exited
        cat "$out" "$out.err"
        [ "$(cat "$out.code")" = 0 ]
        grep -qx "web converged" "$out"
        [ "$(ctl service ps web -q | wc -l)" = 2 ]
}

@test "logs and events go on when the leader is lost" {
        begin ctl events --since 1m # it may connect only after the service is made
        events=$begun events_out=$out
        ctl service create --quiet --name web --update-monitor 1s --network none --stop-grace-period 500ms tool:1 /bin/sh -c \
                'i=0; while true; do echo "a $i"; i=$((i + 1)); sleep 0.02; done'
        wait_for 15 "the first event" grep -q "service create .*name=web" "$events_out"
        out=$BATS_TEST_TMPDIR/logs
        begun=
        ctl service logs --follow --raw web >"$out" 2>"$out.err" 3>&- &
        logs=$!
        wait_for 15 "lines" grep -q "^a 20$" "$out"
        daemon_stop "$lead" KILL
        wait_for 20 "a leader" has_leader
        before=$(tail -n 1 "$out")
        wait_for 30 "more lines" eval '[ "$(tail -n 1 "$out")" != "$before" ] && [ "$(wc -l <"$out")" -gt "$((${before#a } + 100))" ]'
        ctl service update --detach --label-add a=b web
        wait_for 20 "the event" grep -q "service update .*name=web" "$events_out"
        kill -0 $logs
        kill $logs $events 2>/dev/null || true
        # each line once, in order
        awk '$0 != "a " (NR - 1) { print "line " NR ": " $0; exit 1 }' <(head -n -1 "$out")
}
