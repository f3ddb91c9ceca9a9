#!/usr/bin/env bats
# A service is created, scaled, listed, inspected and removed; its containers are what was asked for.
load lib

setup_file() {
        cluster_for_file 3
        image_make web:1 one
        image_make tool:1 tool 'exec "$@"'
}

@test "a service of three replicas runs on three nodes" {
        ctl service create --quiet --name web --replicas 3 --network none web:1 /bin/main
        service_running web 3
        [ "$(ctl service ps web --format '{{.Node}}' | sort -u | wc -l)" = 3 ]
        [ "$(ctl service ls --format '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}')" = "web replicated 3/3 web:1" ]
}

@test "it is scaled up and down, evenly" {
        ctl service scale web=9
        service_running web 9
        for n in n1 n2 n3; do
                [ "$(ctl node ps "$n" --filter desired-state=running --format '{{.Name}}' | wc -l)" = 3 ]
        done
        ctl service scale web=2
        wait_for 10 "two" service_running web 2
        ctl service scale web=0
        wait_for 10 "none" service_running web 0
}

@test "a removed service leaves nothing behind" {
        ctl service rm web
        [ -z "$(ctl service ls -q)" ]
        for n in n1 n2 n3; do
                wait_for 15 "no container folder on $n" eval '[ -z "$(ls "$CLUSTER/$n/agent/runtime/c" 2>/dev/null)" ]'
        done
        expect_fail 1 "web" ctl service inspect web
}

@test "a global service has one task a node" {
        ctl service create --quiet --name all --mode global --network none web:1 /bin/main
        [ "$(ctl service ps all --filter desired-state=running --format '{{.Node}}' | sort | tr '\n' ' ')" = "n1 n2 n3 " ]
        ctl service rm all
}

@test "env, hostname, user, workdir, arguments and templates reach the container" {
        run_once env 'echo "$A|$B|$(hostname)|$(id -u):$(id -g)|$PWD|$T"' --env A=1 --env B='x y' \
                --hostname 'h-{{.Task.Slot}}' --user 1000:1001 --workdir /tmp \
                --env 'T={{.Service.Name}}.{{.Task.Slot}}@{{.Node.Hostname}}'
        wait_for 10 "its end" has_state env Complete
        node=$(ctl service ps env --format '{{.Node}}' | head -n 1)
        logs_have env "1|x y|h-1|1000:1001|/tmp|env.1@$node"
        ctl service rm env
}

@test "limits are in force" {
        run_once mem 'a=x; while true; do a=$a$a; done' --limit-memory 16M
        wait_for 20 "its end" has_state mem Failed
        ctl service ps mem --no-trunc --format '{{.Error}}' | grep -qi memory
        run_once pids 'for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait; echo done' --limit-pids 4
        wait_for 20 "its end" has_state pids Failed
        ctl service rm mem pids
}

@test "mounts: tmpfs, bind, volume; read-only root" {
        mkdir -p "$CLUSTER/bound"
        echo from-host >"$CLUSTER/bound/f"
        run_once mounts 'cat /b/f; touch /t/x && echo tmpfs-ok; touch /v/y && echo volume-ok; touch /z || echo root-ro; touch /b/g || echo bind-ro' \
                --mount "type=bind,source=$CLUSTER/bound,target=/b,readonly" --mount type=tmpfs,target=/t \
                --mount type=volume,source=data,target=/v --read-only
        wait_for 10 "its end" has_state mounts Complete
        for line in from-host tmpfs-ok volume-ok root-ro bind-ro; do
                logs_have mounts "$line" || { echo "missing: $line"; ctl service logs --raw mounts; return 1; }
        done
        [ ! -e "$CLUSTER/bound/g" ]
        ctl service rm mounts
}

@test "isolation is on: capabilities, seccomp, no_new_privs, masked paths, own pids" {
        run_once iso 'grep -E "^(CapEff|CapInh|Seccomp|NoNewPrivs):" /proc/self/status; set -- /proc/[0-9]*; echo "pids $*"; [ -c /proc/timer_list ] && echo masked; set -- /proc/self/fd/*; echo "fds $#"; mount -t tmpfs x /tmp || echo no-mount'
        wait_for 10 "its end" has_state iso Complete
        out=$(ctl service logs --raw iso)
        grep -q "^CapEff:.*00000000a80425fb" <<<"$out"
        grep -q "^CapInh:.*0000000000000000" <<<"$out"
        grep -q "^Seccomp:.*2" <<<"$out"
        grep -q "^NoNewPrivs:.*1" <<<"$out"
        grep -qx "pids /proc/1" <<<"$out"
        grep -qx "masked" <<<"$out"
        grep -qx "fds 4" <<<"$out" # the three, and the folder that lists them
        grep -qx "no-mount" <<<"$out"
        ctl service rm iso
}

@test "constraints and reservations decide where tasks go, and say why they wait" {
        ctl node update --label-add disk=ssd n2
        ctl service create --quiet --name pinned --replicas 2 --network none --constraint node.labels.disk==ssd web:1 /bin/main
        [ "$(ctl service ps pinned --format '{{.Node}}' | sort -u)" = n2 ]
        ctl service create --detach --quiet --name big --network none --reserve-memory 1T web:1 /bin/main
        wait_for 5 "the reason" ctl_error_is big "insufficient resources on 3 nodes"
        ctl service rm pinned big
}
ctl_error_is() { ctl service ps "$1" --no-trunc --format '{{.Error}}' | grep -qF "$2"; }

@test "exit codes: a failing task, a missing command" {
        run_once seven 'exit 7'
        wait_for 10 "its end" has_state seven Failed
        ctl service ps seven --no-trunc --format '{{.Error}}' | grep -q "non-zero exit (7)"
        ctl service create --detach --quiet --name nocmd --restart-condition none --network none tool:1 /bin/none
        wait_for 10 "its end" has_state nocmd Failed
        ctl service ps nocmd --no-trunc --format '{{.Error}}' | grep -q "no such file"
        ctl service rm seven nocmd
}

@test "an update that names no image keeps the one it has" {
        id() { ctl service inspect pinned --format '{{.Spec.TaskTemplate.ContainerSpec.ImageID}}'; }
        image_make pin:1 one
        ctl service create --quiet --name pinned --network none pin:1 /bin/main
        first=$(id)
        [ "${first#sha256:}" != "$first" ]
        image_make pin:1 two
        ctl service update --quiet --env-add A=1 pinned
        [ "$(id)" = "$first" ]
        ctl service update --quiet --image pin:1 pinned
        [ "$(id)" != "$first" ]
        ctl service rm pinned
}

@test "signals that say nothing end no daemon, and containers get theirs" {
        for d in m1 n2; do
                for s in USR1 USR2 HUP; do kill -$s "$(daemon_pid $d)"; done
        done
        # The disposition is not inherited: such a signal ends a program of a container.
        run_once usr "/bin/sh -c 'kill -USR1 \$\$; sleep 1'; [ \$? = 138 ]"
        wait_for 15 "its end" has_state usr Complete
        ctl service rm usr >/dev/null
        daemon_is_alive m1
        daemon_is_alive n2
}
