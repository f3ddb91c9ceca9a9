/*
 * The manager's flags: the table, the checks, and the one setting that is remembered between
 * starts, the address that others reach it under. See options.h.
 */
#include "manager/options.h"

#include <arpa/inet.h>
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
#include "shared/model/model.h"
#include "version.h"

#define DEFAULT_DATA_DIR "/var/lib/swarm"
#define ADDRESS_MAX      128

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
        {"hostname", CONFIG_STR, offsetof(struct options, hostname), "NAME",
         "name of this node (the machine's)"},
        {"log-level", CONFIG_STR, offsetof(struct options, log_level), "LEVEL",
         "debug, info (default), warn or error"},
};

static const struct config_program PROGRAM = {
        .name = "swarm-manager",
        .version = SWARM_VERSION,
        .about = "Usage: swarm-manager --data-dir DIR --advertise IP[:PORT] --init\n"
                 "       swarm-manager --data-dir DIR\n"
                 "Keeps the desired state of a cluster's services and places their tasks on nodes.",
        .flags = FLAGS,
        .n_flags = ARRAY_SIZE(FLAGS),
};

void options_done(struct options *o)
{
        config_done(&PROGRAM, o);
}

/* "IP", "IP:PORT", "[IP6]:PORT" to "IP:PORT" in canonical form. */
static int parse_address(const char *s, bool needs_port, char ret[ADDRESS_MAX])
{
        uint64_t port = DEFAULT_PORT;
        char ip[INET6_ADDRSTRLEN + 1];
        uint8_t binary[sizeof(struct in6_addr)];
        bool is_bracketed = *s == '[';
        const char *end = is_bracketed ? strchr(s, ']') : strchr(s, ':');
        const char *colon = is_bracketed && end ? end + 1 : end;
        size_t n = end ? (size_t)(end - s) - is_bracketed : strlen(s);

        if ((is_bracketed && !end) || n >= sizeof(ip))
                return -EINVAL;
        memcpy(ip, s + is_bracketed, n);
        ip[n] = 0;
        if (inet_pton(is_bracketed ? AF_INET6 : AF_INET, ip, binary) != 1)
                return -EINVAL;
        if (colon && *colon) {
                if (*colon != ':' || parse_u64(colon + 1, &port) || port < 1 || port > UINT16_MAX)
                        return -EINVAL;
        } else if (needs_port) {
                return -EINVAL;
        }
        snprintf(ret, ADDRESS_MAX, is_bracketed ? "[%s]:%u" : "%s:%u", ip, (unsigned)port);
        return 0;
}

static int check(struct options *o, struct err *err)
{
        char address[ADDRESS_MAX];

        o->level = LOG_LEVEL_INFO;
        if (o->log_level && log_level_parse(o->log_level, &o->level) < 0)
                return err_set(err, EINVAL,
                               "--log-level: \"%.32s\" is not debug, info, warn or "
                               "error",
                               o->log_level);
        if (o->advertise) {
                if (parse_address(o->advertise, false, address) < 0)
                        return err_set(err, EINVAL, "--advertise: \"%.64s\" is not IP[:PORT]",
                                       o->advertise);
                free(o->advertise);
                o->advertise = xstrdup(address);
        }
        if (o->listen && parse_address(o->listen, true, address) < 0)
                return err_set(err, EINVAL, "--listen: \"%.64s\" is not IP:PORT", o->listen);
        if (o->hostname && !name_is_valid(o->hostname))
                return err_set(err, EINVAL, "--hostname: \"%.64s\" is not a name", o->hostname);
        if (o->join || o->token)
                return err_set(err, ENOTSUP,
                               "--join: this version has one manager a cluster; "
                               "other machines join as workers with swarm-agent");
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
        char address[ADDRESS_MAX];
        int r;

        if (o->advertise) {
                /* What is there already is not written again: the disk may be full. */
                if (io_read_file(AT_FDCWD, path, ADDRESS_MAX, &kept) == 0 &&
                    str_is_equal(buf_str(&kept), o->advertise))
                        return set_listen(o);
                r = io_write_file_atomic(AT_FDCWD, path, o->advertise, strlen(o->advertise), 0600);
                if (r < 0)
                        return err_set(err, -r, "%s: %s", path, err_name(r));
        } else {
                r = io_read_file(AT_FDCWD, path, ADDRESS_MAX, &kept);
                if (r == -ENOENT)
                        return err_set(err, EINVAL,
                                       "--advertise IP[:PORT] is needed at the first "
                                       "start");
                if (r < 0 || parse_address(buf_str(&kept), true, address) < 0)
                        return err_set(err, EINVAL, "%s: %s", path,
                                       r < 0 ? err_name(r) : "not an address");
                o->advertise = xstrdup(address);
        }
        return set_listen(o);
}
