/* swarm-agent: reads the flags and runs the agent. See wiring.c. */
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "agent/wiring.h"

static void raise_descriptor_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit))
                return;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
        struct agent_options options;
        struct err err = {0};
        int code;

        int r = agent_options_parse(argc, argv, &options, stdout, &err);
        if (r < 0) {
                fprintf(stderr, "swarm-agent: %s\n", err.text);
                code = 2;
        } else if (r > 0) {
                code = EXIT_SUCCESS;
        } else {
                mallopt(M_ARENA_MAX, 2); /* few threads allocate: an arena each is only memory */
                raise_descriptor_limit();
                code = agent_run(&options, argc, argv);
        }
        agent_options_done(&options);
        return code;
}
