#!/usr/bin/env bats
# Several managers: one dies, and nobody notices; nodes become managers and workers again.
load lib

setup_file() {
        cluster_init
        export CLUSTER CLUSTER_TAG BUILD
        local i
        for i in 1 2 3; do host_add m$i 10.77.0.$i; done
        for i in 1 2 3; do host_add n$i 10.77.0.1$i; done
        manager_start m1 --hostname m1
        manager_join m2
        manager_join m3
        JOIN=m1 agent_start n1
        JOIN=m2 agent_start n2
        wait_for 20 "n1 ready" node_is n1 ready
        wait_for 20 "n2 ready" node_is n2 ready
        image_make web:1 one
        ctl service create --quiet --name web --replicas 4 --network none --restart-delay 0s --stop-grace-period 1s \
                web:1 /bin/main
}

setup() { CTL=$(a_manager); }

# The first that answers.
a_manager() {
        local m
        for m in m1 m2 m3; do
                [ -e "$CLUSTER/pids/$m" ] && ctl_of "$m" info >/dev/null 2>&1 && echo "$m" && return
        done
        echo m1
}

leader() { ctl node ls --format '{{.ManagerStatus}} {{.Hostname}}' | awk '$1 == "Leader" { print $2 }'; }
has_leader() { [ -n "$(leader)" ]; }
all_pids() { for n in n1 n2; do container_pids $n; done | sort; }
# connected NODE MANAGER: the node's agent has a connection to that manager.
connected() { host_run "$1" ss -Htn state established dst "$(host_address "$2"):7377" | grep -q .; }
# Rows of its tasks, those of the past as well: four as long as nothing was replaced.
web_tasks() { ctl service ps web -q | wc -l; }
manager_of() { host_run "$1" pgrep -f "^$BUILD/swarm-manager --data-dir $CLUSTER/$1\$"; }
manager_row_is() { ctl manager ls --format '{{.Hostname}} {{.Status}} {{.Role}} {{.ManagerStatus}}' | grep -qx "$1"; }
manager_is_gone() { ! ctl node ls --format "{{.Hostname}}" | grep -qx "$1"; }
managers_are() { [ "$(ctl manager ls --format '{{.Hostname}}' | tr '\n' ' ')" = "$1" ]; }
all_have_all() { [ "$(ctl manager ls --format '{{.Role}} {{.Behind}}' | grep -cx 'Voter 0')" = 3 ]; }
four_run() { [ "$(all_pids | wc -l)" = 4 ]; }
has_another_manager() { local now; now=$(manager_of "$1") && [ "$now" != "$2" ]; }
has_no_manager() { ! manager_of "$1" && [ ! -e "$CLUSTER/$1/manager" ] && [ ! -e "$CLUSTER/$1/manager.sock" ]; }

@test "the leader is killed: agents go on with those that are left, and containers untouched" {
        before=$(all_pids)
        [ "$(wc -l <<<"$before")" = 4 ]
        manager_is m1 leader
        connected n1 m1
        connected n2 m2
        daemon_stop m1 KILL
        CTL=m2
        wait_for 10 "a leader" has_leader
        ctl service create --quiet --name next --replicas 2 --network none --stop-grace-period 1s web:1 /bin/main
        service_running next 2
        connected n2 m2
        connected n1 m2 || connected n1 m3
        grep -q "the connection to the manager is lost" "$CLUSTER/log/n1"
        [ -z "$(grep "the connection to the manager is lost" "$CLUSTER/log/n2")" ]
        sleep 9 # longer than a new leader waits for nodes of which it hears nothing
        node_is n1 ready
        node_is n2 ready
        service_running web 4
        [ "$(web_tasks)" = 4 ]
        for p in $before; do kill -0 "$p"; done
        ctl service rm next
        wait_for 20 "the end of next" four_run
}

@test "a manager that comes again follows" {
        daemon_start m1 m1 "$BUILD/swarm-manager" --data-dir "$CLUSTER/m1"
        CTL=m2
        wait_for 10 "m1" manager_is m1 reachable
        ctl_of m1 service ls --format '{{.Name}} {{.Replicas}}' | grep -qx "web 4/4"
}

@test "a node that dies with the leader is down, and its tasks are elsewhere" {
        old=$(leader)
        [ "$old" = m1 ] || CTL=m1
        [ "$old" != m1 ] || CTL=m2
        for m in m1 m2 m3; do
                if [ "$m" != "$old" ]; then JOIN=$m; fi
        done
        agent_start n3
        wait_for 20 "n3 ready" node_is n3 ready
        connected n3 "$JOIN"
        pid=$(daemon_pid n3)
        kill -KILL "$pid"
        daemon_stop "$old" KILL
        wait_for 20 "n3 down" node_is n3 down
        node_is n1 ready
        node_is n2 ready
        service_running web 4
        daemon_start "$old" "$old" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$old"
        wait_for 10 "$old" manager_is "$old" reachable
        ctl node rm n3
}

@test "a worker is promoted: it gets a manager, and tasks go on" {
        before=$(all_pids)
        [ "$(ctl node promote n1)" = "Node n1 promoted to a manager in the swarm." ]
        wait_for 20 "manager n1" manager_is n1 reachable
        [ "$(ctl node promote n1)" = "Node n1 is already a manager." ]
        wait_for 10 "its answers" ctl_of n1 node ls
        [ "$before" = "$(all_pids)" ]
        # It is a process of its own, and comes again.
        pid=$(manager_of n1)
        daemon_stop n1 KILL
        kill -0 "$pid"
        agent_start n1
        kill -KILL "$pid"
        wait_for 20 "another manager process" has_another_manager n1 "$pid"
        wait_for 20 "n1 again" manager_is n1 reachable
        ctl_of n1 node ls
        [ "$before" = "$(all_pids)" ]
}

@test "agents learn of other managers without a new session" {
        wait_for 10 "n1 at n2" grep -q "^$(host_address n1):7377\$" "$CLUSTER/n2/agent/managers"
}

@test "a manager is demoted: its state goes, its tasks go on" {
        before=$(all_pids)
        [ "$(ctl node demote n1)" = "Manager n1 demoted in the swarm." ]
        wait_for 20 "the end of its manager" has_no_manager n1
        wait_for 10 "n1 a worker" manager_is n1 none
        wait_for 10 "word taken back" test ! -e "$CLUSTER/n1/agent/manager"
        [ -e "$CLUSTER/n1/node.key" ]
        [ -e "$CLUSTER/n1/cluster.pub" ]
        wait_for 10 "n1 ready" node_is n1 ready
        [ "$before" = "$(all_pids)" ]
        [ "$(ctl node demote n1)" = "Node n1 is already a worker." ]
        # and again a manager
        ctl node promote n1
        wait_for 20 "manager n1" manager_is n1 reachable
        ctl node demote n1
        wait_for 20 "the end of its manager" has_no_manager n1
        wait_for 20 "word taken back" test ! -e "$CLUSTER/n1/agent/manager"
        has_no_manager n1
        [ "$before" = "$(all_pids)" ]
}

@test "a manager on a node that is a worker is refused, and leaves nothing" {
        expect_fail 1 "this node is a worker: promote it" host_run n2 "$BUILD/swarm-manager" --data-dir "$CLUSTER/n2" \
                --advertise "$(host_address n2)" --join "$(host_address "$CTL"):7377"
        [ ! -e "$CLUSTER/n2/manager" ]
        [ -e "$CLUSTER/n2/node.key" ]
}

@test "managers are listed: who votes, who leads, who is behind" {
        wait_for 10 "three that have all" all_have_all
        [ "$(ctl manager ls --format '{{.Hostname}} {{.Address}} {{.Status}}')" = "m1 10.77.0.1:7377 Ready
m2 10.77.0.2:7377 Ready
m3 10.77.0.3:7377 Ready" ]
        [ "$(ctl manager ls -q | sort -u | grep -cx '[1-9][0-9]*')" = 3 ]
        [ "$(ctl_of m2 manager ls -q)" = "$(ctl_of m3 manager ls -q)" ]
        [ "$(ctl manager ls --format '{{.ManagerStatus}} {{.Hostname}}' | grep '^Leader')" = "Leader $(leader)" ]
}

@test "a manager that is gone for good is removed, and is not counted any more" {
        local gone=m3 others
        [ "$(leader)" != m3 ] || gone=m2
        [ "$gone" != "$CTL" ] || CTL=m1
        expect_fail 1 "manager $gone: is reachable: demote it first" ctl manager rm "$gone"
        daemon_stop "$gone" KILL
        wait_for 10 "$gone unreachable" manager_row_is "$gone Down Voter Unreachable"
        # the two that are left: one of them is the next to be missed
        others=$(ctl manager ls --format '{{.Hostname}}' | grep -v "$gone" | tr '\n' ' ')
        for m in $others; do
                expect_fail 1 "manager $m: cannot be removed: 1 of the 2 managers that would be left are reachable" \
                        ctl manager rm --force "$m"
        done
        [ "$(ctl manager rm "$gone")" = "$gone" ]
        wait_for 10 "$gone off the list" managers_are "$others"
        manager_is "$gone" none
        expect_fail 1 "node $gone: is not a manager" ctl manager rm "$gone"
        # Were it counted still, two of four would be no majority.
        ctl node promote n1
        wait_for 20 "manager n1" manager_is n1 reachable
        old=$(leader)
        for m in $others; do
                [ "$m" = "$old" ] || CTL=$m
        done
        [ "$old" != n1 ]
        daemon_stop "$old" KILL
        wait_for 10 "a leader" has_leader
        ctl service scale --quiet web=4
        daemon_start "$old" "$old" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$old"
        wait_for 10 "$old" manager_is "$old" reachable
        ctl node demote n1
        wait_for 20 "the end of its manager" has_no_manager n1
        # It comes back after all: it leaves, and may join anew.
        daemon_start "$gone" "$gone" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$gone"
        wait_for 20 "its end" process_is_gone "$(daemon_pid "$gone")"
        [ ! -e "$CLUSTER/$gone/manager" ]
        JOIN=$CTL manager_join "$gone"
        service_running web 4
}

@test "a manager that was demoted while it was away leaves when it comes back" {
        away=m3
        [ "$(leader)" != m3 ] || away=m2
        [ "$away" != "$CTL" ] || CTL=m1
        daemon_stop "$away" KILL
        wait_for 10 "$away unreachable" manager_is "$away" unreachable
        ctl node demote "$away"
        wait_for 10 "$away a worker" manager_is "$away" none
        daemon_start "$away" "$away" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$away"
        wait_for 20 "its end" process_is_gone "$(daemon_pid "$away")"
        rm "$CLUSTER/pids/$away"
        [ ! -e "$CLUSTER/$away/manager" ]
        [ -e "$CLUSTER/$away/node.key" ]
        tail -n 1 "$CLUSTER/log/$away" | grep -q "taken off the members: its state is removed"
}

@test "the leader is demoted, and another one leads" {
        old=$(leader)
        left=$(ctl node ls --format '{{.ManagerStatus}} {{.Hostname}}' | awk '$1 == "Reachable" { print $2 }')
        ctl node demote "$old"
        CTL=$left
        wait_for 20 "its end" process_is_gone "$(daemon_pid "$old")"
        rm "$CLUSTER/pids/$old"
        [ ! -e "$CLUSTER/$old/manager" ]
        manager_is "$left" leader
        service_running web 4
}

@test "the last manager is not demoted, also when the one before leaves at that moment" {
        ctl node promote n1
        wait_for 20 "manager n1" manager_is n1 reachable
        expect_fail 1 "node $(leader): cannot be demoted: it is the only manager" ctl node demote n1 "$(leader)"
        wait_for 20 "the end of its manager" has_no_manager n1
        expect_fail 1 "node $(leader): cannot be demoted: it is the only manager" ctl node demote "$(leader)"
        expect_fail 1 "manager $(leader): cannot be removed: it is the only manager" ctl manager rm --force "$(leader)"
        manager_is "$(leader)" leader
        service_running web 4
}

@test "a manager that cannot be reached where it says leaves nothing behind" {
        host_add m4 10.77.0.4
        daemon_start m4 m4 "$BUILD/swarm-manager" --data-dir "$CLUSTER/m4" --hostname m4 --advertise 10.77.0.99 \
                --join "$(host_address "$CTL"):7377" --token "$(ctl swarm join-token -q manager)"
        wait_for 10 "m4 in the list" manager_is m4 unreachable
        wait_for 30 "its end" process_is_gone "$(daemon_pid m4)"
        rm "$CLUSTER/pids/m4"
        tail -n 1 "$CLUSTER/log/m4" | grep -q "cannot be reached at 10.77.0.99:7377"
        wait_for 15 "no m4 in the list" manager_is_gone m4
        # With its own address it is taken in.
        daemon_start m4 m4 "$BUILD/swarm-manager" --data-dir "$CLUSTER/m4" --hostname m4 --advertise 10.77.0.4 \
                --join "$(host_address "$CTL"):7377" --token "$(ctl swarm join-token -q manager)"
        wait_for 20 "m4 a manager" manager_is m4 reachable
}
