/* What the dispatcher's files share: see dispatcher.h. */
#pragma once

#include "manager/dispatcher/dispatcher.h"
#include "manager/dispatcher/newcomers_internal.h"
#include "shared/net/net.h"

#define ASSIGN_TASKS_MAX  1024       /* of one message */
#define ASSIGN_BYTES_MAX  (1u << 20) /* likewise, when it is closed; one spec may go beyond */
#define SESSION_SPECS_MAX 4096       /* told in a session; then a complete set begins anew */
#define REFUSE_AGAIN_MS   1000       /* the agent has not heard so, or goes on all the same */
#define ASSIGN_RETRY_MS   5000       /* a set that a heartbeat does not confirm is sent again */
#define BEATS_AT_ONCE     64         /* nodes that are asked to be heard at the same moment */
#define RECONNECT_MS      3000       /* what agents need to find a manager that started */
#define HEARD_GRACE_MS    2000       /* and to speak here when another manager has heard them */
/* Or, when it lost sight of them. */
#define GONE_GRACE_MS (NET_VANISHED_MS + RECONNECT_MS)
#define STALL_MS      1000 /* woken later than this, we were the one that was silent */
/* A second machine with a node's key is refused until the first is silent for so long. */
#define TWIN_MS             600000
#define NODE_ORPHAN_MS      (24 * 3600 * 1000LL) /* down so long, its tasks are given up */
#define STATUS_TEXT_MAX     512                  /* bytes of a task's message or error */
#define REPORT_AHEAD_MAX_MS (24 * 3600 * 1000LL) /* an agent's clock is not believed beyond */

#define HOSTNAME_MAX_LEN      253
#define DESCRIPTION_TEXT_MAX  255         /* bytes of any other text of a description */
#define DESCRIPTION_ITEMS_MAX 256         /* labels, generic resources and their names */
#define DESCRIPTION_BYTES_MAX (64u << 10) /* of all of it */

/* An array of ids that grows. */
struct id_list {
        struct id *ids;
        size_t n, cap;
};

/* Another machine that has the node's key. */
struct twin {
        char *host;       /* NULL: none is known */
        int64_t since_ms; /* mono: when it first asked for a session */
        bool is_proven;   /* the node's own machine was heard after that */
};

/* What is known of a node beyond the store: node->session. Lives from the node's first registration
 * (or from the start) until the node is removed. */
struct session {
        struct node *node;
        struct id id;         /* zero: has none, must register */
        uint64_t connection;  /* that it was made over: another one may have lost messages */
        uint64_t managers;    /* version of the list of managers that it was told */
        int64_t refuse_at_ms; /* mono: a message of no session is refused again from then on */

        struct twin twin;

        bool is_awaited;       /* this manager has not heard it yet, at most was told of it: */
        bool is_told;          /* so it was */
        struct list live_link; /* of dispatcher's lists but tell; each in order of heard_ms */
        int64_t heard_ms;      /* mono; to come while it is given time to speak;
                                  in .down: when it was declared down */

        struct list tell_link; /* dispatcher.tell: there is something to send */
        bool needs_complete;
        bool must_ack;
        uint64_t status_seq;    /* of the newest batch taken; 0: none yet */
        uint64_t assign_seq;    /* results_in of the last message sent */
        uint64_t confirmed_seq; /* that a heartbeat has told */
        int64_t assigned_ms;    /* mono, when that was sent */
        struct id_list dirty;   /* tasks that changed; their TASK_FLAG_TELL is set */
        struct id_list removed; /* tasks to forget */
        struct map specs;       /* struct sent_spec: what the agent has */
};

/* A version of a spec that the agent has. */
struct sent_spec {
        struct id key; /* of service and version together */
};

struct removed_node {
        struct list link;
        struct id id;
        uint8_t key[32];
};

struct dispatcher {
        struct store *store;
        struct logs *logs;
        struct turn_config config;
        struct store_watch watch;
        uint64_t managers; /* version of config.managers */

        struct list awaited;              /* ready once, and not heard of since the start */
        struct list told;                 /* told of, not yet in their places in live */
        struct list live, suspect, down;  /* struct session */
        size_t live_count, suspect_count; /* live: also those that are awaited or told of */
        size_t mass_down_count;           /* declared down in the mass failure that goes on */
        int64_t begun_ms;                 /* when this manager began to lead */
        int64_t floor_ms;                 /* nobody counts as heard earlier than this */
        int64_t check_ms;                 /* when the next check is due; TIME_NEVER: none */
        bool is_waiting;                  /* marking down waits: most are silent */
        char warning[160];

        struct newcomers newcomers;
        struct list tell;          /* sessions */
        struct list removed_nodes; /* struct removed_node: to be told so */
        struct batch *batch;       /* the message being put together */
};

/* liveness.c */
int64_t dispatcher_setting_ms(int64_t value, int64_t standard);
const Swarm__ClusterSettings *dispatcher_settings(struct dispatcher *d);
void liveness_heard(struct dispatcher *d, struct session *s, struct now now);
/* Elsewhere, before: counts for one of which nothing was heard here. */
void liveness_was_heard(struct dispatcher *d, struct session *s, struct now now, int64_t heard_ms,
                        bool is_gone);
/* When its next heartbeat is to come, from now. */
int64_t liveness_next_beat_ms(struct dispatcher *d, const struct node *node, struct now now);
void liveness_forget(struct dispatcher *d, struct session *s);

/* dispatcher.c */
struct session *session_of(struct node *node); /* NULL: none */
/* Ends the session: the agent must register anew. */
void session_close(struct session *s);
void session_must_tell(struct dispatcher *d, struct session *s);

/* twin.c: may the machine that m tells of have the node's session? 0: yes; 1: that will be known
 * soon, when it asks again; -ENOTUNIQ: no, and err says why. */
int twin_look(struct dispatcher *d, struct session *s, struct now now,
              const Swarm__NodeDescription *m, struct err *err);
void twin_forget(struct session *s);

/* status.c */
void status_on_batch(struct dispatcher *d, struct session *s, struct now now,
                     const Swarm__StatusBatch *m);

/* description.c: is what an agent tells of itself within the limits? One line of text if not. */
int description_check(const Swarm__NodeDescription *m, struct err *err);
bool description_is_equal(const Swarm__NodeDescription *a, const Swarm__NodeDescription *b);

/* assign.c */
void id_list_push(struct id_list *l, struct id id);
void id_list_done(struct id_list *l);
void assign_on_task(struct dispatcher *d, struct task *task, enum change_kind kind,
                    const struct task_before *before);
void assign_forget_specs(struct session *s);
struct batch *batch_new(void);
void batch_free(struct batch *b);
/* Sends what the session waits for; returns about how many bytes that were. */
size_t assign_send(struct dispatcher *d, struct session *s, struct now now, struct list *effects);
