# A cluster of this machine's own: each node is a network namespace on a bridge that is in a namespace
# as well, so that nothing of the host's network is touched. Used by the demo, the scenario tests and
# the benches: source it, then call cluster_*. All state is below $CLUSTER; cluster_down removes it,
# and every process, namespace, mount and cgroup that the cluster made.
#
#   CLUSTER   folder of the cluster, made by cluster_init
#   BUILD     where the programs are

BUILD=$(cd "${BUILD:-build}" && pwd) || return 1

# cluster_init: makes the folder and the bridge. Names carry the shell's pid: clusters do not meet.
cluster_init() {
        CLUSTER=$(mktemp -d /tmp/swarm-cluster.XXXXXX)
        CLUSTER_TAG=sw$$
        mkdir "$CLUSTER/pids" "$CLUSTER/log"
        ip netns add "$CLUSTER_TAG-net"
        ip -n "$CLUSTER_TAG-net" link add br0 type bridge
        ip -n "$CLUSTER_TAG-net" link set br0 up
}

# host_add NAME ADDRESS: a machine on the bridge.
host_add() {
        local ns=$CLUSTER_TAG-$1
        ip netns add "$ns"
        ip -n "$CLUSTER_TAG-net" link add "p-$1" type veth peer name eth0 netns "$ns"
        ip -n "$CLUSTER_TAG-net" link set "p-$1" master br0 up
        ip -n "$ns" link set lo up
        ip -n "$ns" addr add "$2/24" dev eth0
        ip -n "$ns" link set eth0 up
        echo "$2" >"$CLUSTER/address.$1"
}

host_address() { cat "$CLUSTER/address.$1"; }
host_cut() { ip -n "$CLUSTER_TAG-net" link set "p-$1" down; }
host_heal() { ip -n "$CLUSTER_TAG-net" link set "p-$1" up; }
host_run() {
        local ns=$CLUSTER_TAG-$1
        shift
        ip netns exec "$ns" "$@"
}

# daemon_start NAME HOST COMMAND...: in the background, log in $CLUSTER/log/NAME, pid in pids/NAME.
daemon_start() {
        local name=$1 host=$2
        shift 2
        nsenter --net="/run/netns/$CLUSTER_TAG-$host" -- setsid "$@" >>"$CLUSTER/log/$name" 2>&1 \
                </dev/null 3>&- 4>&- &
        echo $! >"$CLUSTER/pids/$name"
        disown
}

daemon_pid() { cat "$CLUSTER/pids/$1"; }
daemon_is_alive() { kill -0 "$(daemon_pid "$1")" 2>/dev/null; }

# daemon_stop NAME [SIGNAL]: ends it and waits until it is gone.
daemon_stop() {
        local pid
        pid=$(daemon_pid "$1") || return 0
        kill "-${2:-TERM}" "$pid" 2>/dev/null
        wait_for 15 "end of $1" process_is_gone "$pid"
        rm -f "$CLUSTER/pids/$1"
}
process_is_gone() { ! kill -0 "$1" 2>/dev/null; }

# wait_for SECONDS WHAT COMMAND...: until the command is true; else says what did not come.
wait_for() {
        local end=$((SECONDS + $1)) what=$2
        shift 2
        until "$@" >/dev/null 2>&1; do
                if [ "$SECONDS" -ge "$end" ]; then
                        echo "waited in vain for: $what" >&2
                        return 1
                fi
                sleep 0.05
        done
}

# manager_start NAME [FLAG...]: on the host of that name, with the data-dir $CLUSTER/NAME.
manager_start() {
        local name=$1
        shift
        daemon_start "$name" "$name" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$name" \
                --advertise "$(host_address "$name")" --init "$@"
        wait_for 15 "manager $name" ctl_of "$name" info
}

# manager_join NAME [FLAG...]: likewise, into the cluster that ctl speaks to. Returns once it votes.
manager_join() {
        local name=$1 join=()
        shift
        [ -e "$CLUSTER/$name/manager/swarm.db" ] || join=(--join "$(host_address "${JOIN:-m1}"):7377" \
                --token "$(ctl swarm join-token -q manager)")
        daemon_start "$name" "$name" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$name" --hostname "$name" \
                --advertise "$(host_address "$name")" "${join[@]}" "$@"
        wait_for 15 "manager $name" manager_is "$name" reachable && wait_for 15 "manager $name" ctl_of "$name" info
}

# agent_start NAME [FLAG...]: likewise. A node that has joined needs no token.
agent_start() {
        local name=$1 join=()
        shift
        [ -e "$CLUSTER/$name/node.key" ] || join=(--token "$(ctl swarm join-token -q worker)")
        daemon_start "$name" "$name" "$BUILD/swarm-agent" --data-dir "$CLUSTER/$name" \
                --hostname "$name" --advertise "$(host_address "$name")" \
                --shim "$BUILD/swarm-shim" --cgroup-parent "$CLUSTER_TAG-$name" \
                --join "$(host_address "${JOIN:-m1}"):7377" "${join[@]}" "$@"
}

# ctl_of MANAGER ...: swarmctl on its machine; ctl ...: on that of the manager CTL (m1).
ctl_of() {
        local name=$1
        shift
        "$BUILD/swarmctl" --host "ipc://$CLUSTER/$name/manager.sock" "$@"
}
ctl() { ctl_of "${CTL:-m1}" "$@"; }

# node_is NAME STATUS: what `node ls` says of it.
node_is() { [ "$(ctl node ls --format '{{.Hostname}} {{.Status}}' | grep -ci "^$1 $2\$")" = 1 ]; }

# manager_is NAME STATUS: likewise; "none": it is no manager.
manager_is() {
        [ "$(ctl node ls --format '{{.Hostname}} {{.ManagerStatus}}' | sed 's/ $/ none/' | grep -ci "^$1 $2\$")" = 1 ]
}

# leader_name [MANAGER]: hostname of the leader, as that manager says; nothing: none, or more than one.
leader_name() {
        ctl_of "${1:-${CTL:-m1}}" node ls --format '{{.ManagerStatus}} {{.Hostname}}' 2>/dev/null |
                awk '$1 == "Leader" { n++; name = $2 } END { if (n == 1) print name }'
}

# cluster_up N [AGENT FLAG...]: a manager m1 and agents n1..nN, all ready.
cluster_up() {
        local n=$1 i
        shift
        cluster_init
        host_add m1 10.77.0.1
        manager_start m1 || return 1
        for i in $(seq "$n"); do
                host_add "n$i" "10.77.0.$((10 + i))"
                agent_start "n$i" "$@"
        done
        for i in $(seq "$n"); do
                wait_for 20 "node n$i ready" node_is "n$i" ready || return 1
        done
}

# service_running NAME N: exactly N of its tasks run and should.
service_running() {
        [ "$(ctl service ps "$1" --filter desired-state=running --format '{{.CurrentState}}' |
                grep -c '^Running')" = "$2" ]
}

# image_make NAME:TAG CONTENT [SCRIPT]: busybox with an index page, imported. /bin/main in it is the
# script; without one it serves the page on port 8080.
image_make() {
        local root=$CLUSTER/rootfs
        rm -rf "$root"
        mkdir -p "$root"/bin "$root"/www "$root"/tmp "$root"/etc "$root"/proc "$root"/sys "$root"/dev
        cp "$(command -v busybox)" "$root/bin/busybox"
        local a
        for a in $("$root/bin/busybox" --list); do
                [ "$a" = busybox ] || ln -sf busybox "$root/bin/$a"
        done
        echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
        echo root:x:0: >"$root/etc/group"
        echo "$2" >"$root/www/index.html"
        printf '#!/bin/sh\n%s\n' "${3:-echo serving: $2; exec httpd -f -p 8080 -h /www}" >"$root/bin/main"
        chmod 755 "$root/bin/main"
        tar -C "$root" -cf "$CLUSTER/rootfs.tar" . && ctl image import "$1" "$CLUSTER/rootfs.tar"
}

# First pid of the containers of an agent that run, one a line.
container_pids() {
        local f pid
        for f in "$CLUSTER/$1/agent/runtime/c"/*/state; do
                [ -f "$f" ] || continue
                pid=$(awk '{ print $3 }' "$f" 2>/dev/null)
                [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo "$pid"
        done
        return 0
}

# cluster_down: ends daemons and containers, and takes away all that was made. Safe at any time.
cluster_down() {
        [ -n "${CLUSTER:-}" ] || return 0
        local f
        for f in "$CLUSTER"/pids/*; do
                [ -f "$f" ] && kill -KILL "$(cat "$f")" 2>/dev/null
        done
        cluster_kill_containers
        for f in "$CLUSTER"/address.*; do
                [ -f "$f" ] && ip netns del "$CLUSTER_TAG-${f##*address.}"
        done
        ip netns del "$CLUSTER_TAG-net"
        awk -v at="$CLUSTER/" 'index($5, at) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
                while read -r f; do umount -l "$f"; done
        rm -rf "$CLUSTER"
        CLUSTER=
}

# The processes of the cluster that have no daemon any more: containers are found by their cgroups,
# supervisors by the network namespace that they have from their agent.
cluster_processes() {
        local f
        find /sys/fs/cgroup -path "*/$CLUSTER_TAG-*" -name cgroup.procs -exec cat {} + 2>/dev/null
        for f in "$CLUSTER"/address.*; do
                ip netns pids "$CLUSTER_TAG-${f##*address.}" 2>/dev/null
        done
}

# Containers and supervisors outlive their agent on purpose; here they end, and their cgroups with them.
cluster_kill_containers() {
        local pid round
        for round in $(seq 50); do
                local pids
                pids=$(cluster_processes | sort -u)
                [ -z "$pids" ] && break
                for pid in $pids; do
                        kill -KILL "$pid" 2>/dev/null
                done
                sleep 0.1
        done
        find /sys/fs/cgroup -depth -type d -path "*/$CLUSTER_TAG-*" -exec rmdir {} + 2>/dev/null
        return 0
}
