/* The manager beside the agent: see promote.h. */
#include "agent/promote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

#define UNIT          "swarm-manager.service"
#define UNIT_DATA_DIR "/var/lib/swarm" /* what a unit is for that is told nothing else */
#define SYSTEMCTL     "/usr/bin/systemctl"

struct promote {
        struct promote_config config;
        struct loop *loop;
        struct loop_timer *timer;
        enum node_role role;
        bool is_told;     /* the role, since the start */
        bool is_told_off; /* that it is another's manager was logged */
        int64_t pause_ms;
};

static char *path_of(const struct promote *p, const char *name)
{
        return xasprintf("%s/%s", p->config.data_dir, name);
}

static bool is_there(const struct promote *p, const char *name)
{
        _cleanup_free_ char *path = path_of(p, name);

        return access(path, F_OK) == 0;
}

/* Its lock is asked for shared, and for an instant: a manager that starts just then ends, and is
 * started again. */
static bool is_running(const struct promote *p)
{
        _cleanup_free_ char *path = path_of(p, "manager/swarm.lock");
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* --- word for the manager -----------------------------------------------------------------------
 */
static int leave_word(const struct promote *p)
{
        _cleanup_free_ char *path = path_of(p, "agent/manager");
        const char *address = p->config.address(p->config.arg);
        bool is_v6 = strchr(address, ':') != NULL;
        _cleanup_buf_ struct buf b = {0};

        buf_printf(&b, "join: \"%s\"\nadvertise: \"%s%s%s\"\n", p->config.manager(p->config.arg),
                   is_v6 ? "[" : "", address, is_v6 ? "]" : "");
        return io_write_file_atomic(AT_FDCWD, path, b.data, b.len, 0600);
}

static void take_word_back(const struct promote *p)
{
        _cleanup_free_ char *path = path_of(p, "agent/manager");

        if (unlink(path) == 0)
                log_info("this node is a worker again: no manager is started here any more");
        else if (errno != ENOENT)
                log_error("cannot remove %s error=%s", path, err_name(errno));
}

/* --- starting it --------------------------------------------------------------------------------
 */
/* One that ends well was taken off the members, which the next heartbeat tells us, or was told to
 * end by a person, who may want a moment. */
static void on_exit_of_it(void *arg, pid_t pid, int wait_status)
{
        struct promote *p = arg;
        int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -WTERMSIG(wait_status);

        if (code)
                log_warn("the manager of this node has ended: see its log pid=%d status=%d", pid,
                         code);
        else
                loop_timer_set(p->timer, PROMOTE_LOOK_MS);
}

static int spawn_unit(struct promote *p)
{
        char *argv[] = {(char *)SYSTEMCTL, (char *)"--no-block", (char *)"start",
                        (char *)(uintptr_t)p->config.unit, NULL};
        const int fds[] = {-1, STDERR_FILENO, STDERR_FILENO};
        pid_t pid = loop_spawn(p->loop, &(struct loop_spawn){.argv = argv, .fds = fds, .n_fds = 3});

        log_info("starting the manager of this node unit=%s", p->config.unit);
        return MIN(pid, 0);
}

static int spawn_program(struct promote *p)
{
        _cleanup_free_ char *log = path_of(p, "manager.log");
        _cleanup_close_ int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        char *argv[] = {(char *)(uintptr_t)p->config.program, (char *)"--data-dir",
                        (char *)(uintptr_t)p->config.data_dir, NULL};
        const int fds[] = {-1, fd, fd};

        if (fd < 0)
                return -errno;
        pid_t pid = loop_spawn(p->loop, &(struct loop_spawn){.argv = argv,
                                                             .fds = fds,
                                                             .n_fds = 3,
                                                             .has_own_session = true,
                                                             .on_exit = on_exit_of_it,
                                                             .arg = p});
        if (pid > 0)
                log_info("started the manager of this node pid=%d log=%s", pid, log);
        return MIN(pid, 0);
}

static void start(struct promote *p)
{
        bool has_word = !p->is_told || !*p->config.address(p->config.arg); /* one of before */
        int r = has_word ? 0 : leave_word(p);

        if (r < 0)
                log_error("cannot write %s/agent/manager error=%s", p->config.data_dir,
                          err_name(r));
        else if ((r = p->config.unit ? spawn_unit(p) : spawn_program(p)) < 0)
                log_error("the manager of this node, %s, cannot be started: %s",
                          p->config.unit ? p->config.unit : p->config.program, err_name(r));
        loop_timer_set(p->timer, p->pause_ms);
        p->pause_ms = MIN(2 * p->pause_ms, PROMOTE_PAUSE_MAX_MS);
}

/* --- looking after it ---------------------------------------------------------------------------
 */
static void look_as_manager(struct promote *p)
{
        if (!is_there(p, "agent/manager") && is_there(p, "manager/swarm.db")) {
                if (!p->is_told_off)
                        log_info(
                                "the manager of this data-dir does not run; it was set up by hand, "
                                "and is to be started so");
                p->is_told_off = true;
        } else if (!is_there(p, "agent/manager") && !*p->config.address(p->config.arg)) {
                log_error("this node is a manager, but its address is not known: see --advertise");
        } else {
                start(p);
                return;
        }
        loop_timer_set(p->timer, PROMOTE_LOOK_MS);
}

/* One that did not run when it was taken off the members starts once more: it is told so, and
 * removes its state. */
static void look_as_worker(struct promote *p)
{
        if (!is_there(p, "agent/manager"))
                return;
        if (is_there(p, "manager/swarm.db"))
                start(p);
        else
                take_word_back(p);
}

static void look(void *arg)
{
        struct promote *p = arg;

        if (is_running(p)) {
                p->pause_ms = PROMOTE_PAUSE_MS;
                loop_timer_set(p->timer, PROMOTE_LOOK_MS);
        } else if (p->role == ROLE_MANAGER) {
                look_as_manager(p);
        } else {
                look_as_worker(p);
        }
}

void promote_set_role(struct promote *p, enum node_role role)
{
        if (p->is_told && p->role == role)
                return;
        p->is_told = true;
        p->role = role;
        p->is_told_off = false;
        p->pause_ms = PROMOTE_PAUSE_MS;
        loop_timer_set(p->timer, 0);
}

void promote_resume(struct promote *p)
{
        if (!is_there(p, "agent/manager"))
                return;
        p->role = ROLE_MANAGER;
        p->pause_ms = PROMOTE_PAUSE_MS;
        loop_timer_set(p->timer, 0);
}

const char *promote_find_unit(const char *data_dir)
{
        static const char *const folders[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"};

        if (!getenv("INVOCATION_ID") || access("/run/systemd/system", F_OK) < 0 ||
            access(SYSTEMCTL, X_OK) < 0 || !str_is_equal(data_dir, UNIT_DATA_DIR))
                return NULL;
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                _cleanup_free_ char *path = xasprintf("%s/systemd/system/" UNIT, folders[i]);

                if (access(path, F_OK) == 0)
                        return UNIT;
        }
        return NULL;
}

struct promote *promote_new(struct loop *l, const struct promote_config *c)
{
        struct promote *p = xnew(struct promote);

        p->config = *c;
        p->loop = l;
        p->timer = loop_timer_new(l, look, p);
        return p;
}

void promote_free(struct promote *p)
{
        if (!p)
                return;
        loop_timer_free(p->timer);
        free(p);
}
