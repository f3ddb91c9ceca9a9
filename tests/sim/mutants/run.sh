#!/bin/bash
# Shows that the tests can fail: applies each mutant (a deliberate bug with a line that names it) to a
# copy of the tree, and runs on it what should catch it, until something fails:
#   raft/*.patch     the Raft simulator and the core's unit tests
#   cluster/*.patch  the cluster simulator
# TAP: "ok - NAME: caught by ...". Needs a build: run by `make mutants`.
#
#   tests/sim/mutants/run.sh [raft/NAME | cluster/NAME...]     SEEDS=2000: of a simulator, at most
set -u
cd "$(dirname "$0")/../../.." || exit 1
root=$PWD
BUILD=$root/${BUILD:-build} CC=${CC:-gcc} SEEDS=${SEEDS:-2000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0
flags="-D_GNU_SOURCE -std=gnu11 -O1 -w -I. -I$BUILD/gen -I$BUILD"
libs="-lprotobuf-c -lcmocka -lm -lpthread"
units=$(cd "$root" && echo tests/unit/manager/consensus/raft/*_test.c)

# These compile what is in $work/tree; the programs go to $work/bin.
build_raft() {
        local src objs=
        cd "$work/tree" || return 1
        for src in manager/consensus/raft/*.c; do
                $CC $flags -c "$src" -o "$work/obj/$(basename "$src" .c).o" || return 1
                objs="$objs $work/obj/$(basename "$src" .c).o"
        done
        objs="$objs $BUILD/libtest.a $BUILD/libshared.a"
        $CC $flags tests/raft-sim/*.c $objs $libs -o "$work/bin/sim" || return 1
        for src in $units; do
                $CC $flags "$src" $objs $libs -o "$work/bin/$(basename "$src" .c)" || return 1
        done
}

# What the mutant changes stands before the libraries, and so in the place of what is there.
build_cluster() {
        local src objs=
        cd "$work/tree" || return 1
        for src in $(sed -n 's/^+++ b\/\([^\t]*\).*/\1/p' "$patch"); do
                $CC $flags -c "$src" -o "$work/obj/$(echo "$src" | tr / -).o" || return 1
                objs="$objs $work/obj/$(echo "$src" | tr / -).o"
        done
        $CC $flags "$BUILD"/obj/tests/sim/*.o $objs "$BUILD"/lib{test,manager,agent,shared}.a $libs \
                $(pkg-config --libs libuv libzmq sqlite3 libarchive libsodium libseccomp yaml-0.1 jansson) \
                -o "$work/bin/sim"
}

# Says who caught it, or nothing.
catcher() {
        local t
        timeout 600 "$work/bin/sim" --seeds "$SEEDS" --until-failure >"$work/log" 2>&1 ||
                echo "the simulator ($(grep -c '^ok' "$work/log") seeds before)"
        for t in "$work"/bin/*_test; do
                [ ! -e "$t" ] || timeout 60 "$t" >"$work/log" 2>&1 || echo "$(basename "$t")"
        done
}

[ $# -gt 0 ] || set -- $(cd tests/sim/mutants && ls -- raft/*.patch cluster/*.patch | sed 's/\.patch$//')
for name in "$@"; do
        patch="$root/tests/sim/mutants/$name.patch"
        n=$((n + 1))
        rm -rf "$work/tree" "$work/bin" "$work/obj"
        mkdir -p "$work/tree" "$work/bin" "$work/obj"
        (cd "$root" && cp -r --parents manager tests/raft-sim tests/lib shared proto $units "$work/tree")
        if ! patch -s -p1 -d "$work/tree" <"$patch" >/dev/null ||
                ! ("build_${name%/*}") >"$work/err" 2>&1; then
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
