/*
 * The container's output, as lines of a file (format in agent/runtime/runtime.h). Reads what is
 * there, splits at newlines and at SHIM_LOG_LINE_MAX, one time stamp a read, one write for many
 * lines. Rotates by size. When the disk does not take a record it is dropped and counted, and the
 * file is cut back to its last whole one; the container is never made to wait for that.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define HEAD_MAX 40
#define OUT_MAX  (SHIM_LOG_LINE_MAX + HEAD_MAX + 2)

static char held[2][SHIM_LOG_LINE_MAX] __attribute__((aligned(4096))); /* lines not yet ended */
static char out[OUT_MAX] __attribute__((aligned(4096)));
static size_t n_held[2], n_out;
static bool is_used;
static int log_fd = -1;
static uint64_t log_size, log_max, dropped, dropped_told, records_in_out;
static uint32_t files_max;

int64_t wall_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

uint64_t log_dropped(void)
{
        return dropped;
}

static int open_file(const char *name, int flags)
{
        int fd = openat(shim.folder_fd, name,
                        O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);

        return fd < 0 ? -errno : fd;
}

int log_open(void)
{
        struct stat st;

        log_max = shim.spec->log_max_bytes;
        files_max = shim.spec->log_max_files;
        log_fd = open_file("log", 0);
        if (log_fd < 0)
                return log_fd;
        log_size = fstat(log_fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
        return 0;
}

static void file_name(char *p, size_t cap, uint32_t i)
{
        struct text t = {p, 0, cap};

        text_add(&t, "log");
        if (i) {
                text_add(&t, ".");
                text_add_number(&t, i);
        }
}

/* log.1 to log.2 and so on: up to the first place that is free, as an attempt that failed may have
 * left one; else the oldest goes. */
static bool shift(void)
{
        char from[16], to[16];
        uint32_t last = 0;

        file_name(to, sizeof(to), last);
        while (last + 1 < files_max && faccessat(shim.folder_fd, to, F_OK, 0) == 0)
                file_name(to, sizeof(to), ++last);
        for (uint32_t i = last; i > 0; i--) {
                file_name(from, sizeof(from), i - 1);
                file_name(to, sizeof(to), i);
                if (renameat(shim.folder_fd, from, shim.folder_fd, to) < 0)
                        return false;
        }
        return true;
}

/* The new file is made before an old one is touched: on a disk that has no room for it all stay.
 * With one file only it takes the old one's place. */
static bool rotate(void)
{
        int fd = open_file("log.new", O_TRUNC);

        if (fd < 0)
                return false;
        if (!shift() || renameat(shim.folder_fd, "log.new", shim.folder_fd, "log") < 0) {
                close(fd);
                return false;
        }
        close(log_fd);
        log_fd = fd;
        log_size = 0;
        return true;
}

/* All or nothing. */
static bool write_whole(const char *p, size_t n)
{
        size_t done = 0;

        while (done < n) {
                ssize_t w = write(log_fd, p + done, n - done);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w <= 0) {
                        (void)!ftruncate(log_fd, (off_t)log_size);
                        return false;
                }
                done += (size_t)w;
        }
        log_size += n;
        return true;
}

static void add_head(struct text *t, int64_t us, char stream, char kind)
{
        char word[] = {' ', stream, ' ', kind, ' ', 0};

        text_add_number(t, us);
        text_add(t, word);
}

static void tell_dropped(void)
{
        char line[160];
        struct text t = {line, 0, sizeof(line)};

        add_head(&t, wall_us(), 'e', 'F');
        text_add(&t, "swarm: ");
        text_add_number(&t, (int64_t)(dropped - dropped_told));
        text_add(&t, " lines of the log are lost: the disk did not take them\n");
        if (write_whole(line, t.n))
                dropped_told = dropped;
}

static void flush(void)
{
        if (n_out == 0)
                return;
        bool has_room = log_size == 0 || log_size + n_out <= log_max || rotate();

        if (has_room && dropped > dropped_told)
                tell_dropped();
        if (!has_room || !write_whole(out, n_out))
                dropped += records_in_out;
        n_out = 0;
        records_in_out = 0;
}

static void record(int stream, int64_t us, char kind, const char *p, size_t n)
{
        if (n_out + HEAD_MAX + n + 1 > sizeof(out) || log_size + n_out + HEAD_MAX + n + 1 > log_max)
                flush();
        struct text t = {out, n_out, sizeof(out)};

        add_head(&t, us, stream ? 'e' : 'o', kind);
        memcpy(out + t.n, p, n);
        n_out = t.n + n;
        out[n_out++] = '\n';
        records_in_out++;
}

static void take_lines(int stream, int64_t us, bool is_end)
{
        char *p = held[stream];
        size_t n = n_held[stream], at = 0;

        for (char *end; (end = memchr(p + at, '\n', n - at));) {
                record(stream, us, 'F', p + at, (size_t)(end - p) - at);
                at = (size_t)(end - p) + 1;
        }
        if (n - at == SHIM_LOG_LINE_MAX || (is_end && n > at)) {
                record(stream, us, is_end ? 'F' : 'P', p + at, n - at);
                at = n;
        }
        if (at && n > at)
                memmove(p, p + at, n - at);
        n_held[stream] = n - at;
}

/* A terminal that nobody has open reads as if it were over, though the program may open it again.
 * From the first such moment on one descriptor of ours keeps it open, until the program ends. */
static bool keep_terminal(int master)
{
        static int slave = -1;

        if (slave >= 0)
                close(slave); /* it was hung up */
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        return slave >= 0;
}

void log_read(int stream)
{
        size_t have = n_held[stream];
        ssize_t n = read(shim.out_fd[stream], held[stream] + have, SHIM_LOG_LINE_MAX - have);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0 && errno == EIO && keep_terminal(shim.out_fd[stream]))
                return;
        if (n <= 0) {
                take_lines(stream, wall_us(), true);
                flush();
                close(shim.out_fd[stream]);
                shim.out_fd[stream] = -1;
                return;
        }
        is_used = true;
        n_held[stream] = have + (size_t)n;
        take_lines(stream, wall_us(), false);
        flush();
}

void log_finish(void)
{
        for (int i = 0; i < 2; i++)
                take_lines(i, wall_us(), true);
        flush();
}

/* After a quiet moment: the buffers' pages go back to the kernel. */
void log_idle(void)
{
        if (!is_used)
                return;
        for (int i = 0; i < 2; i++)
                if (n_held[i] == 0)
                        madvise(held[i], sizeof(held[i]), MADV_DONTNEED);
        madvise(out, sizeof(out) & ~4095u, MADV_DONTNEED);
        is_used = false;
}
