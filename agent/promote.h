/*
 * promote: a node that the cluster promotes gets a manager of its own, beside its agent. Place in
 * the flow: sessions and heartbeats tell the node's role; as long as that is manager, this sees to
 * it that a manager runs on the data-dir. It is a process of its own: it outlives the agent, its
 * upgrades and its end. One that is demoted is told so by the others, and ends by itself.
 *
 * Only a manager that was started from here is started again: one that a person has set up on the
 * data-dir is theirs. On disk: DIR/agent/manager, with what the manager needs for its first start
 * (see options_take_promotion of the manager), is there from before the first start until the node
 * was demoted and the manager has removed its state; DIR/manager.log is what the manager says.
 *
 * What can fail: there is no program, it does not start, or ends: that is logged, and tried again
 * after a growing pause.
 */
#pragma once

#include "shared/base/err.h"
#include "shared/loop/loop.h"
#include "shared/model/model.h"

#define PROMOTE_LOOK_MS      5000 /* whether the manager still runs */
#define PROMOTE_PAUSE_MS     1000 /* before the second start; then twice as long each time */
#define PROMOTE_PAUSE_MAX_MS 60000

struct promote;

/* All is borrowed, and outlives the promote. */
struct promote_config {
        const char *data_dir;
        const char *program; /* swarm-manager's */
        const char *unit;    /* of systemd, which is started instead of the program; NULL: none */
        void *arg;
        /* Where the manager is to be reached: an IP address; "": not known. */
        const char *(*address)(void *arg);
        /* A manager of the cluster: HOST:PORT. */
        const char *(*manager)(void *arg);
};

struct promote *promote_new(struct loop *l, const struct promote_config *c);
void promote_free(struct promote *p); /* NULL is fine; the manager goes on */
/* As the cluster says, as often as it does. */
void promote_set_role(struct promote *p, enum node_role role);
/* Nothing is known of the role yet, and nothing will be before the manager runs that was started
 * from here: it is started again. */
void promote_resume(struct promote *p);
/* The unit of systemd that stands for the manager of this data-dir, when this process is one of
 * systemd's services; NULL: none. */
const char *promote_find_unit(const char *data_dir);
