/* The agent's program. Its hidden mode that unpacks a layer comes before everything else. */
#include "agent/image/unpack.h"
#include "shared/base/str.h"

int main(int argc, char **argv)
{
        if (argc > 1 && str_is_equal(argv[1], UNPACK_FLAG))
                return unpack_main(argc - 1, argv + 1);
        return 1;
}
