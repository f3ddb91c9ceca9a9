/*
 * health: probes of running containers: a command inside, an HTTP request, or a TCP connection.
 * Place in the flow: the driver begins a watch when a container has started and tells the core what
 * comes out. Docker's rules: a container is healthy with its first success, unhealthy after
 * `retries` failures in a row; failures in the start period do not count. The first probe comes at
 * once, so that a service is up as soon as it can be. What can fail: nothing but the probes.
 */
#pragma once

#include "agent/runtime/runtime.h"
#include "proto/objects.pb-c.h"

#define HEALTH_FIRST_MS 100 /* until the first probe; then this doubles until the first success */

#define HEALTH_QUIET_MS 5000  /* a program that has just started need not be well yet */
#define HEALTH_AGAIN_MS 30000 /* findings of a container that goes on are at least this apart */

struct health;

enum health_finding {
        HEALTH_PASSES,    /* the first time, and after a failure that was told */
        HEALTH_FAILS,     /* and it goes on; not each one is told */
        HEALTH_IS_BROKEN, /* as often as the check allows; the last that is told */
};

struct health_events {
        void *arg;
        /* text: how the check failed, one line; NULL with HEALTH_PASSES. */
        void (*on_finding)(void *arg, struct id task, enum health_finding what, const char *text);
};

struct health *health_new(struct loop *l, struct runtime *rt, const struct health_events *e);
void health_free(struct health *h);
/* Begins to probe; spec is copied, with all defaults filled in. is_known_healthy: taken over from
 * an earlier agent as healthy: only that it is not any more is told. */
void health_watch(struct health *h, struct id task, const Swarm__Health *spec,
                  bool is_known_healthy);
void health_forget(struct health *h, struct id task); /* unknown: fine */
