/* logs: `service logs`, whose entry stands in the table of the noun "service". */
#pragma once

#include "swarmctl/cmd/cmd.h"

extern const struct flag logs_flags[];

/* SERVICE|TASK is the one argument. Ends with the stream, or when nobody reads any more. */
int run_service_logs(struct ctl *ctl, const struct args *args);
