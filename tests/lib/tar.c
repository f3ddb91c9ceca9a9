/* Tars made by hand: see tar.h. */
#include "tests/lib/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

#define BLOCK 512

static void pad(struct buf *tar)
{
        static const char zeros[BLOCK];

        if (tar->len % BLOCK)
                buf_append(tar, zeros, BLOCK - tar->len % BLOCK);
}

static void octal(char *field, size_t width, uint64_t v)
{
        for (size_t i = width - 1; i-- > 0; v >>= 3)
                field[i] = (char)('0' + (v & 7));
}

void tar_add(struct buf *tar, const struct tar_entry *e)
{
        char h[BLOCK] = {0};
        unsigned sum = 0;

        memcpy(h, e->name, MIN(strlen(e->name), (size_t)100));
        octal(h + 100, 8, e->mode);
        octal(h + 108, 8, e->uid);
        octal(h + 116, 8, e->gid);
        octal(h + 124, 12, e->n);
        octal(h + 136, 12, (uint64_t)e->mtime);
        h[156] = e->type;
        if (e->link)
                memcpy(h + 157, e->link, MIN(strlen(e->link), (size_t)100));
        memcpy(h + 257,
               "ustar\0"
               "00",
               8);
        octal(h + 329, 8, e->major);
        octal(h + 337, 8, e->minor);
        memset(h + 148, ' ', 8);
        for (size_t i = 0; i < BLOCK; i++)
                sum += (unsigned char)h[i];
        octal(h + 148, 7, sum);
        h[154] = 0;
        buf_append(tar, h, BLOCK);
        if (e->n)
                buf_append(tar, e->data, e->n);
        pad(tar);
}

void tar_file(struct buf *tar, const char *name, const char *text)
{
        tar_add(tar,
                &(struct tar_entry){
                        .name = name, .type = '0', .mode = 0644, .data = text, .n = strlen(text)});
}

void tar_dir(struct buf *tar, const char *name)
{
        tar_add(tar, &(struct tar_entry){.name = name, .type = '5', .mode = 0755});
}

void tar_link(struct buf *tar, const char *name, const char *target)
{
        tar_add(tar, &(struct tar_entry){.name = name, .type = '2', .mode = 0777, .link = target});
}

void tar_hardlink(struct buf *tar, const char *name, const char *target)
{
        tar_add(tar, &(struct tar_entry){.name = name, .type = '1', .mode = 0644, .link = target});
}

void tar_pax(struct buf *tar, const char *key, const void *value, size_t n)
{
        _cleanup_buf_ struct buf record = {0};
        size_t body = strlen(key) + n + 3, len = body + 1;
        char digits[24];

        while (body + (size_t)snprintf(digits, sizeof(digits), "%zu", len) != len)
                len++;
        buf_printf(&record, "%zu %s=", len, key);
        buf_append(&record, value, n);
        buf_putc(&record, '\n');
        tar_add(tar, &(struct tar_entry){.name = "PaxHeaders/x",
                                         .type = 'x',
                                         .mode = 0644,
                                         .data = record.data,
                                         .n = record.len});
}

void tar_end(struct buf *tar)
{
        static const char zeros[2 * BLOCK];

        buf_append(tar, zeros, sizeof(zeros));
}

static la_ssize_t append(struct archive *a UNUSED, void *arg, const void *p, size_t n)
{
        buf_append(arg, p, n);
        return (la_ssize_t)n;
}

void test_compress(const char *how, const void *p, size_t n, struct buf *ret)
{
        struct archive *a = archive_write_new();
        struct archive_entry *e = archive_entry_new();

        archive_write_set_format_raw(a);
        archive_write_set_bytes_in_last_block(a, 1);
        if (str_is_equal(how, "gzip"))
                archive_write_add_filter_gzip(a);
        else
                archive_write_add_filter_zstd(a);
        archive_write_open(a, ret, NULL, append, NULL);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_pathname(e, "data");
        archive_write_header(a, e);
        archive_write_data(a, p, n);
        archive_entry_free(e);
        archive_write_free(a);
}

int test_memfd(const void *p, size_t n)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert(fd >= 0 && io_write_all(fd, p, n) == 0 && lseek(fd, 0, SEEK_SET) == 0);
        return fd;
}
