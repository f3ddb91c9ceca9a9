/*
 * The language of the golden cases: one command a line, words KEY=VALUE.
 * tests/golden/cases/README has them.
 */
#pragma once

#include "tests/lib/plan.h"

/* Runs one command; -EINVAL with text. */
int script_run(struct plan *p, const char *line, struct err *err);
