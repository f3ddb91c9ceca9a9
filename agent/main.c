/* swarm-agent: reads the flags and runs the agent. See wiring.c. */
#include <stdlib.h>

#include "agent/wiring.h"
#include "shared/base/process.h"

int main(int argc, char **argv)
{
        struct agent_options options;
        struct err err = {0};
        int code, r;

        process_prepare();
        r = agent_options_parse(argc, argv, &options, stdout, &err);
        if (r < 0) {
                fprintf(stderr, "swarm-agent: %s\n", err.text);
                code = EXIT_USAGE;
        } else if (r > 0) {
                code = EXIT_SUCCESS;
        } else {
                code = agent_run(&options, argc, argv);
        }
        agent_options_done(&options);
        return code;
}
