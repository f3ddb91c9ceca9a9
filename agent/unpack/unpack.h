/*
 * unpack: the program that unpacks one layer, `swarm-unpack`. Place in the flow: the image store of
 * the agent starts it, once a layer. It is a program of its own so that the agent need not carry
 * the libraries that read archives, and so that a layer that breaks them finds an empty process.
 */
#pragma once

#include <stdint.h>

#include "shared/base/err.h"

#define UNPACK_EXIT_NO_SPACE 2 /* as 1, and it was for want of room */

/* argv: the program, the diff id that must come out, the most bytes to write. Descriptors: 0 the
 * layer's blob (plain, gzip or zstd), 1 the empty target folder, 2 takes one line that says what
 * was wrong. Locks itself in before it reads a byte. Returns the exit status: 0 done, else see 2.
 */
int unpack_main(int argc, char **argv);

/* Locks the process into the folder: a root of its own, limits, no capabilities but those to set
 * owners, modes and attributes, and no system calls but those on files. There is no way back, and
 * the process must have one thread. Returns a descriptor of the folder. */
int unpack_lock_in(int target_fd, int64_t max_bytes, struct err *err);
