#!/usr/bin/env bats
# Several managers of which one dies, stops, is cut off, fills its disk or lags, while clients write
# all the time: what was acknowledged is there, whoever is asked, and one manager leads.
load lib

setup_file() {
        cluster_init
        export CLUSTER CLUSTER_TAG BUILD
        local i
        for i in 1 2 3; do host_add m$i 10.77.0.$i; done
        manager_start m1 --hostname m1
        manager_join m2
        manager_join m3
        image_make web:1 one
        : >"$CLUSTER/acknowledged"
        for i in 1 2; do
                writer $i >/dev/null 2>&1 3>&- 4>&- &
                echo $! >"$CLUSTER/pids/writer$i"
        done
}

managers() { cat "$CLUSTER"/address.m* | sed 's/.*\./m/'; }
alive() { for m in $(managers); do [ -e "$CLUSTER/pids/$m" ] && daemon_is_alive "$m" && echo "$m"; done; }
others() { managers | grep -vx "$1"; }

# writer N: creates services through any manager, and keeps the names of those that were acknowledged.
writer() {
        local n=0 m
        while [ -e "$CLUSTER" ]; do
                m=$(managers | shuf -n 1)
                n=$((n + 1))
                timeout 2 "$BUILD/swarmctl" --host "ipc://$CLUSTER/$m/manager.sock" service create --detach --quiet \
                        --name "w$1-$n" --replicas 0 web:1 /bin/main && echo "w$1-$n" >>"$CLUSTER/acknowledged"
                sleep 0.02
        done
}

# Names that were acknowledged by now, and those that a manager knows.
acknowledged() { sort "$CLUSTER/acknowledged"; }
known() { ctl_of "$1" service ls --format '{{.Name}}' | sort; }
# knows MANAGER FILE: it knows all that is in the file.
knows() { [ -z "$(known "$1" | comm -13 - "$2")" ]; }
# goes_on: ten more writes are acknowledged.
is_longer() { [ "$(wc -l <"$CLUSTER/acknowledged")" -ge "$1" ]; }
goes_on() { wait_for 20 "writes" is_longer $(($(wc -l <"$CLUSTER/acknowledged") + 10)); }

agree_on_leader() {
        local m name=
        for m in $(alive); do
                local says
                says=$(leader_name "$m")
                [ -n "$says" ] && [ "${name:-$says}" = "$says" ] || return 1
                name=$says
        done
}
all_are_managers() {
        [ "$(ctl node ls --format '{{.ManagerStatus}}' | grep -cE '^(Leader|Reachable)$')" = "$(managers | wc -l)" ]
}
# What a manager keeps, but for the files that are always there.
left_over() {
        ls -A "$CLUSTER/$1/manager" | grep -vE '^(swarm\.(db|db-wal|db-shm|lock)|blobs|address|ballast|cluster\.key)$'
}
no_left_over() { local m; for m in $(managers); do [ -z "$(left_over "$m")" ] || return 1; done; }

# After each blow: one leader, as all say, and all that was acknowledged by then is known to each.
teardown() {
        if [ -z "$BATS_TEST_COMPLETED" ] || ! is_well; then
                tail -n 20 "$CLUSTER"/log/m*
                return 1
        fi
}

is_well() {
        acknowledged >"$CLUSTER/then"
        CTL=$(alive | head -n 1)
        wait_for 20 "all managers" all_are_managers && wait_for 20 "one leader" agree_on_leader && goes_on || return
        local m
        for m in $(managers); do knows "$m" "$CLUSTER/then" || { echo "$m lacks something"; return 1; }; done
        wait_for 20 "nothing left over" no_left_over || { for m in $(managers); do left_over "$m"; done; return 1; }
}

setup() {
        L=$(leader_name "$(alive | head -n 1)")
        F=$(others "$L" | head -n 1)
        CTL=$F
        [ -n "$L" ]
}
again() { daemon_start "$1" "$1" "$BUILD/swarm-manager" --data-dir "$CLUSTER/$1"; }
another_leads() { local now; now=$(leader_name) && [ -n "$now" ] && [ "$now" != "$L" ]; }

@test "the leader is killed" {
        daemon_stop "$L" KILL
        wait_for 10 "another leader" another_leads
        goes_on
        again "$L"
        wait_for 10 "$L" manager_is "$L" reachable
}

@test "the leader is stopped for a while: it stands down, and serves nothing of before" {
        pid=$(daemon_pid "$L")
        kill -STOP "$pid"
        wait_for 10 "another leader" another_leads
        goes_on
        sleep 3 # longer than any election takes
        new=$(leader_name)
        acknowledged >"$CLUSTER/then"
        kill -CONT "$pid"
        knows "$L" "$CLUSTER/then"
        [ "$(leader_name "$L")" = "$new" ]
        wait_for 10 "$L" manager_is "$L" reachable
        [ "$(leader_name)" = "$new" ]
}

@test "the leader is cut off: whoever asks it is not told of before" {
        host_cut "$L"
        wait_for 10 "another leader" another_leads
        goes_on
        acknowledged >"$CLUSTER/then"
        # It has no majority to be sure with: no answer as long as it is cut off.
        run timeout 1 "$BUILD/swarmctl" --host "ipc://$CLUSTER/$L/manager.sock" service ls -q
        [ "$status" != 0 ]
        [ -z "$output" ]
        host_heal "$L"
        wait_for 20 "what it missed" knows "$L" "$CLUSTER/then"
        wait_for 10 "$L" manager_is "$L" reachable
}

# asked NAME COMMAND...: how it ended goes to $CLUSTER/asked/NAME, in the background.
asked() {
        local to="$CLUSTER/asked/$1" m=$2
        shift 2
        {
                timeout 25 "$BUILD/swarmctl" --host "ipc://$CLUSTER/$m/manager.sock" "$@" 2>&1 >/dev/null | tail -n 1 >"$to"
                echo "${PIPESTATUS[0]}" >>"$to"
        } 3>&- 4>&- &
        ASKED+=($!)
}
# Each was answered, or failed with a line that names the leader.
are_answered() {
        local f
        for f in "$CLUSTER"/asked/*; do
                case $(tail -n 1 "$f") in
                0) ;;
                1 | 3) grep -q "lead" "$f" || { echo "$f:"; cat "$f"; return 1; } ;;
                *) echo "$f:"; cat "$f"; return 1 ;;
                esac
        done
}

# Links between managers are given up after three seconds of silence, by one end or by both.
@test "the leader is cut off for a while: whatever is asked then is answered, or fails and says why" {
        local length i m
        for length in 1 5 7 9 12; do # half seconds
                rm -rf "$CLUSTER/asked"
                mkdir "$CLUSTER/asked"
                ASKED=()
                L=$(leader_name "$(alive | head -n 1)")
                host_cut "$L"
                for i in $(seq $((length + 2))); do
                        [ "$i" != "$((length + 1))" ] || host_heal "$L"
                        for m in $(managers); do
                                asked "read-$i-$m" "$m" service ls -q
                                asked "write-$i-$m" "$m" service create --detach --quiet --replicas 0 \
                                        --name "cut-$length-$i-$m" web:1 /bin/main
                        done
                        sleep 0.5
                done
                wait "${ASKED[@]}"
                are_answered
                wait_for 20 "all managers" all_are_managers
                wait_for 20 "one leader" agree_on_leader
        done
}

# deaf MANAGER FROM...: drops what comes from those hosts; hears MANAGER: undoes it.
deaf() {
        local m=$1 from
        shift
        host_run "$m" nft 'add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }'
        for from; do host_run "$m" nft add rule inet deaf in ip saddr "$(host_address "$from")" drop; done
}
hears() { host_run "$1" nft delete table inet deaf; }

@test "the leader sends and hears nobody: another one leads" {
        deaf "$L" $(others "$L")
        wait_for 10 "another leader" another_leads
        goes_on
        hears "$L"
        wait_for 10 "$L" manager_is "$L" reachable
}

@test "one that does not hear the leader disturbs nobody" {
        deaf "$F" "$L"
        CTL=$L
        wait_for 10 "$F unreachable" manager_is "$F" unreachable
        goes_on
        sleep 2 # two election time-outs
        [ "$(leader_name)" = "$L" ]
        hears "$F"
        wait_for 10 "$F" manager_is "$F" reachable
        [ "$(leader_name)" = "$L" ]
}

@test "all are killed at once" {
        kill -KILL $(for m in $(managers); do daemon_pid "$m"; done)
        for m in $(managers); do wait_for 10 "end of $m" process_is_gone "$(daemon_pid "$m")"; done
        for m in $(managers); do again "$m"; done
        wait_for 10 "a leader" agree_on_leader
}

@test "the leader ends in order: another one leads at once" {
        daemon_stop "$L" TERM
        CTL=$F
        ctl service create --detach --quiet --name "after-$L" --replicas 0 web:1 /bin/main
        again "$L"
        wait_for 10 "$L" manager_is "$L" reachable
        ctl service rm "after-$L"
}

# What is kept for this moment is used up as well.
is_stuffed() {
        dd if=/dev/zero bs=4k >>"$CLUSTER/$1/full"
        process_is_gone "$(daemon_pid "$1")"
}

@test "the disk of one is full: it ends and says why, and comes again when there is room" {
        daemon_stop "$F" KILL
        mv "$CLUSTER/$F" "$CLUSTER/$F.away"
        mkdir "$CLUSTER/$F"
        mount -t tmpfs -o size=64m tmpfs "$CLUSTER/$F"
        cp -a "$CLUSTER/$F.away/." "$CLUSTER/$F/"
        again "$F"
        CTL=$L
        wait_for 10 "$F" manager_is "$F" reachable
        wait_for 20 "the end of $F" is_stuffed "$F"
        grep -q "the log cannot be written" "$CLUSTER/log/$F"
        grep -qi "full\|no space" "$CLUSTER/log/$F"
        goes_on
        rm "$CLUSTER/$F/full"
        again "$F"
        wait_for 10 "$F" manager_is "$F" reachable
        daemon_stop "$F" TERM
        rm -rf "$CLUSTER/$F.away"/*
        cp -a "$CLUSTER/$F/." "$CLUSTER/$F.away/"
        umount "$CLUSTER/$F"
        rmdir "$CLUSTER/$F"
        mv "$CLUSTER/$F.away" "$CLUSTER/$F"
        again "$F"
        wait_for 10 "$F" manager_is "$F" reachable
}

@test "one that is 100,000 tasks behind catches up, and all those tasks go again" {
        daemon_stop "$F" KILL
        CTL=$L
        ctl service create --detach --quiet --name big --replicas 100000 web:1 /bin/main
        wait_for 20 "its tasks" eval '[ "$(ctl service ls --filter name=big --format "{{.Replicas}}")" = 0/100000 ]'
        again "$F"
        wait_for 30 "$F" manager_is "$F" reachable
        # It has all: it can lead.
        daemon_stop "$L" TERM
        CTL=$F
        ctl service inspect big >/dev/null
        again "$L"
        wait_for 10 "$L" manager_is "$L" reachable
        ctl service rm big
        wait_for 20 "the end of big" eval '[ -z "$(ctl service ls -q --filter name=big)" ]'
}

@test "one whose state is lost joins anew, and the old member leaves" {
        daemon_stop "$F" KILL
        CTL=$L
        wait_for 10 "$F unreachable" manager_is "$F" unreachable
        old=$(ctl node ls -q --filter "name=$F")
        ctl node demote "$old"
        ctl node rm --force "$old"
        rm -rf "${CLUSTER:?}/$F"
        JOIN=$L manager_join "$F"
        [ "$(ctl node ls -q --filter "name=$F" | wc -l)" = 1 ]
}

@test "of five, two may die, and no more" {
        for i in 4 5; do
                host_add m$i 10.77.0.$i
                JOIN=$L manager_join m$i
        done
        goes_on
        daemon_stop "$L" KILL
        daemon_stop m5 KILL
        CTL=m4
        wait_for 10 "another leader" eval '[ -n "$(leader_name m4)" ] && [ "$(leader_name m4)" != "$L" ]'
        goes_on
        third=$(alive | grep -v m4 | head -n 1)
        daemon_stop "$third" KILL
        expect_fail 3 "the cluster has no leader: a majority of its 5 managers must be reachable" ctl node ls
        for m in "$L" m5 "$third"; do again "$m"; done
        wait_for 20 "all" all_are_managers
}
