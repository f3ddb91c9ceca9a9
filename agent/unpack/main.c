/* swarm-unpack: unpacks one layer of an image, as a child of the agent. See unpack.h. */
#include "agent/unpack/unpack.h"

int main(int argc, char **argv)
{
        return unpack_main(argc, argv);
}
