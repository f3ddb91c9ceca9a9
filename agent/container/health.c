/* The health check of a container out of the service's and the image's: see container_internal.h.
 */
#include <errno.h>

#include "agent/container/container_internal.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

static void take_over(Swarm__Health *h, const Swarm__Health *image)
{
        if (h->interval_ms == 0)
                h->interval_ms = image->interval_ms;
        if (h->timeout_ms == 0)
                h->timeout_ms = image->timeout_ms;
        if (h->retries == 0)
                h->retries = image->retries;
        if (h->start_period_ms == 0)
                h->start_period_ms = image->start_period_ms;
        if (h->start_interval_ms == 0)
                h->start_interval_ms = image->start_interval_ms;
}

static void set_defaults(Swarm__Health *h)
{
        if (h->interval_ms <= 0)
                h->interval_ms = DEFAULT_HEALTH_INTERVAL_MS;
        if (h->timeout_ms <= 0)
                h->timeout_ms = DEFAULT_HEALTH_TIMEOUT_MS;
        if (h->retries == 0)
                h->retries = DEFAULT_HEALTH_RETRIES;
        if (h->start_interval_ms <= 0)
                h->start_interval_ms = DEFAULT_HEALTH_START_INTERVAL_MS;
        h->start_period_ms = MAX(h->start_period_ms, 0);
}

static bool is_complete(const Swarm__Health *h)
{
        switch (h->type) {
        case HEALTH_CMD: return h->n_cmd > 0;
        case HEALTH_SHELL: return h->n_cmd == 1;
        case HEALTH_HTTP:
        case HEALTH_TCP: return h->port >= 1 && h->port <= 65535;
        default: return false;
        }
}

static bool has_test(const Swarm__Health *h)
{
        return h && h->type != HEALTH_DEFAULT && h->type != HEALTH_NONE;
}

int health_make(const Swarm__Health *service, const Swarm__Health *image, Swarm__Health **ret,
                struct err *err)
{
        Swarm__Health *h;

        *ret = NULL;
        if (service && service->type == HEALTH_NONE)
                return 0;
        if (has_test(service)) {
                h = wire_dup(service);
        } else if (has_test(image)) {
                h = wire_dup(image);
                if (service) { /* the image's test, and the service's periods first */
                        Swarm__Health periods = *service;

                        take_over(&periods, image);
                        h->interval_ms = periods.interval_ms;
                        h->timeout_ms = periods.timeout_ms;
                        h->retries = periods.retries;
                        h->start_period_ms = periods.start_period_ms;
                        h->start_interval_ms = periods.start_interval_ms;
                }
        } else {
                return 0;
        }
        if (!is_complete(h)) {
                wire_free(h);
                return err_set(err, EINVAL, "health check: incomplete");
        }
        if (has_test(service) && image)
                take_over(h, image);
        set_defaults(h);
        *ret = h;
        return 0;
}
