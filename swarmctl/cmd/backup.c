/* backup: the cluster's state as a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"

#define PIECE_BYTES (1u << 20)

static int ask_piece(struct ctl *ctl, uint64_t offset, Swarm__Response **ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BackupGet m = SWARM__BACKUP_GET__INIT;

        m.offset = offset;
        m.max_bytes = PIECE_BYTES;
        q.kind_case = SWARM__REQUEST__KIND_BACKUP_GET;
        q.backup_get = &m;
        int r = ctl_call(ctl, &q, ret);
        if (r == 0 && ((*ret)->kind_case != SWARM__RESPONSE__KIND_BLOB_DATA ||
                       (*ret)->blob_data->offset != offset || !(*ret)->blob_data->data.len)) {
                wire_free(*ret);
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "the manager gave no piece of a backup");
        }
        return r;
}

/* Takes all pieces; *ret_size is how many bytes that were. */
static int take_pieces(struct ctl *ctl, int fd, const char *path, uint64_t *ret_size)
{
        uint64_t offset = 0, total = 1;

        while (offset < total) {
                Swarm__Response *piece = NULL;
                int r = ask_piece(ctl, offset, &piece);

                if (r)
                        return r;
                const Swarm__BlobData *data = piece->blob_data;
                int e = io_write_all(fd, data->data.data, data->data.len);
                offset += data->data.len;
                total = data->total;
                wire_free(piece);
                if (e < 0)
                        return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s: %s", path, err_name(e));
        }
        *ret_size = total;
        return CLIENT_EXIT_DONE;
}

/* Under another name until it is whole. */
static int write_backup(struct ctl *ctl, const char *path, uint64_t *ret_size)
{
        _cleanup_free_ char *part = xasprintf("%s.part", path);
        _cleanup_close_ int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s: %s", part, err_name(errno));
        int r = take_pieces(ctl, fd, part, ret_size);
        if (r == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0 || rename(part, path) < 0))
                r = ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s: %s", path, err_name(errno));
        if (r)
                unlink(part);
        return r;
}

static int run_backup(struct ctl *ctl, const struct args *args)
{
        const char *path = args->rest[0];
        char size[FORMAT_MAX];
        uint64_t bytes = 0;

        if (!args_on(args, "force") && access(path, F_OK) == 0)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s: is there already (see --force)",
                                path);
        int r = write_backup(ctl, path, &bytes);
        if (r == 0)
                printf("%s: %s. It holds the cluster's secret key: keep it safe.\n", path,
                       format_size((int64_t)bytes, size));
        return r;
}

static const struct flag backup_flags[] = {
        {"force", 'f', FLAG_BOOL, "Replace the file if it is there", NULL},
        {0},
};

const struct command cmd_backup[] = {
        {.noun = "",
         .verb = "backup",
         .usage = "FILE",
         .summary = "Write the cluster's state to a file, for swarm-manager --restore",
         .args_min = 1,
         .args_max = 1,
         .flags = {{backup_flags}},
         .run = run_backup},
        {0},
};
