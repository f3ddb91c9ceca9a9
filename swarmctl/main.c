/* swarmctl: what a person types. The table of commands; the rest is in cmd/ and output/. */
#include <stddef.h>

#include "swarmctl/cmd/cmd.h"

int main(int argc, char **argv)
{
        static const struct command *const tables[] = {
                cmd_service, cmd_node, cmd_task, cmd_image, cmd_swarm, cmd_system, NULL,
        };

        return cmd_main(tables, argc, argv);
}
