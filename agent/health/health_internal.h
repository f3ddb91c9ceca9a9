/* What the files of health share: one probe over the network, by itself. */
#pragma once

#include "agent/health/health.h"

#define PROBE_REPLY_MAX                                                                        \
        1024               /* bytes read of an HTTP answer: the status line is all that counts \
                            */
#define PROBE_TEXT_MAX 480 /* bytes of how a check failed, output included */

/* A connection to 127.0.0.1:port in a network namespace; with a path, an HTTP request over it. */
struct net_probe;
typedef void net_probe_fn(void *arg, bool is_ok, const char *text);

/* netns: a descriptor, which stays the caller's; -1: this process's own. done is called once, on
 * the loop, unless net_probe_free comes before. */
struct net_probe *net_probe_new(struct loop *l, int netns, uint16_t port, const char *path,
                                int64_t timeout_ms, net_probe_fn *done, void *arg);
void net_probe_free(struct net_probe *p); /* NULL is fine */
