#!/usr/bin/env bats
# Images outlive the manager that took them: three managers, each with the bytes of all images.
load lib

setup_file() {
        local i
        cluster_init
        for i in 1 2 3; do host_add "m$i" "10.77.0.$i"; done
        host_add n1 10.77.0.11
        manager_start m1
        TOKEN=$(ctl swarm join-token -q manager)
        WORKER=$(ctl swarm join-token -q worker)
        export CLUSTER CLUSTER_TAG BUILD TOKEN WORKER
        join_manager m2
        join_manager m3
        wait_for 20 "three managers" managers_are 3
}

join_manager() {
        daemon_start "$1" "$1" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$1" --hostname "$1" \
                --advertise "$(host_address "$1")" --join 10.77.0.1:7377 --token "$TOKEN"
}
at() { local m=$1; shift; "$BUILD/swarmctl" --host "ipc://$CLUSTER/$m/manager.sock" "$@"; }
managers_are() { [ "$(ctl node ls --format '{{.ManagerStatus}}' | grep -cE 'Leader|Reachable')" = "$1" ]; }
blobs() { ls "$CLUSTER/$1/manager/blobs/sha256" | sort; }
has_all() { [ -n "$(blobs "$1")" ] && [ "$(blobs "$1")" = "$(blobs m1)" ]; }
has_none() { [ -z "$(blobs "$1")" ]; }
image_tar() {
        rm -rf "$CLUSTER/rootfs"
        mkdir -p "$CLUSTER/rootfs/bin" "$CLUSTER/rootfs/etc" "$CLUSTER/rootfs/tmp" "$CLUSTER/rootfs/proc" \
                "$CLUSTER/rootfs/sys" "$CLUSTER/rootfs/dev"
        cp "$(command -v busybox)" "$CLUSTER/rootfs/bin/sh"
        head -c 3000000 /dev/urandom >"$CLUSTER/rootfs/etc/pieces"
        tar -C "$CLUSTER/rootfs" -cf "$CLUSTER/rootfs.tar" .
}

@test "an image that is removed leaves every manager" {
        image_tar
        at m2 image import gone:1 "$CLUSTER/rootfs.tar"
        wait_for 20 "copies on m2" has_all m2
        wait_for 20 "copies on m3" has_all m3
        ctl image rm gone:1
        for m in m1 m2 m3; do wait_for 30 "no blobs on $m" has_none "$m"; done
}

@test "an image comes to a manager that was away" {
        daemon_stop m3 KILL
        image_tar
        at m2 image import tool:1 "$CLUSTER/rootfs.tar"
        has_all m2
        join_manager m3
        wait_for 30 "copies on m3" has_all m3
}

@test "the leader dies, and a new agent runs a service of the image" {
        daemon_stop m1 KILL
        wait_for 20 "a new leader" at m2 info
        daemon_start n1 n1 "$BUILD/swarm-agent" --data-dir "$CLUSTER/n1" --hostname n1 \
                --advertise 10.77.0.11 --shim "$BUILD/swarm-shim" --cgroup-parent "$CLUSTER_TAG-n1" \
                --join 10.77.0.2:7377 --token "$WORKER"
        at m2 service create --detach --quiet --name web --network none tool:1 /bin/sh -c 'sleep 1000'
        runs() { [ "$(at m3 service ps web --format '{{.CurrentState}}' | grep -c '^Running')" = 1 ]; }
        wait_for 40 "the service" runs || { at m2 service ps web --no-trunc; tail -n 20 "$CLUSTER"/log/*; false; }
}
