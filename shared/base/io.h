/* Files and descriptors. All descriptors are CLOEXEC. Failures are -errno. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

int io_write_all(int fd, const void *p, size_t n);
/* Reads exactly n bytes; -EIO when the file ends before. */
int io_read_exact(int fd, void *p, size_t n);
/* Reads a whole file (relative to dirfd, AT_FDCWD for a path); -EFBIG above max_bytes. */
int io_read_file(int dirfd, const char *path, size_t max_bytes, struct buf *ret);
/* Writes path.tmp, syncs it, renames it over path and syncs the folder: all or nothing. */
int io_write_file_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode);
/* Makes durable what a file or folder is called. */
int io_sync_folder_of(int dirfd, const char *path);
/* Copies a file to a path that must not exist yet, and syncs it and the folder: all or nothing. */
int io_copy_file(const char *from, const char *to, mode_t mode);
/* Makes a folder and its parents; an existing one is fine. */
int io_mkdir_all(const char *path, mode_t mode);
/* Removes a file or a whole tree below dirfd without following links; missing is fine. Whatever the
 * tree's shape: three descriptors, bounded memory. Stops with -EBUSY at what is mounted in it. */
int io_remove_tree(int dirfd, const char *name);
/* openat2(2): flags as for open, resolve as RESOLVE_*; mode for O_CREAT. */
int io_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
