/*
 * The ballast: a file beside the database that takes up room. When others have filled the disk to
 * the last byte it is given up, and what it held is room for the log: so the manager starts and
 * goes on, and images can be removed. It is made again once there is room for it and as much more.
 * What can fail: that there is no room. Then there is no ballast, and it is tried again later.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "manager/store/db_file_internal.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"

/* Bytes that are free on the disk; UINT64_MAX: not known. */
static uint64_t room(const char *dir)
{
        struct statvfs fs;

        if (statvfs(dir, &fs) < 0)
                return UINT64_MAX;
        return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static bool is_whole(const char *path)
{
        struct stat st;

        return stat(path, &st) == 0 && st.st_size == DB_BALLAST_BYTES &&
               st.st_blocks * 512LL >= DB_BALLAST_BYTES;
}

bool ballast_release(struct db_file *f)
{
        if (unlink(f->ballast) < 0)
                return false;
        log_warn("the disk is full: %d MiB that were kept for this are given to the log; make room "
                 "file=%s",
                 DB_BALLAST_BYTES >> 20, f->path);
        return true;
}

void ballast_open(struct db_file *f, const char *dir)
{
        f->dir = xstrdup(dir);
        f->ballast = xasprintf("%s/ballast", dir);
        if (room(dir) < DB_BALLAST_BYTES)
                ballast_release(f);
}

void ballast_make(struct db_file *f)
{
        if (is_whole(f->ballast) || room(f->dir) < 2 * DB_BALLAST_BYTES)
                return;
        int fd = open(f->ballast, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return;
        int e = posix_fallocate(fd, 0, DB_BALLAST_BYTES);
        close(fd);
        if (e)
                unlink(f->ballast);
}

void ballast_done(struct db_file *f)
{
        free(f->dir);
        free(f->ballast);
}
