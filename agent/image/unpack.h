/* The program that unpacks one layer: a hidden mode of the agent, `swarm-agent --unpack-layer`. */
#pragma once

#include <stdint.h>

#include "shared/base/err.h"

#define UNPACK_FLAG          "--unpack-layer"
#define UNPACK_EXIT_NO_SPACE 2 /* as 1, and it was for want of room */

/* argv: UNPACK_FLAG, the diff id that must come out, the most bytes to write. Descriptors: 0 the
 * layer's blob (plain, gzip or zstd), 1 the empty target folder, 2 takes one line that says what
 * was wrong. Locks itself in before it reads a byte. Returns the exit status: 0 done, else see 2.
 */
int unpack_main(int argc, char **argv);

/* Locks the process into the folder: a root of its own, limits, no capabilities but those to set
 * owners, modes and attributes, and no system calls but those on files. There is no way back, and
 * the process must have one thread. Returns a descriptor of the folder. */
int unpack_lock_in(int target_fd, int64_t max_bytes, struct err *err);
