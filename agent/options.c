/*
 * The agent's flags: the table, the checks, and the description of the node that follows from them
 * and from the machine. See options.h.
 */
#include "agent/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/config/config.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "version.h"

#define DEFAULT_DATA_DIR   "/var/lib/swarm"
#define LABELS_MAX         256
#define NAMES_MAX          1024 /* of one generic resource */
#define SETTINGS_BYTES_MAX (1u << 20)

static const struct config_flag FLAGS[] = {
        {"data-dir", CONFIG_STR, offsetof(struct agent_options, data_dir), "DIR",
         "where the node's key, images and containers are kept (" DEFAULT_DATA_DIR ")"},
        {"join", CONFIG_STR, offsetof(struct agent_options, join), "HOST:PORT",
         "a manager of the cluster; needed at the first start"},
        {"token", CONFIG_STR, offsetof(struct agent_options, token), "TOKEN",
         "join token; needed at the first start"},
        {"advertise", CONFIG_STR, offsetof(struct agent_options, advertise), "IP",
         "where other nodes reach this one"},
        {"hostname", CONFIG_STR, offsetof(struct agent_options, hostname), "NAME",
         "name of this node (the machine's)"},
        {"label", CONFIG_LIST, offsetof(struct agent_options, labels), "KEY=VALUE",
         "engine label, for constraints; may be repeated"},
        {"reserve-cpu", CONFIG_CPU, offsetof(struct agent_options, reserve_cpu), "N",
         "CPUs that services may not reserve"},
        {"reserve-memory", CONFIG_SIZE, offsetof(struct agent_options, reserve_memory), "SIZE",
         "memory that services may not reserve"},
        {"generic-resource", CONFIG_LIST, offsetof(struct agent_options, generic),
         "KIND=N|KIND=NAME,...", "what services may reserve besides; may be repeated"},
        {"shim", CONFIG_STR, offsetof(struct agent_options, shim), "PATH",
         "the supervisor's program (swarm-shim beside this program)"},
        {"manager", CONFIG_STR, offsetof(struct agent_options, manager), "PATH",
         "the manager's program, run once the node is promoted (swarm-manager beside this "
         "program)"},
        {"cgroup-parent", CONFIG_STR, offsetof(struct agent_options, cgroup_parent), "NAME",
         "parent of the containers' cgroups (swarm-<key of the node>)"},
        {"log-level", CONFIG_STR, offsetof(struct agent_options, log_level), "LEVEL",
         "debug, info (default), warn or error"},
};

/* The flags that a later start may leave out: then they are what an earlier one told. Told empty
 * (a number: 0) they are forgotten. */
static const char *const KEPT[] = {"advertise",        "label",    "reserve-cpu", "reserve-memory",
                                   "generic-resource", "hostname", "shim",        "manager",
                                   "cgroup-parent",    NULL};
#define NOT_TOLD (-1) /* of a number */

static const struct config_program PROGRAM = {
        .name = "swarm-agent",
        .version = SWARM_VERSION,
        .about = "Usage: swarm-agent --data-dir DIR --join HOST:PORT --token TOKEN\n"
                 "       swarm-agent --data-dir DIR\n"
                 "Runs the containers that the cluster's managers place on this node.",
        .flags = FLAGS,
        .n_flags = ARRAY_SIZE(FLAGS),
        .may_be_empty = KEPT,
};

void agent_options_done(struct agent_options *o)
{
        config_done(&PROGRAM, o);
        free(o->unpack);
        buf_done(&o->to_keep);
}

static int check_join(const struct agent_options *o, struct err *err)
{
        const char *colon = o->join ? strrchr(o->join, ':') : NULL;
        uint64_t port;

        if (!o->join)
                return 0;
        if (!colon || colon == o->join || parse_u64(colon + 1, &port) < 0 || port < 1 ||
            port > UINT16_MAX || strlen(o->join) > 255 || !text_is_valid(o->join))
                return err_set(err, EINVAL, "--join: \"%.64s\" is not HOST:PORT", o->join);
        return 0;
}

static int check_labels(const struct agent_options *o, struct err *err)
{
        for (size_t i = 0; o->labels && o->labels[i]; i++) {
                const char *value;
                size_t n;

                if (i >= LABELS_MAX)
                        return err_set(err, EINVAL, "--label: more than %d", LABELS_MAX);
                if (parse_key_value(o->labels[i], &n, &value) < 0 || !text_is_valid(o->labels[i]) ||
                    memchr(o->labels[i], ' ', n))
                        return err_set(err, EINVAL, "--label: \"%.64s\" is not KEY=VALUE",
                                       o->labels[i]);
        }
        return 0;
}

static char *default_hostname(void)
{
        char name[NAME_MAX_LEN + 1] = "";

        if (gethostname(name, sizeof(name) - 1) || !name_is_valid(name))
                snprintf(name, sizeof(name), "node");
        return xstrdup(name);
}

/* A program that lies beside our own, or where `make install` puts it. */
static char *find_program(const char *name)
{
        char path[4096];
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

        if (n > 0) {
                path[n] = 0;
                *strrchr(path, '/') = 0;
                char *beside = xasprintf("%s/%s", path, name);
                if (access(beside, X_OK) == 0)
                        return beside;
                free(beside);
                *strrchr(path, '/') = 0;
                return xasprintf("%s/libexec/swarm/%s", path, name);
        }
        return xasprintf("/usr/local/libexec/swarm/%s", name);
}

static int check(struct agent_options *o, struct err *err)
{
        uint8_t binary[sizeof(struct in6_addr)];

        o->level = LOG_LEVEL_INFO;
        if (o->log_level && log_level_parse(o->log_level, &o->level) < 0)
                return err_set(err, EINVAL,
                               "--log-level: \"%.32s\" is not debug, info, warn or error",
                               o->log_level);
        if (!str_is_empty(o->advertise) && inet_pton(AF_INET, o->advertise, binary) != 1 &&
            inet_pton(AF_INET6, o->advertise, binary) != 1)
                return err_set(err, EINVAL, "--advertise: \"%.64s\" is not an IP address",
                               o->advertise);
        if (!str_is_empty(o->hostname) && !name_is_valid(o->hostname))
                return err_set(err, EINVAL, "--hostname: \"%.64s\" is not a name", o->hostname);
        if (!str_is_empty(o->cgroup_parent) && !name_is_valid(o->cgroup_parent))
                return err_set(err, EINVAL, "--cgroup-parent: \"%.64s\" is not a name",
                               o->cgroup_parent);
        if (!o->data_dir)
                o->data_dir = xstrdup(DEFAULT_DATA_DIR);
        if (*o->data_dir != '/')
                return err_set(err, EINVAL, "--data-dir: \"%.64s\" is not an absolute path",
                               o->data_dir);
        struct join_token token;
        int r = check_join(o, err);
        if (r == 0 && o->token)
                r = join_token_parse(o->token, &token, err);
        return r < 0 ? r : check_labels(o, err);
}

int agent_options_parse(int argc, char *const *argv, struct agent_options *ret, FILE *out,
                        struct err *err)
{
        *ret = (struct agent_options){.reserve_cpu = NOT_TOLD, .reserve_memory = NOT_TOLD};
        int r = config_parse(&PROGRAM, argc, argv, ret, out, err);
        return r ? r : check(ret, err);
}

/* --- remembering -------------------------------------------------------------------------------
 */

/* A text as YAML has it between double quotes; checked texts have no control characters. */
static void put_quoted(struct buf *b, const char *s)
{
        buf_putc(b, '"');
        for (; *s; s++) {
                if (*s == '"' || *s == '\\')
                        buf_putc(b, '\\');
                buf_putc(b, *s);
        }
        buf_putc(b, '"');
}

static bool is_kept(const char *name)
{
        for (size_t i = 0; KEPT[i]; i++)
                if (str_is_equal(KEPT[i], name))
                        return true;
        return false;
}

static void write_flag(struct buf *b, const struct config_flag *f, const void *field)
{
        char text[FORMAT_MAX];

        if (f->type == CONFIG_STR && !str_is_empty(*(char *const *)field)) {
                buf_printf(b, "%s: ", f->name);
                put_quoted(b, *(char *const *)field);
                buf_putc(b, '\n');
        } else if (f->type == CONFIG_LIST && strv_len(*(char **const *)field) > 0) {
                buf_printf(b, "%s:\n", f->name);
                for (char **v = *(char **const *)field; *v; v++) {
                        buf_puts(b, "  - ");
                        put_quoted(b, *v);
                        buf_putc(b, '\n');
                }
        } else if (f->type == CONFIG_CPU && *(const int64_t *)field > 0) {
                buf_printf(b, "%s: \"%s\"\n", f->name, format_cpu(*(const int64_t *)field, text));
        } else if (f->type == CONFIG_SIZE && *(const int64_t *)field > 0) {
                buf_printf(b, "%s: \"%lld\"\n", f->name, (long long)*(const int64_t *)field);
        }
}

/* Moves what only the earlier start told. */
static void take_missing(struct agent_options *o, struct agent_options *earlier)
{
        for (size_t i = 0; i < ARRAY_SIZE(FLAGS); i++) {
                void *to = (char *)o + FLAGS[i].offset, *from = (char *)earlier + FLAGS[i].offset;

                if (!is_kept(FLAGS[i].name))
                        continue;
                if (FLAGS[i].type == CONFIG_CPU || FLAGS[i].type == CONFIG_SIZE) {
                        if (*(int64_t *)to == NOT_TOLD)
                                *(int64_t *)to = *(int64_t *)from;
                } else if (!*(void **)to) {
                        *(void **)to = STEAL_PTR(*(void **)from);
                }
        }
}

static int recall(struct agent_options *o, const char *path, struct err *err)
{
        char *argv[] = {(char *)"swarm-agent", (char *)"--config", (char *)path, NULL};
        struct agent_options earlier = {.reserve_cpu = NOT_TOLD, .reserve_memory = NOT_TOLD};
        int r = 0;

        if (access(path, F_OK) < 0)
                return 0;
        r = config_parse(&PROGRAM, 3, argv, &earlier, stderr, err);
        if (r == 0)
                r = check(&earlier, err);
        if (r == 0)
                take_missing(o, &earlier);
        agent_options_done(&earlier);
        return r;
}

static void write_kept(struct agent_options *o)
{
        for (size_t i = 0; i < ARRAY_SIZE(FLAGS); i++)
                if (is_kept(FLAGS[i].name))
                        write_flag(&o->to_keep, &FLAGS[i], (const char *)o + FLAGS[i].offset);
}

static bool is_written(const char *path, const struct buf *b)
{
        _cleanup_buf_ struct buf now = {0};

        return io_read_file(AT_FDCWD, path, SETTINGS_BYTES_MAX, &now) == 0 && now.len == b->len &&
               !memcmp(now.data, b->data, b->len);
}

/* A node whose disk is full must come back to its containers: then the earlier settings stay. */
int agent_options_keep(const struct agent_options *o, struct err *err)
{
        _cleanup_free_ char *path = xasprintf("%s/agent/settings", o->data_dir);
        const struct buf *b = &o->to_keep;

        if (is_written(path, b) || (b->len == 0 && access(path, F_OK) < 0))
                return 0;
        int r = io_write_file_atomic(AT_FDCWD, path, b->data, b->len, 0600);
        if (r == -ENOSPC && access(path, F_OK) == 0) {
                log_warn("the next start will not know what this one was told error=%s path=%s",
                         err_name(r), path);
                return 0;
        }
        return r < 0 ? err_set(err, -r, "%s: %s", path, err_name(r)) : 0;
}

/* What was told to be empty is as if it had never been told. */
static void open_empty(struct agent_options *o)
{
        char **texts[] = {&o->advertise, &o->hostname, &o->shim, &o->manager, &o->cgroup_parent};

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (*texts[i] && !**texts[i])
                        free(STEAL_PTR(*texts[i]));
        o->reserve_cpu = MAX(o->reserve_cpu, 0);
        o->reserve_memory = MAX(o->reserve_memory, 0);
}

int agent_options_recall(struct agent_options *o, struct err *err)
{
        _cleanup_free_ char *path = xasprintf("%s/agent/settings", o->data_dir);
        int r = recall(o, path, err);

        if (r < 0)
                return r;
        write_kept(o);
        open_empty(o);
        if (!o->hostname)
                o->hostname = default_hostname();
        return 0;
}

int agent_options_find_programs(struct agent_options *o, struct err *err)
{
        if (!o->shim)
                o->shim = find_program("swarm-shim");
        if (access(o->shim, X_OK) < 0)
                return err_set(err, errno, "--shim: %s: %s", o->shim, err_name(errno));
        if (!o->manager) /* looked for when it is needed */
                o->manager = find_program("swarm-manager");
        o->unpack = find_program("swarm-unpack");
        if (access(o->unpack, X_OK) < 0)
                return err_set(err, errno, "%s: %s", o->unpack, err_name(errno));
        return 0;
}

/* --- the node ------------------------------------------------------------------------------------
 */
/* Which data-dir of which machine since which boot this is. A copy of the folder is another. */
static char *name_host(const char *data_dir)
{
        _cleanup_buf_ struct buf boot = {0};
        struct stat st;

        if (stat(data_dir, &st) < 0 ||
            io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot) < 0)
                return NULL;
        return xasprintf("%.36s-%jx-%jx", buf_str(&boot), (uintmax_t)st.st_dev,
                         (uintmax_t)st.st_ino);
}

/* "gpu=4" or "gpu=a,b": fills g with texts of the heap. */
static int parse_generic(const char *s, Swarm__GenericResource *g, struct err *err)
{
        const char *value;
        uint64_t count;
        size_t n;

        if (parse_key_value(s, &n, &value) < 0)
                return err_set(err, EINVAL, "--generic-resource: \"%.64s\" is not KIND=VALUE", s);
        g->kind = xstrndup(s, n);
        if (!name_is_valid(g->kind) || !*value)
                return err_set(err, EINVAL, "--generic-resource: \"%.64s\" is not valid", s);
        if (parse_u64(value, &count) == 0 && count <= INT32_MAX) {
                g->count = (int64_t)count;
                return 0;
        }
        g->names = str_split(value, ',');
        g->n_names = strv_len(g->names);
        for (size_t i = 0; i < g->n_names; i++)
                if (!name_is_valid(g->names[i]) || g->n_names > NAMES_MAX)
                        return err_set(err, EINVAL, "--generic-resource: \"%.64s\" is not valid",
                                       s);
        return 0;
}

static int describe(const struct agent_options *o, Swarm__NodeDescription *d,
                    Swarm__Resources *capacity, struct err *err)
{
        struct sysinfo info;

        if (sysinfo(&info) < 0)
                return err_set(err, errno, "sysinfo: %s", err_name(errno));
        capacity->nano_cpus = sysconf(_SC_NPROCESSORS_ONLN) * NANO_PER_CPU - o->reserve_cpu;
        capacity->memory_bytes = (int64_t)info.totalram * info.mem_unit - o->reserve_memory;
        if (capacity->nano_cpus < 0 || capacity->memory_bytes < 0)
                return err_set(err, EINVAL, "--reserve-cpu, --reserve-memory: more than there is");
        d->hostname = o->hostname;
        d->os = (char *)(uintptr_t) "linux";
        d->capacity = capacity;
        d->engine_version = (char *)(uintptr_t)SWARM_VERSION;
        d->address = (char *)(uintptr_t)(o->advertise ? o->advertise : "");
        d->protocol = DISPATCH_PROTOCOL;
        d->protocol_oldest = DISPATCH_PROTOCOL_OLDEST;
        return 0;
}

int agent_describe(const struct agent_options *o, Swarm__NodeDescription **ret, struct err *err)
{
        Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
        Swarm__Resources capacity = SWARM__RESOURCES__INIT;
        size_t n_generic = strv_len(o->generic), n_labels = strv_len(o->labels);
        _cleanup_free_ Swarm__GenericResource *generic =
                xnew_array(Swarm__GenericResource, n_generic);
        _cleanup_free_ Swarm__GenericResource **generics =
                xnew_array(Swarm__GenericResource *, n_generic);
        _cleanup_free_ Swarm__KeyValue *label = xnew_array(Swarm__KeyValue, n_labels);
        _cleanup_free_ Swarm__KeyValue **labels = xnew_array(Swarm__KeyValue *, n_labels);
        struct utsname machine;
        int r = describe(o, &d, &capacity, err);

        uname(&machine);
        d.arch = machine.machine;
        for (size_t i = 0; r == 0 && i < n_generic; i++) {
                swarm__generic_resource__init(&generic[i]);
                generics[i] = &generic[i];
                r = parse_generic(o->generic[i], &generic[i], err);
        }
        for (size_t i = 0; i < n_labels; i++) {
                const char *value = "";
                size_t n = 0;

                parse_key_value(o->labels[i], &n, &value);
                swarm__key_value__init(&label[i]);
                label[i].key = xstrndup(o->labels[i], n);
                label[i].value = (char *)(uintptr_t)value;
                labels[i] = &label[i];
        }
        capacity.generic = generics;
        capacity.n_generic = n_generic;
        _cleanup_free_ char *host = name_host(o->data_dir);
        if (host)
                d.host = host;
        d.engine_labels = labels;
        d.n_engine_labels = n_labels;
        if (r == 0)
                *ret = wire_dup(&d);
        for (size_t i = 0; i < n_generic && generics[i]; i++) {
                if (generic[i].kind != protobuf_c_empty_string)
                        free(generic[i].kind);
                strv_free(generic[i].names);
        }
        for (size_t i = 0; i < n_labels; i++)
                free(label[i].key);
        return r;
}

/* Connecting a datagram socket sends nothing: it only picks the route. */
static char *address_to(const struct addrinfo *to)
{
        char text[NI_MAXHOST];
        struct sockaddr_storage from;
        socklen_t n = sizeof(from);
        _cleanup_close_ int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) < 0 ||
            getsockname(fd, (struct sockaddr *)&from, &n) < 0 ||
            getnameinfo((struct sockaddr *)&from, n, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
                return NULL;
        return xstrdup(text);
}

char *agent_address_to(const char *host_port)
{
        const char *colon = strrchr(host_port, ':');
        struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
        bool is_bracketed = host_port[0] == '[';
        char *address = NULL;

        if (!colon || (is_bracketed && colon[-1] != ']'))
                return NULL;
        size_t n = (size_t)(colon - host_port) - (is_bracketed ? 2 : 0);
        _cleanup_free_ char *host = xstrndup(host_port + is_bracketed, n);
        if (getaddrinfo(host, colon + 1, &hints, &found) == 0)
                address = address_to(found);
        if (found)
                freeaddrinfo(found);
        return address;
}
