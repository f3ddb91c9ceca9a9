/* Inside client: what its files share. */
#pragma once

#include "shared/base/err.h"

/* Does anybody listen at the endpoint? ZeroMQ would try for ever and not tell. -EHOSTUNREACH with
 * the reason; -EINVAL for what is no endpoint. */
int client_probe(const char *host, struct err *err);
