/* swarm-manager: reads the flags and runs the manager. What it is made of: wiring.c. */
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "manager/wiring.h"

/* Each connection needs a descriptor. */
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
        struct options options;
        struct err err = {0};
        int code, r = options_parse(argc, argv, &options, stdout, &err);

        if (r < 0) {
                fprintf(stderr, "swarm-manager: %s\n", err.text);
                code = 2;
        } else if (r > 0) {
                code = EXIT_SUCCESS;
        } else {
                mallopt(M_ARENA_MAX, 2); /* few threads allocate: an arena each is only memory */
                raise_descriptor_limit();
                code = manager_run(&options, argc, argv);
        }
        options_done(&options);
        return code;
}
