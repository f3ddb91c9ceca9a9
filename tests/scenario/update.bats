#!/usr/bin/env bats
# Rolling updates: they go through, they stop at failures, they roll back, and they never hang.
load lib

setup_file() {
        cluster_for_file 3
        image_make web:1 one
        image_make web:2 two
        image_make web:3 broken 'echo will fail; exit 3'
        image_make web:4 sick 'sleep 1000'
}

images() { ctl service ps web --filter desired-state=running --format '{{.Image}}' | sort | uniq -c | awk '{ print $1, $2 }'; }
all_are() { [ "$(images)" = "$1" ] && service_running web "${1% *}"; }
update_state() { ctl service inspect web --format '{{.UpdateStatus.State}}'; }

@test "an update replaces all replicas" {
        ctl service create --quiet --name web --replicas 4 --network none --restart-delay 0s --stop-grace-period 1s \
                --update-monitor 500ms --rollback-monitor 500ms web:1 /bin/main
        ctl service update --quiet --image web:2 --update-parallelism 2 web
        all_are "4 web:2"
        [ "$(update_state)" = completed ]
}

@test "rollback by hand goes back, and a second one forward again" {
        ctl service rollback --quiet web
        all_are "4 web:1"
        [ "$(update_state)" = rollback_completed ]
        ctl service rollback --quiet web
        all_are "4 web:2"
}

@test "an update to an image that fails pauses, and swarmctl says so" {
        expect_fail 1 "paused" ctl service update --quiet --image web:3 \
                --update-parallelism 1 --update-delay 1s --update-failure-action pause web
        [ "$(update_state)" = paused ]
        [ "$(images | awk '$2 == "web:2" { print $1 }')" = 3 ]
        ctl service update --quiet --image web:2 web
        all_are "4 web:2"
}

@test "an update to an image that fails rolls back, and swarmctl exits non-zero" {
        expect_fail 1 "roll" ctl service update --quiet --image web:3 --update-failure-action rollback web
        wait_for 20 "the rollback" all_are "4 web:2"
        [ "$(update_state)" = rollback_completed ]
}

@test "a replica that never gets healthy is a failure after update-wait" {
        expect_fail 1 "roll" ctl service update --quiet --image web:4 --update-failure-action rollback \
                --update-wait 2s --health-http 8080/ --health-interval 200ms --health-start-period 60s web
        wait_for 20 "the rollback" all_are "4 web:2"
}

@test "why a health check failed is told, at once and once the task has ended" {
        ctl service create --detach --quiet --name ill --network none --restart-condition none --stop-grace-period 30s \
                --health-cmd 'echo the database is away; exit 7' --health-interval 100ms --health-retries 3 \
                web:1 /bin/sh -c 'trap "until [ -e /done ]; do sleep 0.1; done; exit" TERM; while :; do sleep 0.1; done'
        ill() { ctl service ps ill --no-trunc --format '{{.CurrentState}} {{.Error}}'; }
        wait_for 20 "the stop is told" eval 'ill | grep -q "^Starting .* (stopping) .*unhealthy: exit 7: the database is away"'
        id=$(ctl service ps ill -q --no-trunc)
        [ "$(ctl task inspect "$id" --format '{{.Status.Message}}: {{.Status.Err}}')" = "stopping: unhealthy: exit 7: the database is away" ]
        ctl service rm ill
        ctl service create --detach --quiet --name ill2 --network none --restart-condition none \
                --health-http 8080/ --health-interval 100ms --health-retries 2 web:1 /bin/sleep 1000
        wait_for 20 "the failure" eval 'ctl service ps ill2 --no-trunc | grep -q "Failed .*unhealthy: connect: connection refused"'
        ctl service rm ill2
}

@test "start-first never runs fewer than asked for" {
        ctl service update --detach --quiet --image web:1 --update-order start-first --update-parallelism 1 web
        least=99
        until [ "$(update_state)" = completed ]; do
                n=$(ctl service ls --filter name=web --format '{{.Replicas}}')
                [ "${n%/*}" -lt $least ] && least=${n%/*}
        done
        [ $least -ge 4 ]
        all_are "4 web:1"
}

@test "scaling does not restart tasks; --force does" {
        before=$(ctl service ps web -q --filter desired-state=running | sort)
        ctl service scale web=5
        [ "$(comm -12 <(echo "$before") <(ctl service ps web -q --filter desired-state=running | sort) | wc -l)" = 4 ]
        ctl service update --quiet --force web
        [ "$(comm -12 <(echo "$before") <(ctl service ps web -q --filter desired-state=running | sort) | wc -l)" = 0 ]
}
