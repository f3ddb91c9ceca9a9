/*
 * secret_line: a line that is not for others' eyes: asked for at the terminal, where it is not
 * shown, or read from standard input.
 */
#pragma once

#include "shared/base/err.h"

#define SECRET_LINE_MAX 256

/* Without the newline and spaces around it. -EINVAL: none, or too long, with a text. */
int secret_line_read(const char *prompt, char ret[SECRET_LINE_MAX], struct err *err);
