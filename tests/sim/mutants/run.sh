#!/bin/bash
# Shows that the tests can fail: applies each mutant (raft/*.patch, a deliberate bug with a line that
# names it) to a copy of the tree, and runs the Raft simulator and the core's unit tests on it until one
# of them fails. TAP: "ok - NAME: caught by ...". Needs a build: run by `make mutants`.
#
#   tests/sim/mutants/run.sh [NAME...]      SEEDS=2000: of the simulator, at most
set -u
cd "$(dirname "$0")/../../.." || exit 1
root=$PWD
BUILD=$root/${BUILD:-build} CC=${CC:-gcc} SEEDS=${SEEDS:-2000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0
flags="-D_GNU_SOURCE -std=gnu11 -O1 -w -I. -I$BUILD/gen"
libs="$BUILD/libtest.a $BUILD/libshared.a -lprotobuf-c -lcmocka -lm -lpthread"
units=$(cd "$root" && echo tests/unit/manager/consensus/raft/*_test.c)

# Compiles what is in $work/tree; the programs go to $work/bin.
build() {
        local src objs=
        rm -rf "$work/bin" "$work/obj"
        mkdir -p "$work/bin" "$work/obj"
        cd "$work/tree" || return 1
        for src in manager/consensus/raft/*.c; do
                $CC $flags -c "$src" -o "$work/obj/$(basename "$src" .c).o" || return 1
                objs="$objs $work/obj/$(basename "$src" .c).o"
        done
        $CC $flags tests/raft-sim/*.c $objs $libs -o "$work/bin/sim" || return 1
        for src in $units; do
                $CC $flags "$src" $objs $libs -o "$work/bin/$(basename "$src" .c)" || return 1
        done
}

# Says who caught it, or nothing.
catcher() {
        local t
        timeout 600 "$work/bin/sim" --seeds "$SEEDS" --until-failure >"$work/log" 2>&1 ||
                echo "the simulator ($(grep -c '^ok' "$work/log") seeds before)"
        for t in "$work"/bin/*_test; do
                timeout 60 "$t" >"$work/log" 2>&1 || echo "$(basename "$t")"
        done
}

[ $# -gt 0 ] || set -- $(cd tests/sim/mutants/raft && ls -- *.patch | sed 's/\.patch$//')
for name in "$@"; do
        patch="$root/tests/sim/mutants/raft/$name.patch"
        n=$((n + 1))
        rm -rf "$work/tree"
        mkdir -p "$work/tree"
        (cd "$root" && cp -r --parents manager/consensus/raft tests/raft-sim tests/lib shared proto $units \
                "$work/tree")
        if ! patch -s -p1 -d "$work/tree" <"$patch" >/dev/null || ! (build) >"$work/err" 2>&1; then
                echo "not ok $n - $name: does not apply, or does not compile"
                failed=1
                continue
        fi
        by=$(catcher | paste -sd, | sed 's/,/, /g')
        if [ -n "$by" ]; then
                echo "ok $n - $name: $(head -n 1 "$patch"): caught by $by"
        else
                echo "not ok $n - $name: $(head -n 1 "$patch"): not caught"
                failed=1
        fi
done
echo "1..$n"
exit $failed
