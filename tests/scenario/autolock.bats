#!/usr/bin/env bats
# Autolock: with it nothing that is secret lies open on a manager's disk, and a manager that starts
# waits for the key.
load lib

setup_file() {
        cluster_init
        export CLUSTER CLUSTER_TAG BUILD
        local i
        for i in 1 2; do host_add m$i 10.77.0.$i; done
        host_add n1 10.77.0.11
        manager_start m1 --hostname m1
        manager_join m2
        agent_start n1
        wait_for 20 "n1 ready" node_is n1 ready
        image_make tool:1 tool 'exec "$@"'
        ctl service create --quiet --name web --replicas 2 --network none --update-monitor 1s \
                --stop-grace-period 500ms tool:1 sleep 1000
}

# secrets_in DIR: which of the secrets that were kept below $CLUSTER/secrets are in its files.
secrets_in() {
        local f
        for f in "$CLUSTER"/secrets/*; do
                LC_ALL=C grep -rqaP "$(od -An -v -tx1 "$f" | tr -d ' \n' | sed 's/../\\x&/g')" "$1" && echo "${f##*/}"
        done
        return 0
}
keep() { mkdir -p "$CLUSTER/secrets" && cat >"$CLUSTER/secrets/$1"; }
is_sealed() { [ -z "$(secrets_in "$CLUSTER/$1")" ]; }

# restart NAME: a manager that was set up by hand, killed, and without a word about clusters.
restart() { daemon_stop "$1" KILL && start "$1"; }
start() {
        daemon_start "$1" "$1" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$1" --hostname "$1"
        wait_for 10 "$1 locked" is_locked "$1"
}
is_locked() { ctl_of "$1" info 2>&1 | grep -q "manager is locked: run swarmctl swarm unlock"; }
unlock() { ctl_of "$1" swarm unlock <<<"$2"; }
works() { wait_for 15 "$1 works" ctl_of "$1" info; }
# a locked manager has no door to the network
listens() { host_run "$1" ss -Htnl "sport = :7377" | grep -q .; }

@test "autolock: the key is shown, and every manager seals what it has" {
        ctl swarm join-token -q worker | sed 's/.*-//' | tr -d '\n' | keep worker-secret
        ctl swarm join-token -q manager | sed 's/.*-//' | tr -d '\n' | keep manager-secret
        keep cluster-key <"$CLUSTER/m1/manager/cluster.key" # whose first start it is
        for n in m1 m2 n1; do keep "node-key-$n" <"$CLUSTER/$n/node.key"; done
        wait_for 5 "the state on the disk" eval '[ $(secrets_in "$CLUSTER/m1" | wc -l) = 4 ]'
        expect_fail 1 "no unlock key is set" ctl swarm unlock-key
        [ "$(ctl info --format '{{.Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}')" = false ]

        out=$(ctl swarm update --autolock)
        key=$(grep -o 'SWMKEY-1-[A-Za-z0-9+/]*$' <<<"$out")
        [ "$(ctl_of m2 swarm unlock-key -q)" = "$key" ]
        echo "$key" >"$CLUSTER/key"
        [ "$(ctl info --format '{{.Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}')" = true ]
        echo -n "$key" | keep unlock-key
        ctl node promote n1 >/dev/null # one that joins is told
        wait_for 20 "the manager of n1" manager_is n1 reachable
        for n in m1 m2 n1; do
                wait_for 10 "$n sealed" is_sealed "$n"
        done
        # what is written from now on as well
        ctl service scale --quiet web=1
        sleep 1.5
        is_sealed m1
        service_running web 1
}

@test "a locked manager takes the right key, and nothing else" {
        key=$(cat "$CLUSTER/key")
        restart m2
        is_sealed m2
        grep -q "manager is locked: run swarmctl swarm unlock" "$CLUSTER/log/m2"
        run ! listens m2
        for c in "service ls" "swarm join-token worker" "swarm unlock-key" "node ls" "swarm update --autolock=false"; do
                expect_fail 1 "manager is locked: run swarmctl swarm unlock" ctl_of m2 $c
        done
        expect_fail 1 "the key is wrong" unlock m2 "SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        expect_fail 1 "does not begin with SWMKEY-1-" unlock m2 "secret"
        expect_fail 1 "no key was given" unlock m2 ""
        is_locked m2
        unlock m2 "$key"
        works m2
        wait_for 10 "m2 follows" manager_is m2 reachable
        expect_fail 1 "manager is not locked" unlock m2 "$key"
        wait_for 10 "m2 sealed" is_sealed m2
}

@test "the key is rotated while a manager is away: that one opens with the old key, and then has the new one" {
        old=$(cat "$CLUSTER/key")
        daemon_stop m2 KILL
        new=$(ctl swarm unlock-key --rotate -q)
        [ "$new" != "$old" ]
        echo "$new" >"$CLUSTER/key"
        cp "$CLUSTER/m2/manager/data.key" "$CLUSTER/before"
        sealed_anew() { ! cmp -s "$CLUSTER/m2/manager/data.key" "$CLUSTER/before"; }
        start m2
        expect_fail 1 "the key is wrong" unlock m2 "$new"
        unlock m2 "$old"
        works m2
        wait_for 10 "m2 sealed anew" sealed_anew
        restart m2
        expect_fail 1 "the key is wrong" unlock m2 "$old"
        unlock m2 "$new"
        works m2
}

@test "a node whose manager its agent has started: both wait for the key, containers do not" {
        before=$(container_pids n1)
        [ -n "$before" ]
        manager=$(host_run n1 pgrep -f "^$BUILD/swarm-manager --data-dir $CLUSTER/n1\$")
        daemon_stop n1 KILL
        kill -KILL "$manager"
        wait_for 10 "end of it" process_is_gone "$manager"
        agent_start n1
        wait_for 10 "n1 locked" is_locked n1
        grep -q "the node's key is sealed" "$CLUSTER/log/n1"
        unlock n1 "$(cat "$CLUSTER/key")"
        works n1
        wait_for 20 "n1 ready" node_is n1 ready
        wait_for 10 "n1 reachable" manager_is n1 reachable
        [ "$(container_pids n1)" = "$before" ]
}

@test "all managers at once" {
        key=$(cat "$CLUSTER/key")
        daemon_stop m1 KILL
        daemon_stop m2 KILL
        manager=$(host_run n1 pgrep -f "^$BUILD/swarm-manager --data-dir $CLUSTER/n1\$")
        kill -KILL "$manager"
        start m1
        start m2
        wait_for 10 "n1 locked" is_locked n1
        for n in m1 m2 n1; do is_sealed $n; unlock $n "$key"; done
        wait_for 20 "m1 works" ctl info
        service_running web 1
        ctl service scale --quiet web=2
}

@test "a backup has nothing in plain, and asks for the key as well" {
        key=$(cat "$CLUSTER/key")
        mkdir "$CLUSTER/backup"
        ctl backup "$CLUSTER/backup/file" >/dev/null
        [ -z "$(secrets_in "$CLUSTER/backup")" ]
        host_add r1 10.77.0.3
        daemon_start r1 r1 "$BUILD/swarm-manager" --data-dir "$CLUSTER/r1" --hostname r1 --advertise 10.77.0.3 \
                --restore "$CLUSTER/backup/file"
        wait_for 10 "r1 locked" is_locked r1
        expect_fail 1 "the key is wrong" unlock r1 "SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        unlock r1 "$key"
        works r1
        [ "$(ctl_of r1 swarm unlock-key -q)" = "$key" ]
        ctl_of r1 service ls --format '{{.Name}}' | grep -qx web
        wait_for 10 "r1 sealed" is_sealed r1
        [ "$(stat -c %s "$CLUSTER/r1/node.key")" -gt 32 ]
        daemon_stop r1
}

@test "a manager that becomes a worker has its key back; without autolock all have" {
        ctl node demote n1 >/dev/null
        wait_for 20 "no manager on n1" eval '[ ! -e "$CLUSTER/n1/manager" ]'
        [ "$(stat -c %s "$CLUSTER/n1/node.key")" = 32 ]
        cmp "$CLUSTER/n1/node.key" "$CLUSTER/secrets/node-key-n1"
        ctl swarm update --autolock=false
        for n in m1 m2; do wait_for 10 "$n opened" eval '[ ! -e "$CLUSTER/$n/manager/data.key" ]'; done
        daemon_stop m2
        daemon_start m2 m2 "$BUILD/swarm-manager" --data-dir "$CLUSTER/m2" --hostname m2
        works m2
        expect_fail 1 "no unlock key is set" ctl swarm unlock-key
        service_running web 2
}
