#!/bin/sh
# Makes one image of two layers (the second removes etc/motd and adds new) with umoci, and archives of
# it in every form that skopeo writes, below the folder $1. No network.
set -eu
cd "$1"
mkdir -p root/bin root/etc
echo program > root/bin/tool
chmod 4755 root/bin/tool
echo hello > root/etc/motd
umoci init --layout oci
umoci new --image oci:base
umoci unpack --image oci:base bundle
cp -a root/. bundle/rootfs/
umoci repack --refresh-bundle --image oci:base bundle
rm bundle/rootfs/etc/motd
echo new > bundle/rootfs/new
umoci repack --image oci:base bundle
umoci config --image oci:base --config.cmd /bin/tool --config.env A=B --config.user 7:8
umoci tag --image oci:base my/app:1
umoci rm --image oci:base
umoci gc --layout oci
copy() { skopeo copy --quiet oci:oci:my/app:1 "$@"; }
copy docker-archive:docker.tar:my/app:1
copy oci-archive:oci.tar:my/app:1
copy --dest-compress --dest-compress-format zstd oci:zstd:my/app:1
gzip -k docker.tar
zstd -q oci.tar
