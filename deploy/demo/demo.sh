#!/bin/bash
# The story of the README, told on this machine: a manager and three nodes (network namespaces, real
# processes), a real service in real containers, scaled up and down, losing a container and a node,
# updated, and saved from a broken update. Fails loudly if a step does not go as told. Takes away all
# that it made, unless KEEP=1.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "demo: needs root (namespaces, cgroups): sudo make demo" >&2; exit 1; }
# shellcheck source=deploy/demo/lib.sh
. deploy/demo/lib.sh || { echo "demo: build the programs first: make" >&2; exit 1; }

step=0 started=$SECONDS
bold='' plain=''
[ -t 1 ] && bold=$(tput bold) plain=$(tput sgr0)
say() { step=$((step + 1)); printf '\n%s%2d. %s%s\n' "$bold" "$step" "$1" "$plain"; }
show() { printf '    $ swarmctl %s\n' "$*"; ctl "$@" | sed 's/^/    /'; return "${PIPESTATUS[0]}"; }
fail() {
        printf '\ndemo: FAILED in step %d: %s\n' "$step" "$1" >&2
        for f in "$CLUSTER"/log/*; do
                echo "--- last lines of $(basename "$f")" >&2
                tail -n 15 "$f" >&2
        done
        exit 1
}
finish() {
        local status=$?
        if [ "${KEEP:-}" = 1 ] && [ $status = 0 ]; then
                keep
        else
                cluster_down
        fi
        exit $status
}
keep() {
        cat <<EOT

The cluster stays up. To use it:
    export SWARM_HOST=ipc://$CLUSTER/m1/manager.sock
    $BUILD/swarmctl node ls
    $BUILD/swarmctl service create --name web2 --replicas 3 web:2 /bin/main
Logs are in $CLUSTER/log. To take it all away:
    deploy/demo/down.sh $CLUSTER
EOT
        echo "$CLUSTER_TAG" >"$CLUSTER/tag"
}
trap finish EXIT
trap 'exit 130' INT TERM

ms_now() { date +%s%3N; }
# The number of tasks of web that run on a node.
running_on() {
        ctl node ps "$1" --filter desired-state=running --format '{{.CurrentState}}' | grep -c '^Running'
}
none_runs_on() { [ "$(running_on "$1")" = 0 ]; }
some_run_on() { [ "$(running_on "$1")" -gt 0 ]; }
busy_node() { for n in n1 n2 n3; do some_run_on $n && echo $n && return; done; return 1; }
shutdown_on_node() { [ -z "$(container_pids "$1" | while read -r p; do kill -0 "$p" 2>/dev/null && echo "$p"; done)" ]; }
node_is_settled() { [ "$(container_pids "$1" | wc -l)" = "$(running_on "$1")" ]; }
images_of_running() {
        ctl service ps web --filter desired-state=running --format '{{.Image}}' | sort | uniq -c |
                awk '{ print $1, $2 }'
}
only_image() { [ "$(images_of_running)" = "$2 $1" ]; }

say "A manager and three nodes come up and join"
cluster_up 3 || fail "the nodes did not join"
show node ls

say "Three images: web:1, web:2, and web:3, which is broken (its server answers no health check)"
image_make web:1 "hello from version 1" >/dev/null || fail "image web:1"
image_make web:2 "hello from version 2" >/dev/null || fail "image web:2"
image_make web:3 "never seen" "exec sleep 1000" >/dev/null || fail "image web:3"
show image ls

say "A service of three replicas, each with an HTTP health check"
t=$(ms_now)
show service create --name web --replicas 3 --network none --restart-delay 0s \
        --health-http 8080/index.html --health-interval 1s --health-start-interval 100ms \
        --health-start-period 5s --update-monitor 1s --stop-grace-period 1s web:1 /bin/main || fail "service create"
echo "    ($(($(ms_now) - t)) ms, of which the last second only watched that they stay up)"
show service ps web

say "Up to thirty, and back to six"
t=$(ms_now)
show service scale web=30 || fail "scale to 30"
echo "    ($(($(ms_now) - t)) ms)"
show service scale web=6 || fail "scale to 6"
wait_for 10 "six replicas" service_running web 6 || fail "not six replicas after the scale"
show node ls

say "One container is killed: it is replaced"
victim=$(container_pids "$(busy_node)" | head -n 1)
[ -n "$victim" ] || fail "no node runs anything"
kill -KILL "$victim"
wait_for 5 "its end" process_is_gone "$victim" || fail "the container did not die"
wait_for 10 "six replicas again" service_running web 6 || fail "the killed container was not replaced"
ctl service ps web | grep -qi failed || fail "service ps does not tell of the failed task"
show service ps web

say "Node n2 is cut off: its replicas move to the others"
some_run_on n2 || fail "nothing ran on n2"
host_cut n2
wait_for 15 "n2 down" node_is n2 down || fail "the loss of n2 was not noticed"
wait_for 15 "replacements" service_running web 6 || fail "n2's tasks were not replaced"
show node ls
show service ps web --filter desired-state=running

say "The link heals: n2 is back, and what ran there meanwhile is stopped"
host_heal n2
wait_for 15 "n2 ready" node_is n2 ready || fail "n2 did not come back"
wait_for 15 "end of n2's old containers" shutdown_on_node n2 || fail "n2 still runs what was replaced"
wait_for 5 "six replicas" service_running web 6 || fail "not six replicas after healing"

say "A rolling update to web:2, two at a time, each waited for until it is healthy"
show service update --image web:2 --update-parallelism 2 --update-order start-first web || fail "update"
only_image web:2 6 || fail "not all replicas are of web:2: $(images_of_running)"
show service ps web --filter desired-state=running

say "An update to the broken web:3 rolls back by itself"
if show service update --image web:3 --update-failure-action rollback --update-wait 3s \
        --update-max-failure-ratio 0 web; then
        fail "the update to a broken image was reported as a success"
fi
wait_for 30 "the rollback" only_image web:2 6 || fail "no rollback: $(images_of_running)"
wait_for 10 "six replicas" service_running web 6 || fail "not six replicas after the rollback"
echo "    $(ctl service inspect web --format '{{.UpdateStatus.State}}: {{.UpdateStatus.Message}}')"

node=$(busy_node) || fail "no node runs anything"
say "The agent of $node is killed and started again under its running containers"
wait_for 10 "the end of what was rolled back" node_is_settled "$node" || fail "$node runs more than it should"
before=$(container_pids "$node" | sort)
[ -n "$before" ] || fail "no container on $node"
daemon_stop "$node" KILL
for pid in $before; do kill -0 "$pid" || fail "container $pid died with the agent"; done
agent_start "$node"
wait_for 15 "$node ready" node_is "$node" ready || fail "$node did not come back"
wait_for 10 "six replicas" service_running web 6 || fail "not six replicas after the agent's restart"
[ "$before" = "$(container_pids "$node" | sort)" ] || fail "the agent's restart touched its containers"
echo "    the same containers run: $(echo "$before" | tr '\n' ' ')"

say "Logs of all replicas, from anywhere"
show service logs --tail 1 web || fail "service logs"

if [ "${KEEP:-}" != 1 ]; then
        say "The service is removed, and nothing is left of it"
        show service rm web || fail "service rm"
        for n in n1 n2 n3; do
                wait_for 15 "end of $n's containers" shutdown_on_node $n || fail "$n still runs containers"
        done
fi
printf '\n%sAll as told, in %d seconds.%s\n' "$bold" $((SECONDS - started)) "$plain"
