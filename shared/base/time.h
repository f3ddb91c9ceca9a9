/* Time as the cores see it: handed in with each call, never read by them. */
#pragma once

#include <stdint.h>

#define TIME_NEVER INT64_MAX

struct now {
        int64_t mono_ms; /* never goes back; for periods and time-outs */
        int64_t wall_ms; /* since the Unix epoch; for what people read and what survives restarts */
};

/* Reads the system's clocks. For drivers only. */
struct now time_now(void);
int64_t time_mono_us(void);
