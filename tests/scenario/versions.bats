#!/usr/bin/env bats
# A cluster of two versions: that of OLD, and this one. Agents and managers are replaced one at a time
# under running containers and a client that writes; swarmctl of each version asks managers of each.
#
# The programs of OLD are built from the history, outside the tree and without optimizing. A tree
# that has no such history (an archive, a shallow clone) has nothing to compare with: all is skipped.
load lib

# The last commit before managers and agents told each other the versions that they understand.
OLD=7902559b59f4313b95e1655bc7e82d99bde8afba

build_old() {
        local tree=$1 cc=gcc
        mkdir "$tree" && git archive "$OLD" | tar -x -C "$tree" || return 1
        ! command -v ccache >/dev/null || cc="ccache gcc"
        env -u MAKEFLAGS -u MAKELEVEL make -s -j2 -C "$tree" BUILD=build CC="$cc" OPT=-O0 all >"$tree/log" 2>&1 ||
                { tail -n 20 "$tree/log" >&2; return 1; }
}

setup_file() {
        cd "$BATS_TEST_DIRNAME/../.." || return 1
        if ! git cat-file -e "$OLD^{commit}" 2>/dev/null; then
                export NOTHING="no commit $OLD here: not a clone, or a shallow one"
                return 0
        fi
        build_old "$BATS_FILE_TMPDIR/old" || return 1
        export NEW_BUILD=$BUILD OLD_BUILD=$BATS_FILE_TMPDIR/old/build
        echo "# $OLD against $(git describe --always --dirty)" >&3
        BUILD=$OLD_BUILD
        cluster_init
        export CLUSTER CLUSTER_TAG
        local i
        for i in 1 2 3; do host_add m$i 10.77.0.$i; done
        for i in 1 2; do host_add n$i 10.77.0.1$i; done
        manager_start m1 --hostname m1
        manager_join m2
        manager_join m3
        agent_start n1
        JOIN=m2 agent_start n2
        wait_for 20 "n1 ready" node_is n1 ready
        wait_for 20 "n2 ready" node_is n2 ready
        image_make web:1 one
        ctl service create --quiet --name web --replicas 4 --network none --stop-grace-period 1s web:1 /bin/main
        { container_pids n1; container_pids n2; } | sort >"$CLUSTER/pids.web"
        : >"$CLUSTER/acknowledged"
        writer >/dev/null 2>&1 3>&- 4>&- &
        echo $! >"$CLUSTER/pids/writer"
}

setup() { [ -z "${NOTHING:-}" ] || skip "$NOTHING"; }
teardown() { [ -n "$BATS_TEST_COMPLETED" ] || [ -n "${NOTHING:-}" ] || tail -n 20 "$CLUSTER"/log/*; }

# Creates services through any manager with either swarmctl, and keeps the acknowledged names.
writer() {
        local n=0 m build
        while [ -e "$CLUSTER" ]; do
                m=m$((n % 3 + 1))
                build=$OLD_BUILD
                [ $((n / 3 % 2)) = 0 ] || build=$NEW_BUILD
                n=$((n + 1))
                timeout 5 "$build/swarmctl" --host "ipc://$CLUSTER/$m/manager.sock" service create --detach --quiet \
                        --name "w-$n" --replicas 0 web:1 /bin/main && echo "w-$n" >>"$CLUSTER/acknowledged"
                sleep 0.05
        done
}

# All that was acknowledged until now is known to each manager, and writing goes on.
is_longer() { [ "$(wc -l <"$CLUSTER/acknowledged")" -ge "$1" ]; }
knows() { [ -z "$(ctl_of "$1" service ls --format '{{.Name}}' | sort | comm -13 - "$CLUSTER/then")" ]; }
nothing_is_lost() {
        local m
        sort "$CLUSTER/acknowledged" >"$CLUSTER/then"
        for m in m1 m2 m3; do wait_for 10 "all at $m" knows $m || return 1; done
        wait_for 20 "writes" is_longer $(($(wc -l <"$CLUSTER/acknowledged") + 5))
}

# No container of web was touched, and no task replaced.
web_is_untouched() {
        diff <({ container_pids n1; container_pids n2; } | sort) "$CLUSTER/pids.web" &&
                service_running web 4 && [ "$(ctl service ps web -q | wc -l)" = 4 ]
}

# with BUILD COMMAND...: with the programs of that version.
with() { local BUILD=$1; shift; "$@"; }

# Both versions of swarmctl read, change and remove things at a manager.
both_clients_work() {
        local b
        for b in "$OLD_BUILD" "$NEW_BUILD"; do
                with "$b" ctl_of "$1" info >/dev/null &&
                        with "$b" ctl_of "$1" version >/dev/null &&
                        with "$b" ctl_of "$1" service create --detach --quiet --name "of-$1" --replicas 1 --network none \
                                --constraint node.hostname==nowhere web:1 /bin/main &&
                        with "$b" ctl_of "$1" service scale --detach "of-$1=2" >/dev/null &&
                        with "$b" ctl_of "$1" service update --detach --quiet --env-add A=1 "of-$1" >/dev/null &&
                        with "$b" ctl_of "$1" service inspect "of-$1" | grep -q '"A=1"' &&
                        with "$b" ctl_of "$1" service rm "of-$1" >/dev/null || return 1
        done
}

agent_upgrade() {
        daemon_stop "$1"
        : >"$CLUSTER/log/$1"
        with "$NEW_BUILD" agent_start "$1"
        wait_for 15 "$1 again" grep -q "agent ready" "$CLUSTER/log/$1"
        wait_for 15 "$1 ready" node_is "$1" ready
}

manager_upgrade() {
        daemon_stop "$1"
        daemon_start "$1" "$1" "$NEW_BUILD/swarm-manager" --data-dir "$CLUSTER/$1"
        wait_for 15 "$1" ctl_of "$1" info
        wait_for 15 "$1 among the others" eval "manager_is $1 reachable || manager_is $1 leader"
}

@test "old managers: both clients" {
        both_clients_work m1
        both_clients_work m2
        nothing_is_lost
}

@test "old managers: an agent is upgraded under its containers" {
        agent_upgrade n1
        both_clients_work m1
        web_is_untouched
}

@test "managers are upgraded one after the other, the leader last" {
        leader=$(leader_name m1)
        for m in m1 m2 m3; do
                [ "$m" != "$leader" ] || continue
                CTL=$leader manager_upgrade "$m"
                both_clients_work "$m"
                nothing_is_lost
                web_is_untouched
        done
        for m in m1 m2 m3; do [ "$m" = "$leader" ] || CTL=$m; done
        manager_upgrade "$leader"
        nothing_is_lost
        web_is_untouched
        node_is n1 ready
        node_is n2 ready
}

@test "new managers: both clients, an old agent and its upgrade" {
        both_clients_work m1
        both_clients_work m3
        web_is_untouched
        agent_upgrade n2
        web_is_untouched
        nothing_is_lost
        ctl service scale web=6
        service_running web 6
}
