/*
 * A line between a client and a server: what comes in at a port of 127.0.0.1 goes on to the
 * server's, one caller at a time. It can be hung up, cut after so many bytes, go dead, and mislead.
 */
#pragma once

#include <netinet/in.h>
#include <stddef.h>

#include "shared/loop/loop.h"

struct line {
        struct loop *loop;
        struct loop_fd *watch[3]; /* listener, both ends */
        int fds[3];
        struct sockaddr_in to;
        char address[64];
        size_t passed, cut_at; /* bytes towards the server; SIZE_MAX: never */
        const char *words;     /* said to whoever calls, in the place of what the server says */
        size_t n_misled;
};

/* On that loop, to a server on this machine: "HOST:PORT", of which the port counts. */
void line_open(struct line *l, struct loop *loop, const char *server);
void line_hang_up(struct line *l); /* who calls again is connected again */
/* From now on nothing passes, and nobody is told. */
void line_die(struct line *l);
void line_close(struct line *l); /* one that was never opened is fine */
