/*
 * Fuzz: unpacking a layer. Beside the target lies what must stay as it is; the process has a mount
 * namespace and a small disk of its own.
 */
#include "shared/image/layer.h"

#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "tests/fuzz/tar_mutator.h"

#define DISK      "/mnt"
#define BYTES_MAX (1 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int disk;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        (void)argv;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", DISK, "tmpfs", 0, "size=64m") < 0)
                abort(); /* must run as root */
        disk = open(DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(disk >= 0 && mkdirat(disk, "out", 0700) == 0);
        assert(io_write_file_atomic(disk, "out/canary", "x", 1, 0600) == 0);
        return 0;
}

static void check_canary(void)
{
        struct stat st, folder;

        assert(fstatat(disk, "out/canary", &st, AT_SYMLINK_NOFOLLOW) == 0);
        assert(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0600 && st.st_nlink == 1 &&
               st.st_size == 1 && st.st_uid == 0);
        assert(fstatat(disk, "out", &folder, AT_SYMLINK_NOFOLLOW) == 0 && folder.st_nlink == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        int blob = memfd_create("fuzz", MFD_CLOEXEC), root;
        struct layer_result result;
        struct err err = {0};

        if (blob < 0 || write(blob, data, n) != (ssize_t)n || lseek(blob, 0, SEEK_SET) < 0)
                return -1;
        assert(mkdirat(disk, "root", 0755) == 0);
        root = openat(disk, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(root >= 0);
        int r = layer_unpack(blob, root, NULL, BYTES_MAX, &result, &err);
        assert(r == 0 || err.text[0]);
        close(root);
        close(blob);
        assert(io_remove_tree(disk, "root") == 0);
        check_canary();
        return 0;
}
