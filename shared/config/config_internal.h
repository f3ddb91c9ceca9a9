/* Inside config: what the command line and the file share. */
#pragma once

#include <stdbool.h>

#include "shared/config/config.h"

#define CONFIG_FLAGS_MAX 64

struct config_run {
        const struct config_program *program;
        void *values;
        bool is_set[CONFIG_FLAGS_MAX];     /* by the command line: the file does not change it */
        bool is_in_file[CONFIG_FLAGS_MAX]; /* to find keys that come twice */
};

/* The flag's number, or -1. n: length of the name. */
int config_find(const struct config_program *p, const char *name, size_t n);
bool config_may_be_empty(const struct config_run *run, int flag);
/* Parses and stores one value; err says what the value should be, without naming the flag. */
int config_set(struct config_run *run, int flag, const char *value, struct err *err);
int config_read_file(struct config_run *run, const char *path, struct err *err);
