/*
 * Which devices a container may use, as an eBPF program on the cgroup2 tree: all may be made
 * (mknod), and null, zero, full, random, urandom, tty, ptmx and terminals be used. Attached once to
 * the parent of all containers; the kernel applies it to all below.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/runtime/runtime_internal.h"

#define INSN(c, d, s, o, i) \
        ((struct bpf_insn){ \
                .code = (c), .dst_reg = (d), .src_reg = (s), .off = (int16_t)(o), .imm = (i)})
#define LOAD(reg, field)      INSN(BPF_LDX | BPF_MEM | BPF_W, reg, 1, field, 0)
#define JNE(reg, value, skip) INSN(BPF_JMP | BPF_JNE | BPF_K, reg, 0, skip, value)
#define JEQ(reg, value, skip) INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, skip, value)
#define SET(reg, value)       INSN(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value)
#define END                   INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

#define ACCESS_SHIFT 16

static long bpf(int cmd, union bpf_attr *a)
{
        return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

int devices_restrict(int cgroup2_fd)
{
        const struct bpf_insn program[] = {
                LOAD(2, 0),                                    /*  0 access << 16 | type */
                LOAD(3, 4),                                    /*  1 major */
                LOAD(4, 8),                                    /*  2 minor */
                INSN(BPF_ALU64 | BPF_MOV | BPF_X, 5, 2, 0, 0), /*  3 */
                INSN(BPF_ALU64 | BPF_RSH | BPF_K, 5, 0, 0, ACCESS_SHIFT), /*  4 */
                JEQ(5, BPF_DEVCG_ACC_MKNOD, 13),                    /*  5 only mknod: allow at 19 */
                INSN(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff), /*  6 */
                JNE(2, BPF_DEVCG_DEV_CHAR, 13),                     /*  7 deny at 21 */
                JEQ(3, 136, 10),                                    /*  8 terminals */
                JNE(3, 5, 2),                                       /*  9 */
                JEQ(4, 0, 8),                                       /* 10 tty */
                JEQ(4, 2, 7),                                       /* 11 ptmx */
                JNE(3, 1, 8),                                       /* 12 deny at 21 */
                JEQ(4, 3, 5),                                       /* 13 null */
                JEQ(4, 5, 4),                                       /* 14 zero */
                JEQ(4, 7, 3),                                       /* 15 full */
                JEQ(4, 8, 2),                                       /* 16 random */
                JEQ(4, 9, 1),                                       /* 17 urandom */
                INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),                 /* 18 deny at 21 */
                SET(0, 1),                                          /* 19 allow */
                END,                                                /* 20 */
                SET(0, 0),                                          /* 21 deny */
                END,                                                /* 22 */
        };
        union bpf_attr a;

        memset(&a, 0, sizeof(a));
        a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
        a.insns = (uint64_t)(uintptr_t)program;
        a.insn_cnt = ARRAY_SIZE(program);
        a.license = (uint64_t)(uintptr_t) "MIT";
        _cleanup_close_ int fd = (int)bpf(BPF_PROG_LOAD, &a);
        if (fd < 0)
                return -errno;
        memset(&a, 0, sizeof(a));
        a.target_fd = (unsigned)cgroup2_fd;
        a.attach_bpf_fd = (unsigned)fd;
        a.attach_type = BPF_CGROUP_DEVICE;
        return bpf(BPF_PROG_ATTACH, &a) < 0 ? -errno : 0;
}
