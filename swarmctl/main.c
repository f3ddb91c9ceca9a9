/* swarmctl: the tables of all commands. */
#include <stddef.h>

#include "swarmctl/cmd/cmd.h"

int main(int argc, char **argv)
{
        static const struct command *const tables[] = {cmd_service, cmd_task,   cmd_node, cmd_image,
                                                       cmd_swarm,   cmd_system, NULL};

        return cmd_main(tables, argc, argv);
}
