/*
 * The manager's flags: the table, the checks, and the one setting that is remembered between
 * starts, the address that others reach it under. See options.h.
 */
#include "manager/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/config/config.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "version.h"

#define DEFAULT_DATA_DIR "/var/lib/swarm"

static const struct config_flag FLAGS[] = {
        {"data-dir", CONFIG_STR, offsetof(struct options, data_dir), "DIR",
         "where the node's key and all state are kept (" DEFAULT_DATA_DIR ")"},
        {"advertise", CONFIG_STR, offsetof(struct options, advertise), "IP[:PORT]",
         "where agents and managers reach this one; kept between starts"},
        {"listen", CONFIG_STR, offsetof(struct options, listen), "IP:PORT",
         "where to listen (0.0.0.0 and the advertised port)"},
        {"init", CONFIG_BOOL, offsetof(struct options, init), NULL,
         "make a new cluster, unless there is one in the data-dir already"},
        {"join", CONFIG_STR, offsetof(struct options, join), "HOST:PORT",
         "join the cluster of that manager"},
        {"token", CONFIG_STR, offsetof(struct options, token), "TOKEN", "join token for managers"},
        {"force-new-cluster", CONFIG_BOOL, offsetof(struct options, force_new_cluster), NULL,
         "go on alone: the other managers are lost for good"},
        {"restore", CONFIG_STR, offsetof(struct options, restore), "FILE",
         "begin with the state of that backup, as the only manager"},
        {"hostname", CONFIG_STR, offsetof(struct options, hostname), "NAME",
         "name of this node (the machine's)"},
        {"log-level", CONFIG_STR, offsetof(struct options, log_level), "LEVEL",
         "debug, info (default), warn or error"},
};

static const struct config_program PROGRAM = {
        .name = "swarm-manager",
        .version = SWARM_VERSION,
        .about = "Usage: swarm-manager --data-dir DIR --advertise IP[:PORT] --init\n"
                 "       swarm-manager --data-dir DIR --advertise IP[:PORT] --join HOST:PORT "
                 "--token "
                 "TOKEN\n"
                 "       swarm-manager --data-dir DIR\n"
                 "Keeps the desired state of a cluster's services and places their tasks on nodes.",
        .flags = FLAGS,
        .n_flags = ARRAY_SIZE(FLAGS),
};

void options_done(struct options *o)
{
        config_done(&PROGRAM, o);
}

static int check(struct options *o, struct err *err)
{
        char address[ADDRESS_TEXT_MAX];
        struct join_token token;

        o->level = LOG_LEVEL_INFO;
        if (o->log_level && log_level_parse(o->log_level, &o->level) < 0)
                return err_set(err, EINVAL,
                               "--log-level: \"%.32s\" is not debug, info, warn or "
                               "error",
                               o->log_level);
        if (o->advertise) {
                if (parse_host_port(o->advertise, DEFAULT_PORT, address) < 0)
                        return err_set(err, EINVAL, "--advertise: \"%.64s\" is not IP[:PORT]",
                                       o->advertise);
                free(o->advertise);
                o->advertise = xstrdup(address);
        }
        if (o->listen && parse_host_port(o->listen, 0, address) < 0)
                return err_set(err, EINVAL, "--listen: \"%.64s\" is not IP:PORT", o->listen);
        if (o->hostname && !name_is_valid(o->hostname))
                return err_set(err, EINVAL, "--hostname: \"%.64s\" is not a name", o->hostname);
        if ((o->join != NULL) + o->init + o->force_new_cluster + (o->restore != NULL) > 1)
                return err_set(
                        err, EINVAL,
                        "--init, --join, --restore and --force-new-cluster exclude each other");
        if (o->token && join_token_parse(o->token, &token, err) < 0)
                return -err->code;
        if (!o->data_dir)
                o->data_dir = xstrdup(DEFAULT_DATA_DIR);
        if (*o->data_dir != '/')
                return err_set(err, EINVAL, "--data-dir: \"%.64s\" is not an absolute path",
                               o->data_dir);
        if (!o->hostname) {
                char name[NAME_MAX_LEN + 1] = "";

                if (gethostname(name, sizeof(name)) || !name_is_valid(name))
                        snprintf(name, sizeof(name), "manager");
                name[NAME_MAX_LEN] = 0;
                o->hostname = xstrdup(name);
        }
        return 0;
}

int options_parse(int argc, char *const *argv, struct options *ret, FILE *out, struct err *err)
{
        *ret = (struct options){0};
        int r = config_parse(&PROGRAM, argc, argv, ret, out, err);
        return r ? r : check(ret, err);
}

int options_take_promotion(struct options *o, struct err *err)
{
        _cleanup_free_ char *path = xasprintf("%s/agent/manager", o->data_dir);
        _cleanup_free_ char *address = xasprintf("%s/manager/address", o->data_dir);
        char *argv[] = {(char *)"swarm-manager", (char *)"--config", path, NULL};
        struct options promoted;

        if (o->init || o->join || o->restore || o->force_new_cluster || access(path, F_OK) < 0)
                return 0;
        int r = options_parse(3, argv, &promoted, stderr, err);
        if (r == 0) {
                o->join = STEAL_PTR(promoted.join);
                if (!o->advertise && access(address, F_OK) < 0)
                        o->advertise = STEAL_PTR(promoted.advertise);
        }
        options_done(&promoted);
        return r;
}

static int set_listen(struct options *o)
{
        if (!o->listen)
                o->listen = xasprintf("%s%s", *o->advertise == '[' ? "[::]" : "0.0.0.0",
                                      strrchr(o->advertise, ':'));
        return 0;
}

int options_complete(struct options *o, struct err *err)
{
        _cleanup_free_ char *path = xasprintf("%s/manager/address", o->data_dir);
        _cleanup_buf_ struct buf kept = {0};
        char address[ADDRESS_TEXT_MAX];
        int r;

        if (o->advertise) {
                /* What is there already is not written again: the disk may be full. */
                if (io_read_file(AT_FDCWD, path, ADDRESS_TEXT_MAX, &kept) == 0 &&
                    str_is_equal(buf_str(&kept), o->advertise))
                        return set_listen(o);
                r = io_write_file_atomic(AT_FDCWD, path, o->advertise, strlen(o->advertise), 0600);
                if (r < 0)
                        return err_set(err, -r, "%s: %s", path, err_name(r));
        } else {
                r = io_read_file(AT_FDCWD, path, ADDRESS_TEXT_MAX, &kept);
                if (r == -ENOENT)
                        return err_set(err, EINVAL,
                                       "--advertise IP[:PORT] is needed at the first "
                                       "start");
                if (r < 0 || parse_host_port(buf_str(&kept), 0, address) < 0)
                        return err_set(err, EINVAL, "%s: %s", path,
                                       r < 0 ? err_name(r) : "not an address");
                o->advertise = xstrdup(address);
        }
        return set_listen(o);
}
