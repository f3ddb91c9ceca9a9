#!/bin/sh
# Installs what building, testing and the demo need, from the packages of Debian 12 and 13.
# Asks the package manager only for what is missing, so a second run is quick and works offline.
set -eu

packages="build-essential clang clang-format pkg-config musl-tools git
libuv1-dev libzmq3-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libyaml-dev
libsqlite3-dev libarchive-dev libsodium-dev libseccomp-dev libjansson-dev
libcmocka-dev bats busybox-static crun iproute2 nftables sqlite3 jq zstd skopeo umoci
procps mandoc"

missing=""
for p in $packages; do
        dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed ||
                missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
        echo "deps: run as root to install:$missing" >&2
        exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
