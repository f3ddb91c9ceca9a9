#!/usr/bin/env bats
# Images get into the cluster from archives of every kind, to the nodes that need them, and out again.
load lib

setup_file() {
        cluster_for_file 1
        image_make tool:1 tool 'exec "$@"'
        cd "$CLUSTER"
        umoci init --layout oci
        umoci new --image oci:x
        umoci insert --image oci:x rootfs /
        umoci insert --image oci:x --whiteout /www/index.html
        umoci config --image oci:x --config.cmd /bin/sh --config.cmd -c \
                --config.cmd 'echo "$GREETING $(ls /www | wc -l) $(id -u)"' \
                --config.env GREETING=hello --config.user 42
        umoci tag --image oci:x my/app:oci
        umoci rm --image oci:x
        skopeo copy -q oci:oci:my/app:oci docker-archive:docker.tar:my/app:docker
        skopeo copy -q oci:oci:my/app:oci oci-archive:oci.tar:my/app:tar
        skopeo copy -q --dest-compress --dest-compress-format zstd oci:oci:my/app:oci oci:zstd:my/app:zstd
        gzip -k docker.tar
}

blobs() { find "$CLUSTER/m1/manager/blobs/sha256" -type f | wc -l; }

# says NAME IMAGE: a service of the image's own command says what its config and layers make it say.
says() {
        ctl service create --detach --quiet --name "$1" --restart-condition none --network none "$2" >/dev/null
        wait_for 15 "end of $1" has_state "$1" Complete
        logs_have "$1" "hello 0 42"
        ctl service rm "$1" >/dev/null
}

@test "an OCI folder, OCI and docker tars, with gzip and zstd layers, run with their layers and config" {
        cd "$CLUSTER"
        [ "$(ctl image load oci)" = "Loaded image: my/app:oci" ]
        says folder my/app:oci
        [ "$(ctl image load oci.tar)" = "Loaded image: my/app:tar" ]
        [ "$(ctl image load -i docker.tar.gz)" = "Loaded image: my/app:docker" ]
        [ "$(ctl image load zstd)" = "Loaded image: my/app:zstd" ]
        says zstd my/app:zstd
        # One image under four names, its layers once on the node.
        [ "$(ctl image ls -q --no-trunc my/app | wc -l)" = 1 ]
        [ "$(ctl image ls --format '{{.Tag}}' my/app | sort | tr '\n' ' ')" = "docker oci tar zstd " ]
        [ "$(ls "$CLUSTER/n1/agent/images/layers" | wc -l)" = 2 ]
        [ -z "$(ls "$CLUSTER/n1/agent/images/tmp")" ]
}

@test "inspect shows the config, tag gives a further name" {
        [ "$(ctl image inspect -f '{{.Config.User}} {{json .Config.Env}}' my/app:oci)" = '42 ["GREETING=hello"]' ]
        [ "$(ctl image inspect my/app:oci | jq '.[0].RootFS.Layers | length')" = 2 ]
        ctl image tag my/app:oci other
        [ "$(ctl image inspect -f '{{.Id}}' other)" = "$(ctl image inspect -f '{{.Id}}' my/app:oci)" ]
        ctl image rm other
        expect_fail 1 "other" ctl image inspect other
}

@test "names of an archive that cannot be are told" {
        cd "$CLUSTER"
        mkdir named
        tar -C named -xf docker.tar
        sed -i 's|"RepoTags":\[[^]]*\]|"RepoTags":["My App:1","good:1"]|' named/manifest.json
        tar -C named -cf named.tar .
        run ctl image load --quiet named.tar
        [ "$status" = 0 ]
        printf '%s\n' "${lines[@]}" | grep -q "warning: sha256:.*a name in the archive is left out: image name My App:1: "
        printf '%s\n' "${lines[@]}" | grep -qx "Loaded image: good:1"
        sed -i 's|,"good:1"||' named/manifest.json
        tar -C named -cf named.tar .
        ctl image load --quiet named.tar 2>&1 | grep -q "warning: .*My App:1"
        ctl image load --quiet --tag other:1 named.tar 2>&1 | diff - <(echo "Loaded image: other:1")
        ctl image rm good:1 other:1
}

@test "what is no image is refused with one line" {
        cd "$CLUSTER"
        head -c 100000 docker.tar >cut.tar
        cp -r oci bad
        digest=$(basename "$(find bad/blobs/sha256 -size +100k)")
        printf x | dd of="bad/blobs/sha256/$digest" bs=1 seek=5000 conv=notrunc status=none
        tar -cf empty.tar --files-from /dev/null
        expect_fail 1 "no such file" ctl image load missing.tar
        expect_fail 1 "cut.tar: not an image archive" ctl image load cut.tar
        expect_fail 1 "not an image archive" ctl image load "$BUILD/swarmctl"
        expect_fail 1 "not an image archive" ctl image load empty.tar
        expect_fail 2 "image name" ctl image import 'Bad Name' rootfs.tar
        expect_fail 1 "must begin with CMD" ctl image import --change 'RUN x' a rootfs.tar
        mknod node b 8 0
        tar -cf device.tar node
        expect_fail 1 "node: device nodes" ctl image import device device.tar
        expect_fail 1 "no such image" ctl service create --detach --name none --network none nothing:1
        expect_fail 1 "no such image" ctl image rm nothing:1
        expect_fail 2 "image load" ctl image load a b
}

@test "a layer that would lead out of its folder is refused by the node, and nothing of it is left" {
        cd "$CLUSTER"
        before=$(ls "$CLUSTER/n1/agent/images/layers" | wc -l)
        ln -s /tmp link
        tar -cf evil.tar link
        mkdir -p evil/link
        echo bad >evil/link/owned-by-swarm-test
        tar -C evil -rf evil.tar link/owned-by-swarm-test
        ctl image import --change 'CMD ["/x"]' evil evil.tar
        ctl service create --detach --quiet --name evil --restart-condition none --network none evil
        wait_for 15 "its rejection" has_state evil Rejected
        ctl service ps evil --no-trunc --format '{{.Error}}' | grep -q "link/owned-by-swarm-test: leads through link"
        [ ! -e /tmp/owned-by-swarm-test ]
        [ "$(ls "$CLUSTER/n1/agent/images/layers" | wc -l)" = "$before" ]
        ctl service rm evil
}

@test "an image that was removed under its service is named, and the node that lacks it" {
        printf x >lost.file
        tar -cf lost.tar lost.file
        ctl image import --quiet --change 'CMD ["/x"]' lost lost.tar
        ctl service create --detach --quiet --name lost --replicas 0 --restart-condition none --network none lost
        ctl image rm --force lost
        ctl service scale --detach lost=1
        wait_for 15 "its rejection" has_state lost Rejected
        ctl service ps lost --no-trunc --format '{{.Error}}' | grep -qE '^"lost on node n[0-9]: image sha256:[0-9a-f]+: is not here'
        ctl service rm lost
}

@test "images outlive a manager that is killed; removed ones leave the disk" {
        daemon_stop m1 KILL
        manager_start m1
        [ "$(ctl image ls -q my/app | wc -l)" = 1 ]
        says again my/app:docker
        ctl service create --detach --quiet --name user --network none my/app:tar >/dev/null
        expect_fail 1 "user" ctl image rm my/app:tar my/app:oci my/app:docker my/app:zstd
        ctl service rm user
        wait_for 10 "its end" eval '[ -z "$(ctl service ls -q)" ]'
        ctl image rm $(ctl image ls --format '{{.Repository}}:{{.Tag}}')
        [ -z "$(ctl image ls -q)" ]
        wait_for 20 "an empty folder of blobs" eval '[ "$(blobs)" = 0 ]'
}
