/*
 * swarm-init: process 1 of a container that asked for one. Starts the program (its path in argv[1],
 * its arguments from argv[2]), hands on every signal, reaps, and ends with the program's status.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

extern char **environ;

static _Noreturn void run(char **argv)
{
        sigset_t none;

        sigemptyset(&none);
        setpgid(0, 0);
        if (isatty(0)) {
                signal(SIGTTOU, SIG_IGN);
                tcsetpgrp(0, getpgrp());
                signal(SIGTTOU, SIG_DFL);
        }
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(argv[1], argv + 2, environ);
        _exit(errno == ENOENT ? 127 : 126);
}

/* The status to end with, or -1 while the program runs. */
static int reap(pid_t program)
{
        int status, result = -1;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (pid == program)
                        result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return result;
}

int init_main(char **argv)
{
        sigset_t all;

        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL); /* as the supervisor has set it already */
        pid_t program = fork();
        if (program < 0)
                return 125;
        if (program == 0)
                run(argv);
        for (;;) {
                int signum = sigwaitinfo(&all, NULL);

                if (signum == SIGCHLD) {
                        int status = reap(program);

                        if (status >= 0)
                                return status;
                } else if (signum > 0) {
                        kill(program, signum);
                }
        }
}
