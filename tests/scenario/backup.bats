#!/usr/bin/env bats
# Managers that are lost for good: the one that is left goes on alone, and containers do not notice.
load lib

setup_file() {
        cluster_init
        export CLUSTER CLUSTER_TAG BUILD
        local i
        for i in 1 2 3 4; do host_add m$i 10.77.0.$i; done
        host_add n1 10.77.0.11
        manager_start m1 --hostname m1
        manager_join m2
        manager_join m3
        agent_start n1
        wait_for 20 "n1 ready" node_is n1 ready
        image_make tool:1 tool 'exec "$@"'
        ctl service create --quiet --name web --replicas 2 --network none --update-monitor 1s \
                --stop-grace-period 500ms tool:1 sleep 1000
}

# start_m1 [FLAG...]: m1 again, without an option about clusters.
start_m1() { daemon_start m1 m1 "$BUILD/swarm-manager" --data-dir "$CLUSTER/m1" --hostname m1 "$@"; }
managers() { ctl node ls --filter role=manager --format '{{.Hostname}}' | sort | tr '\n' ' '; }
has_one_manager() { [ "$(managers)" = "m1 " ]; }

@test "two of three managers are lost: the third refuses and says what to do" {
        container_pids n1 | sort >"$CLUSTER/before"
        [ "$(wc -l <"$CLUSTER/before")" = 2 ]
        daemon_stop m2 KILL
        daemon_stop m3 KILL
        expect_fail 3 "--force-new-cluster" ctl --timeout 15s service scale --detach web=3
}

@test "a start with --force-new-cluster that dies on the way is finished by the next one without it" {
        daemon_stop m1
        # its address is in use: it ends once it stands alone, and before it leads
        daemon_start holder m1 "$BUILD/swarm-manager" --data-dir "$CLUSTER/holder" --advertise 10.77.0.1 --init
        wait_for 10 "the address in use" ctl_of holder info
        run timeout 20 nsenter --net="/run/netns/$CLUSTER_TAG-m1" "$BUILD/swarm-manager" --data-dir "$CLUSTER/m1" \
                --force-new-cluster 3>&-
        daemon_stop holder
        echo "$output"
        [ "$status" = 1 ]
        [[ "$output" = *"in use"* ]]
        start_m1
        wait_for 20 "m1" ctl info
        has_one_manager
        [ "$(ctl info --format '{{.Swarm.Managers}}')" = 1 ]
}

@test "it works alone: tasks untouched, and new managers join" {
        wait_for 20 "n1 ready" node_is n1 ready
        service_running web 2
        [ "$(ctl service ps web -q | wc -l)" = 2 ]
        [ "$(container_pids n1 | sort)" = "$(cat "$CLUSTER/before")" ]
        daemon_stop m1
        start_m1
        wait_for 20 "m1" ctl info
        has_one_manager
        manager_join m4
        [ "$(managers)" = "m1 m4 " ]
        ctl_of m4 service scale --quiet web=3
        service_running web 3
}
