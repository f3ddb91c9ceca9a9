#!/bin/bash
# Measures every figure that the README quotes, on this machine, now. Each is printed as a line of JSON
# as it comes, and all of them as a table at the end. BENCH="start sched" runs some of them only.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "bench: needs root (namespaces, cgroups)" >&2; exit 1; }
# shellcheck source=deploy/demo/lib.sh
. deploy/demo/lib.sh || exit 1
BENCH=${BENCH:-store sched raft start cluster committed managers}
lines=$(mktemp)
trap 'rm -f "$lines" "$lines".*' EXIT

figure() { # figure NAME VALUE UNIT AIM [PEER PEER-VALUE]
        printf '{"figure":"%s","value":%s,"unit":"%s","aim":"%s"' "$1" "$2" "$3" "$4"
        [ $# -lt 6 ] || printf ',"peer":"%s","peer_value":"%s"' "$5" "$6"
        printf '}\n'
}
us_now() { date +%s%N | cut -c1-16; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
as_ms() { awk '{ printf "%.1f\n", $1 / 1000 }'; }

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

# managers_up N: managers m1..mN, no agents.
managers_up() {
        local i
        cluster_init
        for i in $(seq "$1"); do host_add "m$i" "10.77.0.$i"; done
        manager_start m1 --hostname m1 || return 1
        for i in $(seq 2 "$1"); do manager_join "m$i" || return 1; done
        image_make web:1 bench >/dev/null
}
socket_of() { echo "ipc://$CLUSTER/$1/manager.sock"; }
managers() { cat "$CLUSTER"/address.m* | sed 's/.*\./m/'; }

# committed_run NAME: a service of 100,000 tasks on 1,000 agents, which are spread over the managers.
committed_run() {
        local endpoints
        endpoints=$(for m in $(managers); do echo "tcp://$(host_address "$m"):7377"; done | paste -sd,)
        host_run m1 "$BUILD/bench/committed_bench" "$1" "$(socket_of m1)" "$endpoints" \
                "$(ctl swarm join-token -q worker)" web:1 1000 100000
}

bench_committed() {
        managers_up 1 || return 1
        committed_run committed || return 1
        figure "manager with 1,000 agents and 100,000 tasks: RSS" "$(rss_mb "$(daemon_pid m1)")" MB "below 400 for 1,000,000"
        cluster_down
}

# --- several managers -----------------------------------------------------------------------------
swarm="Docker Swarm"
manager_again() { daemon_start "$1" "$1" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$1"; }
# All vote and are heard, and m1, where ctl asks, and the others say so of the same leader.
all_are_managers() {
        local m leader
        leader=$(leader_name) && [ -n "$leader" ] || return 1
        [ "$(ctl node ls --format '{{.ManagerStatus}}' | grep -cE '^(Leader|Reachable)$')" = "$(managers | wc -l)" ] || return 1
        for m in $(managers); do [ "$(leader_name "$m")" = "$leader" ] || return 1; done
}

# write_figures NAME MANAGER AIM: 500 small writes, one after the other, through that manager.
write_figures() {
        local p50 p99
        read -r p50 p99 < <("$BUILD/bench/managers_bench" write m1 500 "$(socket_of "$2")") || return 1
        figure "write, $1: median of 500" "$(echo "$p50" | as_ms)" ms "$3"
        figure "write, $1: 99th percentile" "$(echo "$p99" | as_ms)" ms ""
}

# lose RUNS BLOW AFTER: the leader is taken away, so often, by the command that `BLOW LEADER` prints,
# and `AFTER LEADER` brings it back. Prints for each in us: until the next write, and the longest time
# without one.
lose() {
        local i leader sockets
        sockets=$(for i in $(managers); do socket_of "$i"; done)
        for i in $(seq "$1"); do
                wait_for 20 "all managers" all_are_managers || return 1
                leader=$(leader_name)
                # shellcheck disable=SC2086
                "$BUILD/bench/managers_bench" lose m1 "$("$2" "$leader")" $sockets || return 1
                "$3" "$leader" || return 1
        done
}
blow_kill() { echo "kill -KILL $(daemon_pid "$1")"; }
blow_stop() { echo "kill -TERM $(daemon_pid "$1")"; }
blow_cut() { echo "ip -n $CLUSTER_TAG-net link set p-$1 down"; }
come_back() {
        wait_for 10 "end of $1" process_is_gone "$(daemon_pid "$1")" && manager_again "$1"
}

bench_lost_leaders() {
        local runs=$CLUSTER/runs
        lose 20 blow_kill come_back >"$runs" || return 1
        figure "leader killed to next write, median of 20" "$(median <"$runs" | as_ms)" ms 1000 "$swarm" "10600"
        figure "leader killed to next write, worst of 20" "$(sort -n "$runs" | tail -n 1 | as_ms)" ms 1500
        lose 5 blow_cut host_heal >"$runs" || return 1
        figure "leader cut off to next write, median of 5" "$(median <"$runs" | as_ms)" ms "" "$swarm" "20000"
        lose 10 blow_stop come_back >"$runs" || return 1
        figure "leader stopped in order to next write, median of 10" "$(median <"$runs" | as_ms)" ms 200
        figure "leader stopped in order: time without writes, median of 10" \
                "$(awk '{ print $2 }' "$runs" | median | as_ms)" ms 200
        figure "leader stopped in order: time without writes, worst of 10" \
                "$(awk '{ print $2 }' "$runs" | sort -n | tail -n 1 | as_ms)" ms ""
}

has_tasks() { [ "$(ctl_of "$1" info --format '{{.Swarm.Tasks}}')" = "$2" ]; }
# One number of a manager's database.
db_of() { sqlite3 -readonly -cmd '.timeout 1000' "$CLUSTER/$1/manager/swarm.db" "$2"; }
last_index() { db_of "$1" 'SELECT coalesce((SELECT max(idx) FROM log),(SELECT base_index FROM raft))'; }
covers() { [ "$(db_of "$1" "SELECT value FROM meta WHERE key='covered'")" -ge "$2" ]; }
covers_all() { covers "$1" "$(last_index "$1")"; }

# What its tables cover is applied, and on its disk: later than what it could lead with.
bench_far_behind() {
        local leader behind t index
        wait_for 20 "all managers" all_are_managers || return 1
        leader=$(leader_name)
        behind=$(managers | grep -vx "$leader" | head -n 1)
        daemon_stop "$behind"
        ctl_of "$leader" service create --detach --quiet --name big --replicas 1000000 web:1 /bin/main >/dev/null || return 1
        wait_for 60 "1,000,000 tasks" has_tasks "$leader" 1000000 || return 1
        wait_for 60 "the leader's disk" covers_all "$leader" || return 1
        index=$(last_index "$leader")
        t=$(us_now)
        manager_again "$behind"
        wait_for 60 "$behind" covers "$behind" "$index" || return 1
        figure "1,000,000 tasks behind, until all is in its tables" \
                "$(awk -v t=$(($(us_now) - t)) 'BEGIN { printf "%.1f", t / 1e6 }')" s 20
        lose 3 blow_kill come_back >"$CLUSTER/runs" || return 1
        figure "leader of 1,000,000 tasks killed to next write, worst of 3" \
                "$(sort -n "$CLUSTER/runs" | tail -n 1 | as_ms)" ms ""
}

# committed_figures N NAME: through N managers, and what each takes then.
committed_figures() {
        local m leader
        managers_up "$1" || return 1
        [ "$1" != 1 ] || write_figures "$2" m1 "" || return 1
        committed_run "$2" >"$lines.rate" || return 1
        cat "$lines.rate"
        jq .value "$lines.rate" >>"$lines.rates"
        leader=$(leader_name)
        for m in $(managers); do
                figure "$2, 1,000 agents, 100,000 tasks: RSS of $([ "$m" = "$leader" ] && echo "the leader" || echo "$m")" \
                        "$(rss_mb "$(daemon_pid "$m")")" MB ""
        done
        cluster_down
}

bench_managers() {
        local leader
        managers_up 3 || return 1
        wait_for 20 "all managers" all_are_managers || return 1
        leader=$(leader_name)
        write_figures "three managers on one disk, by the leader" "$leader" 5
        write_figures "three managers on one disk, by another" "$(managers | grep -vx "$leader" | head -n 1)" 5
        bench_lost_leaders || return 1
        bench_far_behind || return 1
        cluster_down
        committed_figures 3 "three managers" && committed_figures 1 "one manager" || return 1
        figure "100,000 replicas to RUNNING: three managers' rate to one's" \
                "$(jq -s '.[0] / .[1] * 100 | round / 100' "$lines.rates")" "" 0.5
}

run_benches() {
        local b
        trap cluster_down EXIT # of the subshell that the pipe makes
        for b in $BENCH; do
                case $b in
                store) "$BUILD/bench/store_bench" ;;
                sched) "$BUILD/bench/sched_bench" ;;
                raft) "$BUILD/bench/raft_bench" ;;
                start) "$BUILD/bench/start_bench" ;;
                cluster) bench_cluster ;;
                committed) bench_committed ;;
                managers) bench_managers ;;
                *) echo "bench: no such bench: $b" >&2; false ;;
                esac || { echo "bench: $b failed" >&2; echo "$b" >>"$lines.failed"; }
                cluster_down
        done
}
run_benches | tee "$lines"

printf '\n%-72s %12s %-14s %s\n' figure value unit 'aim / peer'
jq -r '[.figure, .value, .unit, (.aim // ""), (if .peer then "\(.peer): \(.peer_value)" else "" end)] | @tsv' "$lines" |
        while IFS=$'\t' read -r f v u a p; do printf '%-72s %12s %-14s %s %s\n' "$f" "$v" "$u" "$a" "$p"; done
[ ! -e "$lines.failed" ]
