#!/usr/bin/env bats
# Managers that are lost for good: the one that is left goes on alone, or a new one with a backup, and
# containers do not notice. Backups are whole, whatever happens meanwhile.
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

manager_row_is() { ctl manager ls --format '{{.Hostname}} {{.Status}} {{.Role}}' | grep -qx "$1"; }
follower() { for m in m1 m2 m3; do [ "$m" = "$(leader_name)" ] || { echo "$m"; return; }; done; }
# no_parts FILE: nothing of it is left but the file itself.
no_parts() { [ "$(find "$CLUSTER" -maxdepth 2 -path "$1.*")" = "" ]; }
start_again() { daemon_start "$1" "$1" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$1" --hostname "$1"; }
three_are_reachable() { [ "$(ctl manager ls --format '{{.Status}} {{.Role}}' | grep -cx "Ready Voter")" = 3 ]; }
knows_no_leader() { ! ctl_of "$1" --timeout 1s info; }
first_piece_is_there() { [ -s "$(find "$CLUSTER" -name 'large.part-*')" ]; }

@test "a backup through a follower: whole, for its owner only, and not in the place of another file" {
        local file=$CLUSTER/backup
        ctl_of "$(follower)" backup "$file" | grep -q "^$file: .*iB. It holds the cluster's secret key"
        [ "$(stat -c %a "$file")" = 600 ]
        [ "$(head -c 15 "$file")" = "SQLite format 3" ]
        cp "$file" "$CLUSTER/earlier"
        ctl service create --quiet --name more --replicas 0 --network none tool:1 true
        expect_fail 1 "$file: is there already (see --force)" ctl backup "$file"
        cmp "$file" "$CLUSTER/earlier"
        ctl backup --force "$file"
        cmp "$file" "$CLUSTER/earlier" && return 1
        no_parts "$file"
}

@test "a backup that cannot be written leaves nothing" {
        mkdir "$CLUSTER/small"
        mount -t tmpfs -o size=16k tmpfs "$CLUSTER/small"
        expect_fail 1 "no space left" ctl backup "$CLUSTER/small/b"
        [ -z "$(ls -A "$CLUSTER/small")" ]
        umount "$CLUSTER/small"
        expect_fail 1 "$CLUSTER/none/b: no such file" ctl backup "$CLUSTER/none/b"
        expect_fail 1 "$CLUSTER/small: is a folder" ctl backup --force "$CLUSTER/small"
        no_parts "$CLUSTER/small"
}

@test "a backup that is asked for while the leader changes is made by the next one" {
        local old m
        old=$(leader_name)
        m=$(follower)
        kill -STOP "$(daemon_pid "$old")"
        ctl_of "$m" backup "$CLUSTER/late" || { kill -CONT "$(daemon_pid "$old")"; return 1; }
        [ "$(leader_name "$m")" != "$old" ]
        kill -CONT "$(daemon_pid "$old")"
        no_parts "$CLUSTER/late"
        wait_for 20 "all three" three_are_reachable
}

@test "the leader is lost in the middle of a backup: it is begun anew, and is whole" {
        local old m pid i
        for i in $(seq 30); do echo "E$i=$(head -c 24000 /dev/urandom | base64 -w 0)"; done >"$CLUSTER/env"
        for i in $(seq 10); do
                ctl service create --quiet --name "large$i" --replicas 0 --network none --env-file "$CLUSTER/env" tool:1 true
        done
        old=$(leader_name)
        m=$(follower)
        for i in $(seq 20); do # until it is met before its end
                ctl_of "$m" backup --force "$CLUSTER/large" >"$CLUSTER/said" 2>&1 3>&- &
                pid=$!
                wait_for 10 "the first piece" first_piece_is_there || true
                kill -STOP "$pid"
                first_piece_is_there && break
                kill -CONT "$pid"
                wait "$pid"
        done
        first_piece_is_there
        daemon_stop "$old" KILL
        kill -CONT "$pid"
        wait "$pid" || { cat "$CLUSTER/said"; return 1; }
        no_parts "$CLUSTER/large"
        start_again "$old"
        wait_for 20 "all three" three_are_reachable
        daemon_start try m4 "$BUILD/swarm-manager" --data-dir "$CLUSTER/try" --advertise 10.77.0.4 --restore "$CLUSTER/large"
        wait_for 20 "a manager that begins with it" ctl_of try info
        [ "$(ctl_of try service ls --format '{{.Name}}' | wc -l)" = 12 ]
        [ "$(ctl_of try service ls --format '{{.Name}}')" = "$(ctl service ls --format '{{.Name}}')" ]
        [ "$(ctl_of try service inspect large7)" = "$(ctl service inspect large7)" ]
        daemon_stop try
}

@test "a backup that is interrupted leaves nothing; without a leader it says so" {
        local m old=() pid
        m=$(leader_name)
        for i in m1 m2 m3; do
                [ "$i" = "$m" ] || { old+=("$i"); daemon_stop "$i" KILL; }
        done
        wait_for 10 "no leader" knows_no_leader "$m"
        expect_fail 3 "the cluster has no leader" ctl_of "$m" backup "$CLUSTER/never"
        expect_fail 3 "the cluster has no leader" ctl_of "$m" --timeout 3s service ls
        no_parts "$CLUSTER/never"
        "$BUILD/swarmctl" --host "ipc://$CLUSTER/$m/manager.sock" backup "$CLUSTER/never" 3>&- &
        pid=$!
        wait_for 10 "its file" eval '[ -e "$CLUSTER"/never.part-* ]'
        kill -TERM "$pid"
        wait "$pid" || [ $? = 130 ]
        no_parts "$CLUSTER/never"
        [ ! -e "$CLUSTER/never" ]
        for i in "${old[@]}"; do start_again "$i"; done
        wait_for 20 "all three" three_are_reachable
        for i in $(seq 10); do ctl service rm "large$i"; done
}

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

# restore FILE [HOST]: a manager that is to begin with it, in a folder that is not there.
restore() {
        timeout 20 nsenter --net="/run/netns/$CLUSTER_TAG-${2:-m2}" "$BUILD/swarm-manager" --data-dir "$CLUSTER/fresh" \
                --advertise "$(host_address "${2:-m2}")" --restore "$1" 3>&-
}

@test "what is no backup is refused in one line, and nothing is left" {
        ctl backup "$CLUSTER/final"
        head -c 100000 /dev/urandom >"$CLUSTER/garbage"
        head -c 20000 "$CLUSTER/final" >"$CLUSTER/short"
        cp "$CLUSTER/final" "$CLUSTER/newer"
        printf '\0\0\0\143' | dd of="$CLUSTER/newer" bs=1 seek=60 conv=notrunc status=none # user_version
        expect_fail 1 "--restore: $CLUSTER/none: no such file" restore "$CLUSTER/none"
        expect_fail 1 "--restore: $CLUSTER/small: is a directory" restore "$CLUSTER/small"
        expect_fail 1 "--restore: $CLUSTER/garbage: no backup of a cluster" restore "$CLUSTER/garbage"
        expect_fail 1 "--restore: /dev/null: no backup of a cluster" restore /dev/null
        expect_fail 1 "--restore: $CLUSTER/short: a damaged backup" restore "$CLUSTER/short"
        expect_fail 1 "--restore: $CLUSTER/newer: a backup of a newer version" restore "$CLUSTER/newer"
        expect_fail 1 "a manager's own database, not a backup of it" restore "$CLUSTER/m1/manager/swarm.db"
        [ ! -e "$CLUSTER/fresh" ]
}

@test "all managers are lost: a new one begins with the backup, agents come back, containers are not touched" {
        container_pids n1 | sort >"$CLUSTER/before"
        [ "$(wc -l <"$CLUSTER/before")" = 3 ]
        rows=$(ctl service ps web -q | wc -l)
        cluster=$(ctl info --format '{{.Swarm.Cluster.ID}}')
        daemon_stop m1 KILL
        daemon_stop m4 KILL
        mv "$CLUSTER/m1" "$CLUSTER/lost"
        # One that died on the way, and another that got no further than its address:
        mkdir -p "$CLUSTER/m1/manager/restoring"
        echo half >"$CLUSTER/m1/manager/restoring/swarm.db"
        start_m1 --advertise 10.77.0.1 --restore "$CLUSTER/final"
        wait_for 20 "m1" ctl info
        [ ! -e "$CLUSTER/m1/manager/restoring" ]
        [ "$(ctl info --format '{{.Swarm.Cluster.ID}}')" = "$cluster" ]
        [ "$(ctl manager ls --format '{{.Hostname}} {{.Address}} {{.ManagerStatus}}')" = "m1 10.77.0.1:7377 Leader" ]
        wait_for 30 "n1 ready" node_is n1 ready
        service_running web 3
        [ "$(container_pids n1 | sort)" = "$(cat "$CLUSTER/before")" ]
        [ "$(ctl service ps web -q | wc -l)" = "$rows" ]
        expect_fail 1 "holds a cluster: start without --restore" env CLUSTER="$CLUSTER" timeout 20 \
                "$BUILD/swarm-manager" --data-dir "$CLUSTER/lost" --advertise 127.0.0.1:7399 --restore "$CLUSTER/final"
}

@test "after a restore images come again, other managers join, and it can be restarted" {
        [ -n "$(ctl image ls -q)" ]
        ctl image ls --format '{{.Size}}' | grep -q ' (missing)$'
        image_make tool:1 tool 'exec "$@"'
        [[ "$(ctl image ls tool:1 --format '{{.Size}}')" != *missing* ]]
        rm -rf "$CLUSTER/m2"
        manager_join m2
        daemon_stop m1
        start_m1
        wait_for 20 "m1" manager_row_is "m1 Ready Voter"
        wait_for 20 "m2" manager_row_is "m2 Ready Voter"
        ctl_of m2 service scale --quiet web=4
        service_running web 4
        [ "$(container_pids n1 | sort | comm -12 - "$CLUSTER/before" | wc -l)" = 3 ]
}
