/*
 * The supervisor's inside. One thread, no heap, no stdio: all state is static and bounded. Files:
 * main.c (start, state, end), spec.c (bounds), child.c (the order of steps in the container's first
 * process), progress.c (how far it is), rootfs.c (opening below a root), mounts.c, dev.c, binds.c,
 * fill.c, copyup.c (file systems), user.c, creds.c (identity, limits, capabilities, exec), log.c,
 * serve.c, exec.c, message.c, init.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/shim/shim.h"

/* What was handed over at the start; kept for execs. */
struct shim {
        const struct shim_spec *spec; /* mapped only while starting */
        int spec_fd, folder_fd, lock_fd, seccomp_fd, cgroup2_fd, oom_fd;
        int tasks_fd[SHIM_HIERARCHIES];
        int n_tasks;
        pid_t pid;
        int pidfd;
        uint64_t start_time;
        int out_fd[2]; /* our ends of stdout and stderr, -1: closed; a tty has only the first */
};
extern struct shim shim;

/* Text without stdio: all stop at the buffer's end and leave a NUL. */
struct text {
        char *p;
        size_t n, cap;
};
void text_add(struct text *t, const char *s);
void text_add_number(struct text *t, int64_t v);
bool text_parse_number(const char *s, size_t n, uint64_t *ret);    /* all n characters are digits */
const char *spec_text(const struct shim_spec *s, uint32_t offset); /* "" for 0 */
const char *spec_item(const struct shim_spec *s, const struct shim_list *l, uint32_t i);
const struct shim_spec *spec_map(int fd); /* NULL: not a valid spec */
void spec_unmap(const struct shim_spec *s);

/* --- message.c --- */
int message_send(int fd, const struct shim_message *m, const void *text, int pass_fd, int flags);
/* ret_fds gets up to *n_fds descriptors. Returns bytes of text, -EPIPE at the end, -errno. */
int message_receive(int fd, struct shim_message *m, char *text, size_t cap, int *ret_fds,
                    int *n_fds, int flags);

/* --- failing. In the first process and in execs: tells the parent, ends the process. --- */
extern int child_sync_fd;
_Noreturn void child_fail(int exit_code, int err, const char *what, const char *name);
static inline void child_check(long r, const char *what, const char *name)
{
        if (r < 0)
                child_fail(125, (int)-r, what, name);
}
/* A numbered place where a test makes the start fail; nothing in the product's program. */
#ifdef SHIM_TEST
void step(void);
#else
static inline void step(void)
{
}
#endif

/* --- progress.c. open: before the first process is made; close: once its program runs. --- */
int progress_open(void);
void progress_close(void);
void progress_at(const char *what, const char *name); /* what is begun now, and may last */
void progress_made(void);                             /* it goes on */
bool progress_look(char text[SHIM_TEXT_MAX]);         /* it has gone on since the last look */

/* --- child.c --- */
_Noreturn void child_main(int sync_fd, const int stdio[3]);
void child_join_cgroups(void);
void child_set_stdio(const int stdio[3]);

/* --- rootfs.c: every path below the container's root goes through these --- */
int root_open(int root, const char *path, uint64_t flags);
/* An O_PATH descriptor of a folder (or file) that is made, with its parents, when missing. */
int root_open_make(int root, const char *path, bool is_folder, unsigned mode);
/* A regular file to be read, without ever waiting: -EINVAL for anything else. */
int root_open_file(int root, const char *path);

/* --- mounts.c, dev.c, binds.c, fill.c, copyup.c --- */
int mount_overlay(void); /* the new root's descriptor, attached */
int mount_new(const char *type, unsigned attributes, const char *const *options);
int mount_proc(void); /* detached */
void mount_attach(int mount, int root, const char *path);
void mount_system(int root, int proc);
void mount_protect(int root);
void mount_pivot(int root);
int dev_make(int root);                    /* a descriptor of its null, for stdin */
void dev_make_tty(int root, int stdio[3]); /* replaces all three */
void binds_open(void);                     /* before the tree becomes private */
void binds_attach(int root);
/* source: the volume's path on the host; NULL: nobody else fills it, now or later. */
int fill_volume(int from, int to, const char *source);
int fill_made(int fd, size_t n_bytes); /* so much was copied, to fd's file system */
int copy_is_empty(int folder);
int copy_owner(int from, int to); /* and mode */
int copy_up(int from, int to);    /* what is in to already stays */
int set_read_only(int mount, bool is_recursive);

/* --- user.c --- */
struct user {
        uid_t uid;
        gid_t gid;
        gid_t groups[SHIM_GROUPS_MAX + 1];
        int n_groups;
        char home[256];
};
void user_find(int root, struct user *ret);

/* --- creds.c --- */
void creds_set_limits(void);
void creds_write_sysctls(int proc);
void creds_prepare(const struct user *u); /* capabilities, ids, no_new_privs */
char **creds_env(const struct user *u);
void creds_make_workdir(int root); /* when it is missing; before the root is read-only */
void creds_enter_workdir(int root);
/* Finds, filters and executes; argv NULL: the spec's. */
_Noreturn void creds_exec(char **argv, char **env, int exe_fd);

/* --- log.c --- */
int log_open(void);
void log_read(int stream); /* what is there, and sets out_fd -1 at its end */
void log_finish(void);     /* the unfinished lines */
void log_idle(void);       /* gives back memory */
uint64_t log_dropped(void);
int64_t wall_us(void);

/* --- serve.c, exec.c --- */
int serve_listen(void);
void serve_run(int agent_fd, struct shim_message *ret_exited);
bool serve_is_forgotten(int wait_ms); /* the agent removes the container within that time */
void serve_send_all(const struct shim_message *m);
void serve_answer(int connection, const struct shim_message *m, const char *text);
struct pollfd;
int exec_start(const struct shim_message *m, const char *args, int conn);
int exec_poll(struct pollfd *p); /* fills in up to 3 for each; returns how many */
int exec_timeout(void);          /* ms until the next one is due, -1: none */
void exec_advance(void);
void exec_forget(int conn);

int init_main(char **argv);
