#!/bin/bash
# House rules that a program can check: include directions, homes of libraries, sizes, banned calls,
# headers that compile alone, formatting. With --tap one TAP line a rule, else only what is wrong.
set -u
shopt -s lastpipe # rules count, and fail, in this shell
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build}
tap=0; [ "${1:-}" = --tap ] && tap=1
n=0 failed=0

# rule NAME: reads findings on standard input, one a line.
rule() {
        local findings
        findings=$(cat)
        n=$((n + 1))
        if [ -n "$findings" ]; then
                failed=1
                [ $tap = 1 ] && echo "not ok $n - $1"
                printf '%s\n' "$findings" | sed "s/^/# $1: /"
        elif [ $tap = 1 ]; then
                echo "ok $n - $1"
        fi
}

# each COMMAND...: runs it, a function too, on the files of standard input, by tens, on each core.
each() { xargs -0 -n 10 -P "$(nproc)" bash -c '"$@"' - "$@" 2>&1; }

mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.c' '*.h' |
        while read -r f; do [ -f "$f" ] && echo "$f"; done)
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' '*.bats' '*.bash' .ci/run Makefile)

for r in includes homes banned file header function line; do
        perl tests/tidy/rules.pl "$r" "${files[@]}" | rule "$r"
done
printf '%s\n' "${scripts[@]}" | grep -E '\.(bats|bash)$' |
        xargs -d '\n' perl tests/tidy/rules.pl assertion | rule assertion
compiles_alone() {
        local h
        for h in "$@"; do
                gcc -std=gnu11 -D_GNU_SOURCE -I. -I"$BUILD" -I"$BUILD/gen" -isystem "$BUILD/kernel-headers" \
                        -fsyntax-only -x c - <<<"#include \"$h\"" 2>&1 | head -n 3
        done
}
export -f compiles_alone
printf '%s\0' "${files[@]}" | grep -z '\.h$' | each compiles_alone | rule "header compiles alone"
if clang-format --version | grep -qE 'version 14\.'; then
        printf '%s\0' "${files[@]}" | each clang-format --dry-run | grep -E 'warning:' | rule formatting
else
        [ $tap = 1 ] && echo "# formatting: not checked: needs clang-format 14, here is another"
fi
grep -nE '[[:space:]]$' "${files[@]}" "${scripts[@]}" | rule "space at the end of a line"
for s in "${scripts[@]}"; do
        case $s in *.sh) bash -n "$s" 2>&1 ;; esac
done | rule "scripts parse"
exit $failed
