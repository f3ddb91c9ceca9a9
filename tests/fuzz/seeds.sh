#!/bin/bash
# Makes the seeds of the image fuzzers below the folder $1, in one folder a fuzzer, by real tools.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"/image_{config,archive,layer}

mkdir -p "$work/root/d/e"
cd "$work/root"
echo text >d/file
ln d/file d/hard
ln -s ../d/file e
ln -s / d/out
mkfifo pipe
touch d/.wh.gone d/e/.wh..wh..opq
chmod 4755 d/file
cd "$work"
tar -C root -cf "$out/image_layer/gnu" .
tar -C root --format=pax --xattrs -cf "$out/image_layer/pax" .
tar -C root --format=ustar -cf "$out/image_layer/ustar" d e
tar -C root -czf "$out/image_layer/gzip" .
zstd -q -c "$out/image_layer/gnu" >"$out/image_layer/zstd"
truncate -s 1M sparse
echo x >>sparse
tar -cSf "$out/image_layer/sparse" sparse
tar -cSf "$out/image_layer/sparse-pax" --format=pax sparse
mkdir -p $(printf 'long%.0s/' $(seq 40)) && tar -cf "$out/image_layer/long" long

umoci init --layout oci
umoci new --image oci:a
umoci insert --image oci:a root/d/file /r
umoci config --image oci:a --config.cmd x --config.env A=B
for to in docker-archive:"$out/image_archive/docker":x:1 oci-archive:"$out/image_archive/oci":x:1; do
        skopeo copy -q oci:oci:a "$to"
done
gzip -c "$out/image_archive/docker" >"$out/image_archive/gzip"
for f in oci/blobs/sha256/*; do
        if grep -q '"rootfs"' "$f"; then cp "$f" "$out/image_config/"; fi
done
cat >"$out/image_config/docker" <<'JSON'
{"architecture":"amd64","os":"linux","config":{"Entrypoint":["a"],"Cmd":["b"],"Env":["A=B"],
"User":"u:g","WorkingDir":"/w","StopSignal":"SIGINT","ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},
"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":1000000000,"Timeout":1,"Retries":3}},"rootfs":
{"diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}
JSON
