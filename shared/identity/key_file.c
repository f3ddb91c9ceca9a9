/* The files node.key and cluster.pub of a data-dir: see identity.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/identity/identity.h"
#include "shared/seal/seal.h"

static int open_dir(const char *data_dir, int *ret, struct err *err)
{
        int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return err_set(err, errno, "%s: %s", data_dir, err_name(errno));
        *ret = fd;
        return 0;
}

static const char *failure_name(int r)
{
        return r == -ENOKEY    ? "sealed, for the manager here is autolocked"
               : r == -EBADMSG ? "sealed with another key, or damaged"
                               : err_name(r);
}

/* -ENOENT without text: the caller knows whether that is an error. */
static int read_key_at(int dir, const char *data_dir, const uint8_t *seal_key, struct net_keys *ret,
                       struct err *err)
{
        uint8_t secret[NET_KEY_BYTES];
        struct stat st;
        _cleanup_close_ int fd = openat(dir, "node.key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0 && errno == ENOENT)
                return -ENOENT;
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_set(err, errno, "%s/node.key: %s", data_dir, err_name(errno));
        if (!S_ISREG(st.st_mode))
                return err_set(err, EINVAL, "%s/node.key: not a file", data_dir);
        if (st.st_mode & 077)
                return err_set(err, EACCES,
                               "%s/node.key: permissions %04o let others read it, must be 0600",
                               data_dir, (unsigned)st.st_mode & 07777);
        if (st.st_size != NET_KEY_BYTES && st.st_size != NET_KEY_BYTES + SEAL_EXTRA_BYTES)
                return err_set(err, EINVAL, "%s/node.key: %lld bytes, a key has %d", data_dir,
                               (long long)st.st_size, NET_KEY_BYTES);
        int r = seal_read_file(dir, "node.key", seal_key, secret);
        if (r >= 0)
                r = net_keys_derive(secret, ret);
        explicit_bzero(secret, sizeof(secret));
        return r < 0 ? err_set(err, -r, "%s/node.key: %s", data_dir, failure_name(r)) : 0;
}

int identity_read_node_key(const char *data_dir, const uint8_t *seal_key, struct net_keys *ret,
                           struct err *err)
{
        _cleanup_close_ int dir = -1;
        int r = open_dir(data_dir, &dir, err);

        if (r < 0)
                return r;
        r = read_key_at(dir, data_dir, seal_key, ret, err);
        return r == -ENOENT ? err_set(err, ENOENT, "%s/node.key: %s", data_dir, err_name(r)) : r;
}

/* The key appears whole or not at all, and never in place of another. */
static int create_key_at(int dir)
{
        struct net_keys keys;
        char tmp[64];
        int r = net_keys_make(&keys);

        if (r < 0)
                return r;
        snprintf(tmp, sizeof(tmp), "node.key.%d", (int)getpid());
        unlinkat(dir, tmp, 0);
        _cleanup_close_ int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = io_write_all(fd, keys.secret_key, NET_KEY_BYTES);
        explicit_bzero(&keys, sizeof(keys));
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        /* Another daemon of the same data-dir may have been faster: its key is the node's. */
        if (r >= 0 && linkat(dir, tmp, dir, "node.key", 0) < 0 && errno != EEXIST)
                r = -errno;
        unlinkat(dir, tmp, 0);
        if (r >= 0 && fsync(dir) < 0)
                r = -errno;
        return r;
}

int identity_make_node_key(const char *data_dir, const uint8_t *seal_key, struct net_keys *ret,
                           struct err *err)
{
        _cleanup_close_ int dir = -1;
        int r = io_mkdir_all(data_dir, 0700);

        if (r < 0)
                return err_set(err, -r, "%s: %s", data_dir, err_name(r));
        r = open_dir(data_dir, &dir, err);
        if (r < 0)
                return r;
        r = read_key_at(dir, data_dir, seal_key, ret, err);
        if (r != -ENOENT)
                return r;
        r = create_key_at(dir);
        if (r < 0)
                return err_set(err, -r, "%s/node.key: cannot make it: %s", data_dir, err_name(r));
        r = read_key_at(dir, data_dir, seal_key, ret, err);
        return r == -ENOENT ? err_set(err, EIO, "%s/node.key: it vanished", data_dir) : r;
}

int identity_write_cluster_key(const char *data_dir, const uint8_t key[NET_KEY_BYTES],
                               struct err *err)
{
        char line[IDENTITY_KEY_TEXT_LEN + 2];
        _cleanup_close_ int dir = -1;
        int r = open_dir(data_dir, &dir, err);

        if (r < 0)
                return r;
        identity_key_format(key, line);
        line[IDENTITY_KEY_TEXT_LEN] = '\n';
        r = io_write_file_atomic(dir, "cluster.pub", line, IDENTITY_KEY_TEXT_LEN + 1, 0644);
        return r < 0 ? err_set(err, -r, "%s/cluster.pub: %s", data_dir, err_name(r)) : 0;
}

int identity_read_cluster_key(const char *data_dir, uint8_t ret[NET_KEY_BYTES], struct err *err)
{
        _cleanup_buf_ struct buf text = {0};
        _cleanup_close_ int dir = -1;
        int r = open_dir(data_dir, &dir, err);

        if (r < 0)
                return r;
        r = io_read_file(dir, "cluster.pub", 256, &text);
        if (r < 0)
                return err_set(err, -r, "%s/cluster.pub: %s", data_dir, err_name(r));
        if (text.len && text.data[text.len - 1] == '\n')
                text.data[--text.len] = 0;
        if (identity_key_parse(buf_str(&text), ret) < 0)
                return err_set(err, EINVAL, "%s/cluster.pub: not a cluster's key", data_dir);
        return 0;
}
