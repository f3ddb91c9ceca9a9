/*
 * The default seccomp profile: what an ordinary program may call. Everything known and not named is
 * refused with EPERM, what is newer than the tables with ENOSYS. Rules with conditions on arguments
 * (socket, clone, clone3, personality) are in seccomp.c. 32-bit and x32 calls are refused
 * altogether: they double the filter and are a second way to everything.
 */
#include "agent/runtime/runtime_internal.h"

#define CAP(n) (1ull << (n))

const struct profile_rule profile_rules[] = {
        {0,
         "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir "
         "chmod chown chroot clock_adjtime clock_getres clock_gettime clock_nanosleep close "
         "close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 "
         "epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd "
         "eventfd2 execve execveat exit exit_group"},
        {0, "faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat "
            "fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork "
            "fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait "
            "futex_waitv futex_wake futimesat"},
        {0, "get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid "
            "getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority "
            "getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt "
            "gettid gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init "
            "inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents "
            "io_setup io_submit ioctl ioprio_get ioprio_set"},
        {0, "kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown "
            "lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr "
            "lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create memfd_secret "
            "mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect "
            "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal "
            "msgctl msgget msgrcv msgsnd msync munlock munlockall munmap"},
        {0, "name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open "
            "pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl "
            "pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv "
            "process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink "
            "readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr "
            "removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction "
            "rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
            "rt_sigtimedwait rt_tgsigqueueinfo"},
        {0, "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
            "sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity "
            "sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl "
            "semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list "
            "set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid "
            "setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid "
            "setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd "
            "signalfd4 socketpair splice stat statfs statmount statx symlink symlinkat sync "
            "sync_file_range syncfs sysinfo"},
        {0, "tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime "
            "timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate "
            "umask uname unlink unlinkat uretprobe utime utimensat utimes vfork vmsplice wait4 "
            "waitid write writev"},
        {CAP(2), "open_by_handle_at"},
        {CAP(21), "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
                  "mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd "
                  "setdomainname sethostname setns syslog umount2 unshare"},
        {CAP(22), "reboot"},
        {CAP(16), "delete_module finit_module init_module"},
        {CAP(20), "acct"},
        {CAP(19), "kcmp pidfd_getfd process_madvise"},
        {CAP(17), "ioperm iopl"},
        {CAP(25), "clock_settime settimeofday"},
        {CAP(26), "vhangup"},
        {CAP(23), "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
        {CAP(34), "syslog"},
        {CAP(39), "bpf"},
        {CAP(38), "perf_event_open"},
        {0, NULL},
};
