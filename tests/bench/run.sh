#!/bin/bash
# Measures every figure that the README quotes, on this machine, now. Each is printed as a line of JSON
# as it comes, and all of them as a table at the end. BENCH="start sched" runs some of them only.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "bench: needs root (namespaces, cgroups)" >&2; exit 1; }
# shellcheck source=deploy/demo/lib.sh
. deploy/demo/lib.sh || exit 1
BENCH=${BENCH:-store sched raft start cluster committed}
lines=$(mktemp)
trap 'cluster_down; rm -f "$lines" "$lines.failed"' EXIT

figure() { # figure NAME VALUE UNIT AIM
        printf '{"figure":"%s","value":%s,"unit":"%s","aim":"%s"}\n' "$1" "$2" "$3" "$4"
}
us_now() { date +%s%N | cut -c1-16; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# all_running NAME N: waits along the progress of the service, without polling the manager's disk.
all_running() {
        until [ "$(ctl service ls --filter "name=$1" --format '{{.Replicas}}')" = "$2/$2" ]; do :; done
}

# Wake-ups of a process: voluntary switches of all its threads.
switches() { awk '/^voluntary/ { n += $2 } END { print n }' /proc/"$1"/task/*/status; }
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
rss_mb() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }

containers_are() { [ "$(for n in n1 n2 n3; do container_pids $n; done | wc -l)" = "$1" ]; }

bench_cluster() {
        local i t pid s0 c0 name
        cluster_up 3 || return 1
        image_make web:1 bench >/dev/null || return 1
        for i in 1 2 3; do # the image gets to every node
                ctl service create --detach --quiet --name warm --mode global --network none web:1 /bin/main >/dev/null
                all_running warm 3
                ctl service rm warm >/dev/null
        done
        for i in $(seq 15); do
                t=$(us_now)
                ctl service create --detach --quiet --name "one$i" --network none web:1 /bin/main >/dev/null
                all_running "one$i" 1
                echo $((($(us_now) - t) / 1000))
                ctl service rm "one$i" >/dev/null
        done | median | { read -r v; figure "service create of 1 replica to RUNNING, median of 15" "$v" ms 50; }
        ctl service create --detach --quiet --name web --restart-delay 0s --stop-grace-period 1s --network none web:1 /bin/main >/dev/null
        all_running web 1
        t=$(us_now)
        ctl service scale --detach web=30 >/dev/null
        all_running web 30
        figure "1 to 30 replicas on 3 nodes" $((($(us_now) - t) / 1000)) ms 1000
        for i in $(seq 10); do
                t=$(us_now)
                kill -KILL "$(container_pids n1 | head -n 1)"
                until [ "$(ctl service ls --filter name=web --format '{{.Replicas}}')" != 30/30 ]; do
                        [ $((($(us_now) - t) / 1000)) -gt 2000 ] && break
                done
                all_running web 30
                echo $((($(us_now) - t) / 1000))
        done | median | { read -r v; figure "killed container to replacement RUNNING, median of 10" "$v" ms 100; }
        ctl service scale --detach web=6 >/dev/null
        all_running web 6
        # The measured thing is rest: what was removed has ended, with its grace, and is written down.
        wait_for 30 "six containers" containers_are 6 || return 1
        sleep 5
        for name in m1 n1; do
                pid=$(daemon_pid $name)
                s0=$(switches "$pid") c0=$(cpu_ticks "$pid")
                sleep 20
                figure "idle $name (m1 manager, n1 agent): RSS" "$(rss_mb "$pid")" MB "$([ $name = m1 ] && echo 12 || echo 8)"
                figure "idle $name: wake-ups per second" $((($(switches "$pid") - s0) / 20)) 1/s 5
                figure "idle $name: CPU" "$(awk -v n=$(($(cpu_ticks "$pid") - c0)) 'BEGIN { print n / 20 }')" % 0.1
        done
        cluster_down
}

bench_committed() {
        cluster_init
        host_add m1 10.77.0.1
        manager_start m1 || return 1
        image_make web:1 bench >/dev/null || return 1
        host_run m1 "$BUILD/bench/committed_bench" "ipc://$CLUSTER/m1/manager.sock" tcp://10.77.0.1:7377 \
                "$(ctl swarm join-token -q worker)" web:1 1000 100000 || return 1
        figure "manager with 1,000 agents and 100,000 tasks: RSS" "$(rss_mb "$(daemon_pid m1)")" MB "below 400 for 1,000,000"
        cluster_down
}

for b in $BENCH; do
        case $b in
        store) "$BUILD/bench/store_bench" ;;
        sched) "$BUILD/bench/sched_bench" ;;
        raft) "$BUILD/bench/raft_bench" ;;
        start) "$BUILD/bench/start_bench" ;;
        cluster) bench_cluster ;;
        committed) bench_committed ;;
        *) echo "bench: no such bench: $b" >&2; exit 2 ;;
        esac || { echo "bench: $b failed" >&2; echo "$b" >>"$lines.failed"; }
done | tee "$lines"

printf '\n%-72s %12s %-14s %s\n' figure value unit 'aim / peer'
jq -r '[.figure, .value, .unit, (.aim // ""), (if .peer then "\(.peer): \(.peer_value)" else "" end)] | @tsv' "$lines" |
        while IFS=$'\t' read -r f v u a p; do printf '%-72s %12s %-14s %s %s\n' "$f" "$v" "$u" "$a" "$p"; done
[ ! -e "$lines.failed" ]
