/* backup: the cluster's state as a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/ctl_internal.h"

#define PIECE_BYTES (1u << 20)
#define TRIES_MAX   5 /* that got a piece */

/* Answers come from the manager that made the copy, or none do: a copy whose maker leads no more is
 * as one whose connection broke. */
static int ask_piece(struct ctl *ctl, uint64_t offset, Swarm__Response **ret, struct err *err)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BackupGet m = SWARM__BACKUP_GET__INIT;

        m.offset = offset;
        m.max_bytes = PIECE_BYTES;
        q.kind_case = SWARM__REQUEST__KIND_BACKUP_GET;
        q.backup_get = &m;
        int r = ctl_call_try(ctl, &q, ret, err);
        if (r < 0)
                return r == -ESTALE ? -ENOTCONN : r;
        if ((*ret)->kind_case == SWARM__RESPONSE__KIND_BLOB_DATA &&
            (*ret)->blob_data->offset == offset && (*ret)->blob_data->data.len)
                return 0;
        wire_free(*ret);
        return err_set(err, EPROTO, "the manager gave no piece of a backup");
}

/* Takes all pieces; *ret_size is how many bytes that were, also when it is cut short. */
static int take_pieces(struct ctl *ctl, int fd, const char *path, uint64_t *ret_size,
                       struct err *err)
{
        uint64_t total = 1;

        if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return err_set(err, EIO, "%s: %s", path, err_name(errno));
        for (*ret_size = 0; *ret_size < total;) {
                Swarm__Response *piece = NULL;
                int r = ask_piece(ctl, *ret_size, &piece, err);

                if (r < 0)
                        return r;
                const Swarm__BlobData *data = piece->blob_data;
                int e = io_write_all(fd, data->data.data, data->data.len);
                *ret_size += data->data.len;
                total = data->total;
                wire_free(piece);
                if (e < 0)
                        return err_set(err, EIO, "%s: %s", path, err_name(e));
        }
        return 0;
}

/* From the beginning when the leader that made the copy is lost on the way. */
static int take_backup(struct ctl *ctl, int fd, const char *path, uint64_t *ret_size,
                       struct err *err)
{
        Swarm__Request q = {.kind_case = SWARM__REQUEST__KIND_BACKUP_GET};
        struct ctl_asking asking = {.begun_ms = time_now().mono_ms};
        int n_begun = 0, r;

        do {
                *err = (struct err){0};
                r = take_pieces(ctl, fd, path, ret_size, err);
                if (*ret_size > 0) {
                        n_begun++;
                        asking.begun_ms = time_now().mono_ms;
                }
        } while (n_begun < TRIES_MAX && ctl_asks_again(ctl, &q, &asking, r));
        return r;
}

/* What has come there meanwhile stays, without --force. */
static int put_in_place(int fd, const char *part, const char *path, bool force)
{
        if (fsync(fd) < 0)
                return -errno;
        int r = renameat2(AT_FDCWD, part, AT_FDCWD, path, force ? 0 : RENAME_NOREPLACE);
        if (r < 0 && errno == EINVAL) /* a file system that cannot do that */
                r = rename(part, path);
        return r < 0 ? -errno : io_sync_folder_of(AT_FDCWD, path);
}

/* Under another name until it is whole. */
static int write_backup(struct ctl *ctl, const char *path, bool force, uint64_t *ret_size,
                        struct err *err)
{
        _cleanup_free_ char *part = xasprintf("%s.part-XXXXXX", path);
        _cleanup_close_ int fd = mkostemp(part, O_CLOEXEC); /* mode 0600 */

        if (fd < 0)
                return err_set(err, EIO, "%s: %s", path, err_name(errno));
        ctl_remove_on_interrupt(part);
        int r = take_backup(ctl, fd, path, ret_size, err);
        if (r == 0) {
                int e = put_in_place(fd, part, path, force);

                r = e < 0 ? err_set(err, EIO, "%s: %s", path, err_name(e)) : 0;
        }
        if (r < 0)
                unlink(part);
        ctl_remove_on_interrupt(NULL);
        return r;
}

static int run_backup(struct ctl *ctl, const struct args *args)
{
        const char *path = args->rest[0];
        const bool force = args_on(args, "force");
        char size[FORMAT_MAX];
        struct err err = {0};
        struct stat st;
        uint64_t bytes = 0;
        const bool is_there = stat(path, &st) == 0;

        if (str_is_equal(path, "-"))
                return ctl_usage(ctl, "backup: must be a file: it is begun anew when the leader is "
                                      "lost, which a pipe cannot be");
        if (is_there && S_ISDIR(st.st_mode))
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s: is a folder", path);
        if (is_there && !force)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s: is there already (see --force)",
                                path);
        int r = write_backup(ctl, path, force, &bytes, &err);
        if (r < 0)
                return ctl_fail(ctl, (int)client_exit_code(r), "%s", err.text);
        printf("%s: %s. It holds the cluster's secret key: keep it safe.\n", path,
               format_size((int64_t)bytes, size));
        return CLIENT_EXIT_DONE;
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
