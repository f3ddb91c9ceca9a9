/* Mutation of tars: as libFuzzer does it, then the headers' sums are put right, so that what is
 * changed in them gets past the first check. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

#define TAR_BLOCK 512

static void tar_fix_sum(uint8_t *h)
{
        unsigned sum = 0;

        memset(h + 148, ' ', 8);
        for (size_t i = 0; i < TAR_BLOCK; i++)
                sum += h[i];
        for (size_t i = 0; i < 6; i++)
                h[153 - i] = (uint8_t)('0' + ((sum >> (3 * i)) & 7));
        h[154] = 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
        n = LLVMFuzzerMutate(data, n, max);
        if (seed % 8 == 0)
                return n;
        for (size_t at = 0; at + TAR_BLOCK <= n; at += TAR_BLOCK)
                if (memcmp(data + at + 257, "ustar", 5) == 0)
                        tar_fix_sum(data + at);
        return n;
}
