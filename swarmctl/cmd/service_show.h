/* service_show: `service ls` and `service inspect`. */
#pragma once

#include "swarmctl/cmd/cmd.h"

extern const struct flag service_ls_flags[], service_inspect_flags[];

int run_service_ls(struct ctl *ctl, const struct args *args);
int run_service_inspect(struct ctl *ctl, const struct args *args);
