/* The system's clocks: see time.h. */
#include "shared/base/time.h"

#include <time.h>

static int64_t read_us(clockid_t clock)
{
        struct timespec ts;

        clock_gettime(clock, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t time_mono_us(void)
{
        return read_us(CLOCK_MONOTONIC);
}

struct now time_now(void)
{
        struct now now = {time_mono_us() / 1000, read_us(CLOCK_REALTIME) / 1000};

        return now;
}
