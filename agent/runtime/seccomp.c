/*
 * The seccomp program for a set of capabilities: libseccomp makes it (one architecture, as a binary
 * tree: the kernel runs it once for every number when it is loaded), four instructions in front
 * answer ENOSYS to calls newer than the tables, so that C libraries fall back. Kept in a file named
 * by what it depends on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "agent/runtime/runtime_internal.h"

#define FORMAT            2
#define PROGRAM_MAX       (64 << 10)
#define NUMBER_MAX        1000
#define CAP_SYS_ADMIN_BIT (1ull << 21)
#define CLONE_NEW_ANY     0x7e020000u

#if defined(__x86_64__)
#define NATIVE_AUDIT_ARCH 0xc000003eu
#elif defined(__aarch64__)
#define NATIVE_AUDIT_ARCH 0xc00000b7u
#else
#error "this machine's audit architecture is not known here"
#endif

static int allow_names(scmp_filter_ctx f, const char *names)
{
        _cleanup_strv_ char **v = str_split(names, ' ');
        int r = 0;

        for (size_t i = 0; v && v[i] && r == 0; i++) {
                int n = seccomp_syscall_resolve_name(v[i]);

                if (n >= 0)
                        r = seccomp_rule_add(f, SCMP_ACT_ALLOW, n, 0);
                if (r == -EEXIST)
                        r = 0;
        }
        return r;
}

/* What is allowed when the bits of mask in the call's first argument have this value. The kernel
 * takes a family as an int, so only the low 32 bits count there: all up to the newest that is known
 * (45), without AF_ALG (38) and AF_VSOCK (40), which reach kernel code that no container needs. */
static const struct argument_rule {
        const char *name;
        uint64_t mask, value;
        uint64_t unless; /* not needed with any of these capabilities: then all is allowed */
} argument_rules[] = {
        {"socket", 0xffffffe0, 0, 0},  /* 0 to 31 */
        {"socket", 0xfffffffc, 32, 0}, /* to 35 */
        {"socket", 0xfffffffe, 36, 0}, /* to 37 */
        {"socket", 0xffffffff, 39, 0},         {"socket", 0xffffffff, 41, 0},
        {"socket", 0xfffffffe, 42, 0}, /* to 43 */
        {"socket", 0xfffffffe, 44, 0}, /* to 45 */
        {"personality", ~0ull, 0, 0},          {"personality", ~0ull, 8, 0},
        {"personality", ~0ull, 0x20000, 0},    {"personality", ~0ull, 0x20008, 0},
        {"personality", ~0ull, 0xffffffff, 0}, {"clone", CLONE_NEW_ANY, 0, CAP_SYS_ADMIN_BIT},
};

/* clone3 keeps its flags where a filter cannot look: it is "not there", and clone is used. */
static int add_conditional(scmp_filter_ctx f, uint64_t caps)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(argument_rules); i++) {
                const struct argument_rule *a = &argument_rules[i];

                if (!(a->unless & caps))
                        r = seccomp_rule_add(f, SCMP_ACT_ALLOW,
                                             seccomp_syscall_resolve_name(a->name), 1,
                                             SCMP_A0(SCMP_CMP_MASKED_EQ, a->mask, a->value));
        }
        if (r == 0 && !(caps & CAP_SYS_ADMIN_BIT))
                r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        return r;
}

static scmp_filter_ctx make_filter(uint64_t caps, int *ret)
{
        scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        int r = f ? 0 : -ENOMEM;

        if (r == 0)
                r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
        if (r == 0)
                r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        for (const struct profile_rule *p = profile_rules; r == 0 && p->names; p++)
                if (p->caps == 0 || p->caps & caps)
                        r = allow_names(f, p->names);
        if (r == 0)
                r = add_conditional(f, caps);
        *ret = r;
        return f;
}

static uint32_t newest_known(void)
{
        uint32_t newest = 0;

        for (int n = 0; n < NUMBER_MAX; n++) {
                _cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, n);

                if (name)
                        newest = (uint32_t)n;
        }
        return newest;
}

static void put_front(struct buf *b)
{
        const struct sock_filter front[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_AUDIT_ARCH, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest_known(), 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        };

        buf_append(b, front, sizeof(front));
}

static int compile(uint64_t caps, struct buf *ret)
{
        int r;
        scmp_filter_ctx f = make_filter(caps, &r);
        _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
        _cleanup_buf_ struct buf program = {0};

        if (r == 0)
                r = fd < 0 ? -errno : seccomp_export_bpf(f, fd);
        if (f)
                seccomp_release(f);
        if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
                r = -errno;
        if (r < 0)
                return r;
        _cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);

        r = io_read_file(AT_FDCWD, path, PROGRAM_MAX, &program);
        if (r < 0)
                return r;
        put_front(ret);
        buf_append(ret, program.data, program.len);
        return 0;
}

/* FNV-1a. A text is hashed with its end, so that none runs into the next. */
static uint64_t hash(uint64_t h, const void *p, size_t n)
{
        for (const uint8_t *s = p; n; n--, s++)
                h = (h ^ *s) * 0x100000001b3u;
        return h;
}

static uint64_t hash_text(uint64_t h, const char *s)
{
        return hash(h, s, strlen(s) + 1);
}

uint64_t seccomp_rules_hash(const struct profile_rule *rules)
{
        uint64_t h = 0xcbf29ce484222325u;

        for (const struct profile_rule *p = rules; p->names; p++) {
                h = hash(h, &p->caps, sizeof(p->caps));
                h = hash_text(h, p->names);
        }
        return h;
}

/* All that a program depends on is in the name: the rules, both kinds; the kernel and the library;
 * the set of capabilities; and FORMAT, which counts the ways in which this file puts them together.
 */
static char *cache_name(const char *folder, uint64_t caps)
{
        const struct scmp_version *v = seccomp_version();
        uint64_t h = seccomp_rules_hash(profile_rules);
        struct utsname u;

        for (size_t i = 0; i < ARRAY_SIZE(argument_rules); i++) {
                const struct argument_rule *a = &argument_rules[i];
                const uint64_t numbers[] = {a->mask, a->value, a->unless};

                h = hash(hash_text(h, a->name), numbers, sizeof(numbers));
        }
        if (uname(&u) == 0)
                h = hash_text(hash_text(h, u.release), u.machine);
        return xasprintf("%s/seccomp-%d-%u.%u.%u-%016llx-%llx", folder, FORMAT, v->major, v->minor,
                         v->micro, (unsigned long long)h, (unsigned long long)caps);
}

static int seal(const struct buf *b)
{
        _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r = fd < 0 ? -errno : io_write_all(fd, b->data, b->len);

        if (r == 0 &&
            fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                r = -errno;
        return r < 0 ? r : STEAL_FD(fd);
}

int seccomp_open_program(const char *folder, uint64_t caps, struct err *err)
{
        _cleanup_free_ char *path = cache_name(folder, caps);
        _cleanup_buf_ struct buf b = {0};
        int r = io_read_file(AT_FDCWD, path, PROGRAM_MAX, &b);

        if (r < 0 || b.len == 0 || b.len % sizeof(struct sock_filter)) {
                buf_clear(&b);
                r = compile(caps, &b);
                if (r == 0)
                        io_write_file_atomic(AT_FDCWD, path, b.data, b.len, 0600);
        }
        if (r >= 0)
                r = seal(&b);
        return r < 0 ? err_set(err, -r, "seccomp profile: %s", err_name(r)) : r;
}
