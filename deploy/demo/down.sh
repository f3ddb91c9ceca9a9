#!/bin/bash
# Takes away a cluster that `make demo KEEP=1` left: down.sh FOLDER.
set -u
[ $# = 1 ] && [ -f "$1/tag" ] || { echo "usage: down.sh FOLDER (the one that make demo KEEP=1 printed)" >&2; exit 2; }
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=deploy/demo/lib.sh
. deploy/demo/lib.sh || exit 1
CLUSTER=$1
CLUSTER_TAG=$(cat "$1/tag")
cluster_down
