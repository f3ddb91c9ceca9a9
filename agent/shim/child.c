/*
 * The container's first process, from clone to execve: the order of steps. It speaks to its parent
 * over a SEQPACKET pair: a message FAILED ends it; STARTED says that all is ready; then it waits
 * for the parent's START, which comes once the state is on disk. The end of the pair is execve's
 * success.
 */
#include <linux/close_range.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

int child_sync_fd = -1;

_Noreturn void child_fail(int exit_code, int err, const char *what, const char *name)
{
        char text[SHIM_TEXT_MAX];
        struct text t = {text, 0, sizeof(text)};
        size_t n = strlen(what);

        text_add(&t, what);
        if (n && what[n - 1] != '/')
                text_add(&t, " ");
        text_add(&t, name);
        struct shim_message m = {
                .type = SHIM_FAILED, .value = err, .status = exit_code, .length = (uint32_t)t.n};

        message_send(child_sync_fd, &m, text, -1, 0);
        _exit(exit_code);
}

#ifdef SHIM_TEST
void step(void)
{
        static int count;
        int at = shim.spec->fail_at;

        count++;
        if (at == count)
                child_fail(125, EIO, "injected failure", "");
        if (at == -count)
                kill(getpid(), SIGKILL), _exit(1);
}
#endif

/* "0" means the writer; through "tasks" the kernel needs no lock over all threads for it. */
void child_join_cgroups(void)
{
        for (int i = 0; i < shim.n_tasks; i++)
                child_check(write(shim.tasks_fd[i], "0", 1) < 0 ? -errno : 0, "enter", "cgroup");
}

static void raise_loopback(void)
{
        struct ifreq r = {.ifr_name = "lo"};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        child_check(fd < 0 ? -errno : 0, "raise", "lo");
        r.ifr_flags = IFF_UP | IFF_RUNNING;
        child_check(ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? -errno : 0, "raise", "lo");
        close(fd);
}

void child_set_stdio(const int stdio[3])
{
        for (int i = 0; i < 3; i++)
                child_check(dup2(stdio[i], i) < 0 ? -errno : 0, "set", "descriptors");
}

static void make_private(void)
{
        int fd = open("/", O_PATH | O_CLOEXEC);
        struct mount_attr a = {.propagation = 1 << 18};

        child_check(fd < 0 ? -errno : 0, "open", "/");
        child_check(sys_mount_setattr(fd, AT_RECURSIVE, &a), "mount", "/");
        close(fd);
}

/* The folder again, by its path in this mount namespace: a descriptor from outside it can neither
 * be a layer nor be mounted upon. */
static void reopen_folder(void)
{
        const char *path = spec_text(shim.spec, shim.spec->folder);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat a, b;

        child_check(fd < 0 ? -errno : 0, "open", path);
        if (fstat(fd, &a) < 0 || fstat(shim.folder_fd, &b) < 0 || a.st_dev != b.st_dev ||
            a.st_ino != b.st_ino)
                child_fail(125, ESTALE, "open", path);
        close(shim.folder_fd);
        shim.folder_fd = fd;
}

static int set_up_files(int stdio[3])
{
        reopen_folder();
        binds_open();
        make_private();
        step();
        int root = mount_overlay();
        step();
        int proc = mount_proc();

        creds_write_sysctls(proc);
        step();
        mount_system(root, proc);
        step();
        stdio[0] = dev_make(root);
        step();
        binds_attach(root);
        step();
        if (shim.spec->flags & SHIM_TTY)
                dev_make_tty(root, stdio);
        mount_protect(root);
        step();
        creds_make_workdir(root);
        mount_pivot(root);
        step();
        return root;
}

/* A new session: with a terminal, the one it controls. */
static void set_session(int stdio[3])
{
        child_check(setsid() < 0 ? -errno : 0, "set", "session");
        child_set_stdio(stdio);
        if (shim.spec->flags & SHIM_TTY)
                child_check(ioctl(0, TIOCSCTTY, 0) < 0 ? -errno : 0, "set", "terminal");
}

/* The user may open again what is written to, or the terminal. The null device is nobody's. */
static void give_stdio(const struct user *u)
{
        bool is_tty = shim.spec->flags & SHIM_TTY;

        for (int i = is_tty ? 0 : 1; i < (is_tty ? 1 : 3); i++)
                (void)!fchown(i, u->uid, u->gid);
}

static void wait_for_go(void)
{
        struct shim_message m = {.type = SHIM_STARTED};

        if (message_send(child_sync_fd, &m, "", -1, 0) < 0 ||
            message_receive(child_sync_fd, &m, NULL, 0, NULL, NULL, 0) < 0 || m.type != SHIM_START)
                _exit(125);
}

static void reset_signals(void)
{
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                signal(i, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void child_main(int sync_fd, const int stdio[3])
{
        int io[3] = {stdio[0], stdio[1], stdio[2]};
        const char *hostname = spec_text(shim.spec, shim.spec->hostname);
        struct user user;

        child_sync_fd = sync_fd;
        close(shim.lock_fd); /* it says that the supervisor lives */
        step();
        child_join_cgroups();
        child_check(sys_result(syscall(SYS_unshare, CLONE_NEWCGROUP)), "unshare", "cgroup");
        step();
        if (!(shim.spec->flags & SHIM_HOST_NETWORK))
                raise_loopback();
        int root = set_up_files(io);

        child_check(sethostname(hostname, strlen(hostname)) < 0 ? -errno : 0, "set", "hostname");
        user_find(root, &user);
        step();
        creds_set_limits();
        set_session(io);
        give_stdio(&user);
        creds_enter_workdir(root);
        step();
        creds_prepare(&user);
        step();
        child_check(sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), "close", "descriptors");
        umask(022);
        reset_signals();
        wait_for_go();
        creds_exec(NULL, creds_env(&user), SHIM_FD_EXE);
}
