/* The program that unpacks one layer: a hidden mode of the agent, `swarm-agent --unpack-layer`. */
#pragma once

#define UNPACK_FLAG "--unpack-layer"

/* argv: UNPACK_FLAG, the diff id that must come out, the most bytes to write. Descriptors: 0 the
 * layer's blob (plain, gzip or zstd), 1 the empty target folder, 2 takes one line that says what
 * was wrong. It locks itself into the target folder, and gives up its capabilities but those to set
 * owners, modes and attributes, and all system calls but those on files, before it reads a byte.
 * Returns the exit status: 0 done, 1 see descriptor 2. */
int unpack_main(int argc, char **argv);
