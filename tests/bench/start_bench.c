/*
 * How long a container takes: start `true` with full isolation, its end, all of it cleaned up; one
 * at a time, and as many at once as the runtime lets. Debian's crun does the same in between
 * (without layers: it gets a folder), so that both meet the same machine. Also the memory of a
 * supervisor whose container idles. Prints JSON lines.
 */
#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/runtime/isolation_internal.h"
#include "shared/base/base.h"
#include "tests/lib/container_rig.h"

#define RUNS       100
#define BURST      200
#define IDLE_COUNT 20

extern char **environ;

static int compare(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

        return x < y ? -1 : x > y;
}

static double median_ms(int64_t *us, size_t n)
{
        qsort(us, n, sizeof(*us), compare);
        return (double)us[n / 2] / 1000;
}

static void run_ours(struct rig *r, int64_t *ret_us)
{
        char *const argv[] = {"true", NULL};
        struct container_config c = rig_config(r, argv);
        c.memory_bytes = 256 << 20;
        c.nano_cpus = NANO_PER_CPU;
        c.pids = 100;
        int64_t begin = time_mono_us();
        int result = rig_start(r, &c);

        assert(result == 0);
        if (!r->is_exited)
                rig_wait_exit(r);
        rig_remove(r, c.id);
        *ret_us = time_mono_us() - begin;
        assert(r->exit.status == 0);
}

/* --- the peer: crun, on the same root file system, with the same isolation. It does not know of
 * machines with both kinds of cgroups: it runs in a mount namespace where the cgroup2 tree is
 * hidden. A server in that namespace runs it on request, so that only crun's own time counts. ---
 */
static void put_list(struct buf *b, const char *key, const char *const *v)
{
        buf_printf(b, "\"%s\":[", key);
        for (size_t i = 0; v[i]; i++)
                buf_printf(b, "%s\"%s\"", i ? "," : "", v[i]);
        buf_puts(b, "]");
}

static void put_seccomp(struct buf *b, const char *architectures)
{
        const char *comma = "";

        buf_printf(b,
                   "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":"
                   "[%s],\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[",
                   architectures);
        for (const struct profile_rule *p = profile_rules; p->names; p++) {
                _cleanup_strv_ char **names = p->caps ? NULL : str_split(p->names, ' ');

                for (size_t i = 0; names && names[i]; i++, comma = ",")
                        buf_printf(b, "%s\"%s\"", comma, names[i]);
        }
        buf_puts(b, "]},{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"socket\"],\"args\":[{"
                    "\"index\":0,\"value\":38,\"op\":\"SCMP_CMP_LT\"}]},{\"action\":"
                    "\"SCMP_ACT_ALLOW\",\"names\":[\"clone\"],\"args\":[{\"index\":0,\"value\":"
                    "2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}");
}

static void put_mounts(struct buf *b)
{
        buf_puts(b, "\"mounts\":["
                    "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
                    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
                    "[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
                    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
                    "\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\","
                    "\"mode=0620\",\"gid=5\"]},"
                    "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
                    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
                    "{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
                    "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
                    "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
                    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
                    "{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
                    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}]");
}

static void put_bundle(const char *folder, const char *rootfs, const char *cgroup,
                       const char *architectures)
{
        static const char *const caps[] = {"CAP_CHOWN",
                                           "CAP_DAC_OVERRIDE",
                                           "CAP_FSETID",
                                           "CAP_FOWNER",
                                           "CAP_MKNOD",
                                           "CAP_NET_RAW",
                                           "CAP_SETGID",
                                           "CAP_SETUID",
                                           "CAP_SETFCAP",
                                           "CAP_SETPCAP",
                                           "CAP_NET_BIND_SERVICE",
                                           "CAP_SYS_CHROOT",
                                           "CAP_KILL",
                                           "CAP_AUDIT_WRITE",
                                           NULL};
        static const char *const masks[] = {"/proc/acpi",
                                            "/proc/asound",
                                            "/proc/interrupts",
                                            "/proc/kcore",
                                            "/proc/keys",
                                            "/proc/latency_stats",
                                            "/proc/sched_debug",
                                            "/proc/scsi",
                                            "/proc/timer_list",
                                            "/proc/timer_stats",
                                            "/sys/firmware",
                                            "/sys/devices/virtual/powercap",
                                            NULL};
        static const char *const guards[] = {
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};
        _cleanup_buf_ struct buf b = {0};
        _cleanup_free_ char *path = xasprintf("%s/config.json", folder);

        buf_puts(&b, "{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":false,\"cwd\":\"/\","
                     "\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"true\"],\"env\":[\"PATH=/bin\"],"
                     "\"noNewPrivileges\":true,\"capabilities\":{");
        put_list(&b, "bounding", caps);
        buf_puts(&b, ",");
        put_list(&b, "effective", caps);
        buf_puts(&b, ",");
        put_list(&b, "permitted", caps);
        buf_printf(&b, "}},\"root\":{\"path\":\"%s\",\"readonly\":false},\"hostname\":\"box\",",
                   rootfs);
        put_mounts(&b);
        buf_printf(&b,
                   ",\"linux\":{\"cgroupsPath\":\"/%s-crun\",\"namespaces\":[{\"type\":\"pid\"},"
                   "{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"},"
                   "{\"type\":\"network\"}],\"resources\":{"
                   "\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],\"memory\":{\"limit\":"
                   "268435456},\"cpu\":{\"quota\":100000,\"period\":100000},\"pids\":{\"limit\":"
                   "100}},",
                   cgroup);
        put_list(&b, "maskedPaths", masks);
        buf_puts(&b, ",");
        put_list(&b, "readonlyPaths", guards);
        buf_puts(&b, ",");
        put_seccomp(&b, architectures);
        buf_puts(&b, "}}\n");
        int r = io_write_file_atomic(AT_FDCWD, path, b.data, b.len, 0600);
        assert(r == 0);
}

static int64_t run_crun(const char *bundle)
{
        char *const argv[] = {"crun", "run", "-b", (char *)(uintptr_t)bundle, "swarm-bench", NULL};
        int64_t begin = time_mono_us();
        int status = -1;
        pid_t pid;

        if (posix_spawnp(&pid, "crun", NULL, NULL, argv, environ) != 0)
                return -1;
        waitpid(pid, &status, 0);
        return status == 0 ? time_mono_us() - begin : -1;
}

/* Answers each byte with the microseconds of one run, or -1. */
static _Noreturn void serve(int in, int out, const char *bundle)
{
        char byte;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                _exit(1);
        if (access("/sys/fs/cgroup/unified", F_OK) == 0)
                umount("/sys/fs/cgroup/unified");
        while (read(in, &byte, 1) == 1) {
                int64_t us = run_crun(bundle);

                if (write(out, &us, sizeof(us)) != sizeof(us))
                        break;
        }
        _exit(0);
}

struct peer {
        pid_t pid;
        int in, out;
};

static void peer_start(struct peer *p, const struct rig *r, const char *name,
                       const char *architectures)
{
        _cleanup_free_ char *bundle = xasprintf("%s/%s", r->folder, name);
        int to[2], from[2];
        int result =
                mkdir(bundle, 0700) < 0 || pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0;

        assert(!result);
        put_bundle(bundle, r->rootfs, r->cgroup, architectures);
        signal(SIGPIPE, SIG_IGN);
        p->pid = fork();
        if (p->pid == 0) {
                close(to[1]);
                close(from[0]);
                serve(to[0], from[1], bundle);
        }
        close(to[0]);
        close(from[1]);
        p->in = to[1];
        p->out = from[0];
}

static int64_t peer_run(struct peer *p)
{
        int64_t us = -1;

        if (write(p->in, "x", 1) != 1 || read(p->out, &us, sizeof(us)) != sizeof(us))
                return -1;
        return us;
}

/* All are told before one is waited for: each may hold copies of the other's pipes. */
static void peers_stop(struct peer *p, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                close(p[i].in);
                close(p[i].out);
        }
        for (size_t i = n; i-- > 0;)
                waitpid(p[i].pid, NULL, 0);
}

/* --- many at once --- */
struct burst {
        struct rig *rig;
        struct runtime *runtime;
        int n_started, n_exited, n_removed;
        bool is_done;
};
static struct burst burst;

static void on_burst_removed(void *arg)
{
        struct burst *b = arg;

        b->is_done = ++b->n_removed == BURST;
}

static void on_burst_started(void *arg, struct id id, pid_t pid, const struct err *err)
{
        struct burst *b = arg;

        (void)id, (void)pid;
        if (err)
                fprintf(stderr, "start_bench: %s\n", err->text);
        assert(!err);
        b->n_started++;
}

static void on_burst_exit(void *arg, struct id id, const struct container_exit *e)
{
        struct burst *b = arg;

        assert(e->status == 0);
        b->n_exited++;
        runtime_remove(b->runtime, id, on_burst_removed, b);
}

static double burst_per_second(struct rig *r)
{
        struct runtime_config c = {.root = r->run,
                                   .shim_path = r->shim,
                                   .cgroup_name = r->cgroup,
                                   .events = {.arg = &burst, .on_exit = on_burst_exit}};
        char *const argv[] = {"true", NULL};
        struct err err = {0};

        runtime_close(r->runtime);
        r->runtime = NULL;
        int result = runtime_open(r->loop, &c, &r->runtime, &err);
        assert(result == 0);
        burst = (struct burst){.rig = r, .runtime = r->runtime};
        int64_t begin = time_mono_us();

        for (int i = 0; i < BURST; i++) {
                struct container_config config = rig_config(r, argv);

                runtime_start(r->runtime, &config, on_burst_started, &burst);
        }
        rig_wait(r, &burst.is_done);
        return BURST * 1e6 / (double)(time_mono_us() - begin);
}

/* --- memory of supervisors --- */
static int64_t smaps_kb(pid_t pid, const char *key)
{
        char path[64];
        _cleanup_buf_ struct buf b = {0};
        long long kb = 0;

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
        if (io_read_file(AT_FDCWD, path, 1 << 16, &b) < 0)
                return 0;
        const char *p = strstr(buf_str(&b), key);

        if (p)
                sscanf(p + strlen(key), "%lld", &kb);
        return kb;
}

static pid_t parent_of(pid_t pid)
{
        char path[64];
        _cleanup_buf_ struct buf b = {0};
        int parent = 0;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (io_read_file(AT_FDCWD, path, 4096, &b) < 0 ||
            sscanf(strrchr(buf_str(&b), ')'), ") %*c %d", &parent) != 1)
                return 0;
        return parent;
}

static void measure_memory(struct rig *r, double *ret_rss, double *ret_pss)
{
        char *const argv[] = {"sleep", "1000", NULL};
        struct container_config c[IDLE_COUNT];
        pid_t shims[IDLE_COUNT];

        for (int i = 0; i < IDLE_COUNT; i++) {
                c[i] = rig_config(r, argv);
                int result = rig_start(r, &c[i]);

                assert(result == 0);
                shims[i] = parent_of(r->pid);
        }
        *ret_rss = *ret_pss = 0;
        for (int i = 0; i < IDLE_COUNT; i++) {
                *ret_rss += (double)smaps_kb(shims[i], "\nRss:") / IDLE_COUNT / 1024;
                *ret_pss += (double)smaps_kb(shims[i], "\nPss:") / IDLE_COUNT / 1024;
        }
        for (int i = 0; i < IDLE_COUNT; i++) {
                r->is_exited = false;
                runtime_kill(r->runtime, c[i].id);
                rig_wait_exit(r);
                rig_remove(r, c[i].id);
        }
}

static void print_latency(const char *note, double ours, int64_t *peers, bool has_peer)
{
        printf("{\"figure\":\"start true and clean up, median%s\",\"value\":%.2f,\"unit\":\"ms\"",
               note, ours);
        if (has_peer)
                printf(",\"peer\":\"crun\",\"peer_value\":%.2f", median_ms(peers, RUNS));
        printf(",\"aim\":\"a quarter of crun's\"}\n");
}

/* crun twice: with the seccomp profile as Docker hands it over, for three architectures, and for
 * the native one alone, as ours is. */
static void measure_latency(struct rig *r)
{
        static int64_t ours[RUNS], peers[RUNS], natives[RUNS];
        struct peer p[2];

        peer_start(&p[0], r, "all", "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"");
        peer_start(&p[1], r, "native", "\"SCMP_ARCH_X86_64\"");
        bool has_peer = peer_run(&p[0]) > 0 && peer_run(&p[1]) > 0;

        run_ours(r, &ours[0]); /* the seccomp profile is made once */
        for (int i = 0; i < RUNS; i++) {
                run_ours(r, &ours[i]);
                if (!has_peer)
                        continue;
                peers[i] = peer_run(&p[0]);
                natives[i] = peer_run(&p[1]);
        }
        if (!has_peer)
                fprintf(stderr, "start_bench: crun cannot be run here: no peer\n");
        double ms = median_ms(ours, RUNS);

        print_latency("", ms, peers, has_peer);
        print_latency(" (crun's filter native only)", ms, natives, has_peer);
        peers_stop(p, ARRAY_SIZE(p));
}

int main(void)
{
        double rss, pss;
        struct rig r;

        if (!rig_open(&r, NULL)) {
                fprintf(stderr, "start_bench: needs root and /bin/busybox\n");
                return 1;
        }
        measure_latency(&r);
        measure_memory(&r, &rss, &pss);
        printf("{\"figure\":\"container starts per second\",\"value\":%.0f,\"unit\":\"1/s\","
               "\"aim\":\"100\"}\n",
               burst_per_second(&r));
        printf("{\"figure\":\"supervisor per container, RSS\",\"value\":%.3f,\"unit\":\"MB\"}\n",
               rss);
        printf("{\"figure\":\"supervisor per container, PSS\",\"value\":%.3f,\"unit\":\"MB\","
               "\"aim\":\"0.05\"}\n",
               pss);
        rig_close(&r);
        return 0;
}
