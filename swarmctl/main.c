/* swarmctl: the tables of all commands. */
#include <stddef.h>

#include "shared/base/process.h"
#include "swarmctl/cmd/cmd.h"

int main(int argc, char **argv)
{
        static const struct command *const tables[] = {cmd_service, cmd_task,   cmd_node,
                                                       cmd_manager, cmd_image,  cmd_swarm,
                                                       cmd_system,  cmd_backup, NULL};

        process_open_stdio();
        return cmd_main(tables, argc, argv);
}
