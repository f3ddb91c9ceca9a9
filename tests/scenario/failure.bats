#!/usr/bin/env bats
# Things die: containers, agents, links, nodes, the manager. What was asked for comes back.
load lib

setup_file() {
        cluster_for_file 3
        image_make web:1 one
        ctl service create --quiet --name web --replicas 6 --network none --restart-delay 0s --stop-grace-period 1s web:1 /bin/main
}

all_pids() { for n in n1 n2 n3; do container_pids $n; done | sort; }

@test "a killed container is replaced" {
        victim=$(container_pids n1 | head -n 1)
        kill -KILL "$victim"
        wait_for 10 "a failed task" has_state web Failed
        wait_for 10 "six again" service_running web 6
        ctl service ps web --no-trunc --format '{{.Error}}' | grep -q "137"
}

@test "an agent that is killed and started again takes its containers over" {
        before=$(container_pids n2 | sort)
        [ -n "$before" ]
        daemon_stop n2 KILL
        agent_start n2
        wait_for 15 "n2 ready" node_is n2 ready
        wait_for 10 "six" service_running web 6
        [ "$before" = "$(container_pids n2 | sort)" ]
}

@test "an agent whose journal is damaged keeps its containers, and runs none again" {
        ctl service create --detach --quiet --name once --network none --restart-condition none \
                --constraint node.hostname==n2 web:1 /bin/false
        wait_for 15 "its end" has_state once Failed
        id=$(ctl service ps once -q --no-trunc)
        before=$(container_pids n2 | sort)
        [ -n "$before" ]
        daemon_stop n2 KILL
        dd if=/dev/zero of="$CLUSTER/n2/agent/journal.db" bs=1k count=1 conv=notrunc 2>/dev/null
        rm -f "$CLUSTER/n2/agent"/journal.db-*
        agent_start n2
        wait_for 15 "the one that runs" eval 'grep "its task is known again" "$CLUSTER/log/n2" | grep -q "name=web"'
        wait_for 15 "the one that ended" eval 'grep "its task is known again" "$CLUSTER/log/n2" | grep -q "name=once"'
        grep -q "the journal is damaged" "$CLUSTER/log/n2"
        wait_for 15 "n2 ready" node_is n2 ready
        wait_for 10 "six" service_running web 6
        [ "$before" = "$(container_pids n2 | sort)" ]
        has_state once Failed
        [ "$(grep -c "container started task=$id" "$CLUSTER/log/n2")" = 1 ]
        ctl service rm once
}

@test "a copy of a node's data-dir on another machine is refused, and the node goes on" {
        before=$(container_pids n2 | sort)
        [ -n "$before" ]
        losses=$(grep -c "the connection to the manager is lost" "$CLUSTER/log/n2" || true)
        host_add copy 10.77.0.18
        cp -a "$CLUSTER/n2" "$CLUSTER/copy"
        agent_start copy
        said="node key in use on another machine (n2, 10.77.0.12): remove $CLUSTER/copy and join again"
        wait_for 15 "the refusal" grep -qF "$said" "$CLUSTER/log/copy"
        [ "$(grep -cF "$said" "$CLUSTER/log/copy")" = 1 ]
        grep "the second is refused" "$CLUSTER/log/m1" | grep "address=10.77.0.12" | grep -q "refused_address=10.77.0.18"
        told="its key is in use on another machine, which is refused (copy, 10.77.0.18)"
        ctl events --since 10m --until $(($(date +%s) + 1)) --filter type=node | grep -qF "message=$told, name=n2"
        node_is n2 ready
        # What the node does goes on as if there were no copy: its session, its containers, its next start.
        [ "$(grep -c "the connection to the manager is lost" "$CLUSTER/log/n2" || true)" = "$losses" ]
        daemon_stop n2 KILL
        sessions=$(grep -c "agent ready" "$CLUSTER/log/n2")
        agent_start n2
        wait_for 5 "its session" eval '[ "$(grep -c "agent ready" "$CLUSTER/log/n2")" -gt "$sessions" ]'
        node_is n2 ready
        service_running web 6
        [ "$before" = "$(container_pids n2 | sort)" ]
        # As it was told to.
        daemon_stop copy
        rm -rf "$CLUSTER/copy"
        agent_start copy
        wait_for 15 "copy ready" node_is copy ready
        daemon_stop copy
        ctl node rm --force copy
}

@test "what exited while the agent was dead is told with its exit status" {
        victim=$(container_pids n3 | head -n 1)
        daemon_stop n3 KILL
        kill -KILL "$victim"
        wait_for 5 "its end" process_is_gone "$victim"
        agent_start n3
        wait_for 15 "n3 ready" node_is n3 ready
        wait_for 10 "six" service_running web 6
        ctl service ps web --no-trunc --filter node=n3 --format '{{.CurrentState}} {{.Error}}' | grep -q "^Failed.*137"
}

@test "a node that is cut off is replaced, and cleaned when it returns" {
        old=$(container_pids n1 | sort)
        host_cut n1
        wait_for 15 "n1 down" node_is n1 down
        wait_for 15 "six elsewhere" service_running web 6
        for p in $old; do kill -0 "$p"; done
        host_heal n1
        wait_for 15 "n1 ready" node_is n1 ready
        for p in $old; do wait_for 15 "end of $p" process_is_gone "$p"; done
        service_running web 6
}

@test "an agent whose key is gone does not start, and its containers go on" {
        before=$(container_pids n2 | sort)
        [ -n "$before" ]
        daemon_stop n2 KILL
        mv "$CLUSTER/n2/node.key" "$CLUSTER/saved.key"
        agent_start n2 # with a token, as if it had never joined
        wait_for 15 "its end" process_is_gone "$(daemon_pid n2)"
        tail -n 1 "$CLUSTER/log/n2" | grep -q "node.key is missing, but this node has joined"
        [ ! -e "$CLUSTER/n2/node.key" ]
        [ "$before" = "$(container_pids n2 | sort)" ]
        mv "$CLUSTER/saved.key" "$CLUSTER/n2/node.key"
        agent_start n2
        wait_for 15 "n2 ready" node_is n2 ready
        wait_for 10 "six" service_running web 6
}

@test "programs without standard descriptors work" {
        ctl node ls -q >&-
        ctl node ls -q <&- >/dev/null
        ctl node ls -q 2>&- | grep -q .
        daemon_stop n2
        nsenter --net="/run/netns/$CLUSTER_TAG-n2" -- setsid "$BUILD/swarm-agent" --data-dir "$CLUSTER/n2" <&- >&- 2>&- 3>&- 4>&- &
        echo $! >"$CLUSTER/pids/n2"
        wait_for 15 "n2 ready" node_is n2 ready
        ctl service update --quiet --force web
        [ -n "$(container_pids n2)" ]
        service_running web 6
}

@test "a removed node is told, ends what it runs, and can join again with a token" {
        old=$(container_pids n3 | sort)
        [ -n "$old" ]
        run ctl node rm n3
        [ "$status" = 1 ]
        pid=$(daemon_pid n3)
        ctl node rm --force n3
        wait_for 15 "the agent's end" process_is_gone "$pid"
        for p in $old; do process_is_gone "$p"; done
        grep -q "removed from the cluster" "$CLUSTER/log/n3"
        wait_for 15 "six elsewhere" service_running web 6
        agent_start n3 # without a token it cannot join
        wait_for 15 "its end" process_is_gone "$(daemon_pid n3)"
        tail -n 1 "$CLUSTER/log/n3" | grep -q -- "--token is needed"
        agent_start n3 --token "$(ctl swarm join-token -q worker)"
        wait_for 15 "n3 ready" node_is n3 ready
        ctl service update --quiet --force web
        [ -n "$(container_pids n3)" ]
}

# The agent of host $1, in the foreground, as systemd would start it anew.
agent_again() {
        nsenter --net="/run/netns/$CLUSTER_TAG-$1" timeout 30 "$BUILD/swarm-agent" --data-dir "$CLUSTER/$1" --hostname "$1" \
                --shim "$BUILD/swarm-shim" --cgroup-parent "$CLUSTER_TAG-$1" --join 10.77.0.1:7377 "${@:2}"
}

@test "an agent ends with statuses of their own when a start anew is of no use" {
        host_add n7 10.77.0.27
        agent_start n7
        wait_for 15 "n7 ready" node_is n7 ready
        good=$(ctl swarm join-token -q worker)
        daemon_stop n7
        ctl node rm --force n7
        run agent_again n7
        [ "$status" = 3 ]
        run agent_again n7
        [ "$status" = 2 ]
        run agent_again n7 --token "${good%?????}aaaaa"
        [ "$status" = 3 ]
}

@test "a node that was removed while it was away is told when it comes back" {
        old=$(container_pids n3 | sort)
        [ -n "$old" ]
        pid=$(daemon_pid n3)
        host_cut n3
        wait_for 15 "n3 down" node_is n3 down
        ctl node rm n3
        for p in $old; do kill -0 "$p"; done
        host_heal n3
        wait_for 30 "the agent's end" process_is_gone "$pid"
        for p in $old; do process_is_gone "$p"; done
        agent_start n3 --token "$(ctl swarm join-token -q worker)"
        wait_for 15 "n3 ready" node_is n3 ready
        ctl service update --quiet --force web
}

@test "a drained node is emptied, an active one is used again" {
        ctl node update --availability drain n2
        wait_for 15 "n2 empty" eval '[ "$(ctl node ps n2 --filter desired-state=running -q | wc -l)" = 0 ]'
        wait_for 15 "six elsewhere" service_running web 6
        ctl node update --availability active n2
        ctl service update --quiet --force web
        [ "$(ctl node ps n2 --filter desired-state=running -q | wc -l)" -gt 0 ]
}

@test "the manager is killed at any moment: what it acknowledged is there, no container is touched" {
        before=$(all_pids)
        for i in 1 2 3 4 5; do
                acked=
                for k in 1 2 3 4 5 6 7 8; do
                        (sleep "0.0$((i * k % 9))"; [ $k = 5 ] && daemon_kill_only m1) &
                        if ctl service create --detach --quiet --name "s$i-$k" --replicas 0 --network none web:1 /bin/main >/dev/null 2>&1; then
                                acked="$acked s$i-$k"
                        fi
                        wait
                done
                manager_start m1
                for s in $acked; do ctl service inspect "$s" >/dev/null; done
        done
        for n in n1 n2 n3; do wait_for 20 "$n ready" node_is $n ready; done
        wait_for 10 "six" service_running web 6
        [ "$before" = "$(all_pids)" ]
        ctl service ls -q --filter name=s | xargs -r -n 50 "$BUILD/swarmctl" --host "ipc://$CLUSTER/m1/manager.sock" service rm >/dev/null
}
daemon_kill_only() { kill -KILL "$(daemon_pid "$1")"; }

@test "the manager stops in order and comes back" {
        before=$(all_pids)
        daemon_stop m1 TERM
        expect_fail 3 "manager" ctl node ls
        manager_start m1
        for n in n1 n2 n3; do wait_for 20 "$n ready" node_is $n ready; done
        wait_for 10 "six" service_running web 6
        [ "$before" = "$(all_pids)" ]
}

@test "each of 400 requests in a row is answered" {
        for i in $(seq 400); do
                ctl --timeout 5s info >/dev/null || { echo "request $i"; return 1; }
        done
}

@test "a supervisor that is killed does not take the others along" {
        shim=$(ps -o ppid= -p "$(container_pids n1 | head -n 1)" | tr -d ' ')
        kill -KILL "$shim"
        wait_for 10 "six" service_running web 6
}

@test "a task that keeps failing is restarted ever more slowly" {
        ctl service create --detach --quiet --name crash --network none --restart-delay 200ms web:1 /bin/false
        wait_for 20 "four attempts" eval '[ "$(ctl service ps crash -q | wc -l)" -ge 4 ]'
        wait_for 20 "the delay is told" eval 'ctl service ps crash | grep -q "Ready .* (restart in .* after [0-9]* failures)"'
        wait_for 20 "it is told in full" eval 'ctl task inspect "$(ctl service ps crash -q --filter desired-state=ready)" --format "{{.Failures}} {{.RestartAt}}" | grep -q "^[1-9][0-9]* 20"'
        ctl service rm crash
}

@test "an agent whose disk is full starts again and keeps its containers" {
        host_add n9 10.77.0.29
        mkdir "$CLUSTER/n9"
        mount -t tmpfs -o size=64m swarm-test "$CLUSTER/n9"
        agent_start n9 --label first=yes
        wait_for 15 "n9 ready" node_is n9 ready
        ctl service create --quiet --name full --network none --constraint node.hostname==n9 web:1 /bin/main
        before=$(container_pids n9)
        [ -n "$before" ]
        daemon_stop n9 KILL
        dd if=/dev/zero of="$CLUSTER/n9/filler" bs=64k 2>/dev/null || true
        agent_start n9 --label second=yes # cannot be kept
        wait_for 15 "that it is known" eval 'ctl node ls --filter name=n9 --format "{{.Status}}" | grep -qx "Ready (disk full)"'
        ctl node inspect --pretty n9 | grep -q "its disk is full: it gets no new tasks"
        wait_for 15 "its task" service_running full 1
        [ "$before" = "$(container_pids n9)" ]
        kill -KILL $before # its end is told all the same
        wait_for 15 "a failed task" has_state full Failed
        wait_for 15 "why it waits" eval 'ctl service ps full --no-trunc | grep "disk full on 1 node"'
        # what others can take goes there
        image_make new:1 hello "while sleep 1; do :; done"
        ctl node update --label-add pair=yes n1
        ctl node update --label-add pair=yes n9
        ctl service create --detach --quiet --name new --network none --replicas 2 --restart-delay 100ms \
                --constraint node.labels.pair==yes new:1 /bin/main
        wait_for 30 "both" service_running new 2
        [ "$(ctl service ps new --format '{{.Node}}' | sort -u)" = n1 ]
        ctl service rm new
        rm "$CLUSTER/n9/filler"
        wait_for 30 "its task" service_running full 1
        ctl service rm full
        wait_for 15 "its end" eval '[ -z "$(container_pids n9)" ]'
        daemon_stop n9
        umount "$CLUSTER/n9"
        wait_for 15 "n9 down" node_is n9 down
        ctl node rm n9
}

@test "no container starts while the journal cannot be written; ends are told" {
        host_add n8 10.77.0.28
        mkdir -p "$CLUSTER/n8/agent" "$CLUSTER/n8-rest"
        mount -t tmpfs -o size=256k swarm-test "$CLUSTER/n8/agent" # the journal's own small disk
        for dir in runtime images volumes; do
                mkdir "$CLUSTER/n8/agent/$dir" "$CLUSTER/n8-rest/$dir"
                mount --bind "$CLUSTER/n8-rest/$dir" "$CLUSTER/n8/agent/$dir"
        done
        agent_start n8
        wait_for 15 "n8 ready" node_is n8 ready
        ctl service create --quiet --name early --network none --constraint node.hostname==n8 web:1 /bin/main
        before=$(container_pids n8)
        dd if=/dev/zero of="$CLUSTER/n8/agent/filler" bs=4k 2>/dev/null || true
        ctl service create --detach --quiet --name late --network none --constraint node.hostname==n8 web:1 /bin/main
        wait_for 20 "why it does not start" \
                eval 'ctl service ps late --no-trunc | grep "journal cannot be written: no space left on device"'
        [ "$before" = "$(container_pids n8)" ]
        node_is n8 ready
        kill -KILL $before
        wait_for 15 "a failed task" has_state early Failed
        rm "$CLUSTER/n8/agent/filler"
        wait_for 30 "both" eval 'service_running early 1 && service_running late 1'
        ctl service rm early late
        wait_for 15 "their end" eval '[ -z "$(container_pids n8)" ]'
        daemon_stop n8
        umount "$CLUSTER/n8/agent"/{runtime,images,volumes} "$CLUSTER/n8/agent"
        wait_for 15 "n8 down" node_is n8 down
        ctl node rm n8
}
