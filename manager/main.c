/* swarm-manager: reads the flags and runs the manager. What it is made of: wiring.c. */
#include <stdlib.h>

#include "manager/wiring.h"
#include "shared/base/process.h"

int main(int argc, char **argv)
{
        struct options options;
        struct err err = {0};
        int code, r;

        process_prepare();
        r = options_parse(argc, argv, &options, stdout, &err);
        if (r < 0) {
                fprintf(stderr, "swarm-manager: %s\n", err.text);
                code = EXIT_USAGE;
        } else if (r > 0) {
                code = EXIT_SUCCESS;
        } else {
                code = manager_run(&options, argc, argv);
        }
        options_done(&options);
        return code;
}
