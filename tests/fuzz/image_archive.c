/* Fuzz: image archives: the index of a tar, manifests, and reading all blobs that they name. */
#include "shared/image/archive.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/tar_mutator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int count(void *arg, const void *p, size_t n)
{
        (void)p;
        *(size_t *)arg += n;
        return 0;
}

static void read_all(struct image_archive *a)
{
        struct err err = {0};
        size_t total = 0;

        for (size_t i = 0; i < image_archive_count(a); i++) {
                const Swarm__Image *m = image_archive_get(a, i)->msg;

                image_archive_read(a, m->id, 0, count, &total, &err);
                for (size_t k = 0; k < m->n_layers; k++)
                        image_archive_read(a, m->layers[k]->digest, 0, count, &total, &err);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        int fd = memfd_create("fuzz", MFD_CLOEXEC);
        struct image_archive *a;
        struct err err = {0};
        char path[64];

        if (fd < 0 || write(fd, data, n) != (ssize_t)n)
                return -1;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (image_archive_open(path, NULL, &a, &err) == 0) {
                read_all(a);
                image_archive_close(a);
        }
        close(fd);
        return 0;
}
