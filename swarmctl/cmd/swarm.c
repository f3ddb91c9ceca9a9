/* The commands of the noun "swarm": join-token, unlock, unlock-key, update. */
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/seal/seal.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/secret_line.h"
#include "swarmctl/output/output.h"

/* --- join-token ----------------------------------------------------------------------------------
 */
static int ask_info(struct ctl *ctl, Swarm__Response **ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        q.kind_case = SWARM__REQUEST__KIND_INFO;
        q.info = &empty;
        return ctl_call(ctl, &q, ret);
}

static int ask_token(struct ctl *ctl, enum node_role role, bool rotate, Swarm__Response **ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__TokenRequest m = SWARM__TOKEN_REQUEST__INIT;

        m.role = role;
        m.rotate = rotate;
        q.kind_case = SWARM__REQUEST__KIND_JOIN_TOKEN;
        q.join_token = &m;
        int r = ctl_call(ctl, &q, ret);
        if (r == 0 && (*ret)->kind_case != SWARM__RESPONSE__KIND_JOIN_TOKEN) {
                wire_free(*ret);
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "the manager gave no token");
        }
        return r;
}

/* The whole command that a new node runs. */
static int print_command(struct ctl *ctl, enum node_role role, const char *token)
{
        const bool is_worker = role == ROLE_WORKER;
        Swarm__Response *info = NULL;
        int r = ask_info(ctl, &info);

        if (r)
                return r;
        const bool is_known = info->kind_case == SWARM__RESPONSE__KIND_INFO && *info->info->address;
        _cleanup_free_ char *address =
                is_known ? text_safe(info->info->address) : xasprintf("HOST:%d", DEFAULT_PORT);
        _cleanup_free_ char *safe = text_safe(token);

        wire_free(info);
        printf("To add a %s to this cluster, run on it:\n\n    %s --join %s --token %s\n\n",
               node_role_name(role), is_worker ? "swarm-agent" : "swarm-manager --advertise IP",
               address, safe);
        return CLIENT_EXIT_DONE;
}

static int run_join_token(struct ctl *ctl, const struct args *args)
{
        const bool rotate = args_on(args, "rotate"), is_quiet = args_on(args, "quiet");
        Swarm__Response *answer = NULL;
        enum node_role role;
        int r;

        if (node_role_parse(args->rest[0], &role) < 0)
                return ctl_usage(ctl, "unknown role \"%s\": must be worker or manager",
                                 args->rest[0]);
        r = ask_token(ctl, role, rotate, &answer);
        if (r)
                return r;
        if (rotate && !is_quiet)
                printf("The join token for %ss is a new one; the old one is no longer taken.\n\n",
                       node_role_name(role));
        if (is_quiet) {
                _cleanup_free_ char *safe = text_safe(answer->join_token);

                printf("%s\n", safe);
        } else {
                r = print_command(ctl, role, answer->join_token);
        }
        wire_free(answer);
        return r;
}

/* --- the unlock key ------------------------------------------------------------------------------
 */
static int ask_unlock_key(struct ctl *ctl, bool rotate, Swarm__Response **ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__UnlockKeyRequest m = SWARM__UNLOCK_KEY_REQUEST__INIT;

        m.rotate = rotate;
        q.kind_case = SWARM__REQUEST__KIND_UNLOCK_KEY;
        q.unlock_key = &m;
        int r = ctl_call(ctl, &q, ret);
        if (r == 0 &&
            ((*ret)->kind_case != SWARM__RESPONSE__KIND_UNLOCK_KEY || !*(*ret)->unlock_key)) {
                wire_free(*ret);
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                                "no unlock key is set: see swarm update --autolock");
        }
        return r;
}

static void print_unlock_key(const char *key, bool is_quiet)
{
        _cleanup_free_ char *safe = text_safe(key);

        if (is_quiet)
                printf("%s\n", safe);
        else
                printf("To unlock a manager after it restarts, run `swarmctl swarm unlock` on its "
                       "machine\nand provide the following key:\n\n    %s\n\n"
                       "Please remember to store this key in a password manager, since without it "
                       "you\nwill not be able to restart the manager.\n",
                       safe);
}

static int run_unlock_key(struct ctl *ctl, const struct args *args)
{
        const bool rotate = args_on(args, "rotate"), is_quiet = args_on(args, "quiet");
        Swarm__Response *answer = NULL;
        int r = ask_unlock_key(ctl, rotate, &answer);

        if (r)
                return r;
        if (rotate && !is_quiet)
                printf("Successfully rotated manager unlock key.\n\n");
        print_unlock_key(answer->unlock_key, is_quiet);
        wire_free(answer);
        return CLIENT_EXIT_DONE;
}

static int run_unlock(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Unlock m = SWARM__UNLOCK__INIT;
        char line[SECRET_LINE_MAX];
        struct err err = {0};

        (void)args;
        if (secret_line_read("Please enter unlock key: ", line, &err) < 0)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "unlock: %s", err.text);
        m.key = line;
        q.kind_case = SWARM__REQUEST__KIND_UNLOCK;
        q.unlock = &m;
        int r = ctl_call(ctl, &q, NULL);
        explicit_bzero(line, sizeof(line));
        return r;
}

/* --- update --------------------------------------------------------------------------------------
 */
static void take_number(const struct args *args, const char *flag, Swarm__Number *n,
                        Swarm__Number **ret)
{
        const struct flag_value *v = args_get(args, flag);

        swarm__number__init(n);
        n->value = v->number;
        if (v->is_set)
                *ret = n;
}

static int say_updated(struct ctl *ctl, bool is_locking)
{
        Swarm__Response *answer = NULL;
        int r;

        printf("Cluster updated.\n");
        if (!is_locking)
                return CLIENT_EXIT_DONE;
        r = ask_unlock_key(ctl, false, &answer);
        if (r == 0) {
                print_unlock_key(answer->unlock_key, false);
                wire_free(answer);
        }
        return r;
}

static int run_update(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ClusterUpdate u = SWARM__CLUSTER_UPDATE__INIT;
        Swarm__Number heartbeat, suspect, down, history, wait, autolock;

        take_number(args, "dispatcher-heartbeat", &heartbeat, &u.heartbeat_ms);
        take_number(args, "suspect-after", &suspect, &u.suspect_ms);
        take_number(args, "down-after", &down, &u.down_ms);
        take_number(args, "task-history-limit", &history, &u.task_history_limit);
        take_number(args, "mass-failure-wait", &wait, &u.mass_failure_wait_ms);
        swarm__number__init(&autolock);
        autolock.value = args_on(args, "autolock");
        if (args_is_set(args, "autolock"))
                u.autolock = &autolock;
        if (!u.heartbeat_ms && !u.suspect_ms && !u.down_ms && !u.task_history_limit &&
            !u.mass_failure_wait_ms && !u.autolock)
                return ctl_usage(ctl, "nothing to update");
        q.kind_case = SWARM__REQUEST__KIND_CLUSTER_UPDATE;
        q.cluster_update = &u;
        int r = ctl_call(ctl, &q, NULL);
        return r ? r : say_updated(ctl, autolock.value);
}

static const struct flag join_token_flags[] = {
        {"quiet", 'q', FLAG_BOOL, "Print the token only", NULL},
        {"rotate", 0, FLAG_BOOL, "Make a new token; the old one is no longer taken", NULL},
        {0},
};

static const struct flag no_flags[] = {{0}};

static const struct flag unlock_key_flags[] = {
        {"quiet", 'q', FLAG_BOOL, "Print the key only", NULL},
        {"rotate", 0, FLAG_BOOL, "Make a new key; the old one is no longer taken", NULL},
        {0},
};

static const struct flag update_flags[] = {
        {"autolock", 0, FLAG_BOOL, "Seal the managers' keys: a start needs the unlock key", NULL},
        {"cert-expiry", 0, FLAG_ABSENT, NULL, NULL},
        {"dispatcher-heartbeat", 0, FLAG_DURATION, "Time between a node's heartbeats", NULL},
        {"down-after", 0, FLAG_DURATION, "Silence after which a node is down", NULL},
        {"external-ca", 0, FLAG_ABSENT, NULL, NULL},
        {"mass-failure-wait", 0, FLAG_DURATION,
         "Longest wait before tasks are replaced while most nodes are silent", NULL},
        {"max-snapshots", 0, FLAG_ABSENT, NULL, NULL},
        {"snapshot-interval", 0, FLAG_ABSENT, NULL, NULL},
        {"suspect-after", 0, FLAG_DURATION, "Silence after which a node gets no new tasks", NULL},
        {"task-history-limit", 0, FLAG_INT, "Ended tasks kept a slot (negative: all)", NULL},
        {0},
};

const struct command cmd_swarm[] = {
        {.noun = "swarm",
         .verb = "join-token",
         .usage = "worker|manager",
         .summary = "Show how a node joins the cluster",
         .args_min = 1,
         .args_max = 1,
         .flags = {{join_token_flags}},
         .run = run_join_token},
        {.noun = "swarm",
         .verb = "unlock",
         .usage = "",
         .summary = "Unlock the manager of this machine (asks for the key, or reads it from stdin)",
         .flags = {{no_flags}},
         .run = run_unlock},
        {.noun = "swarm",
         .verb = "unlock-key",
         .usage = "",
         .summary = "Show the key that unlocks managers",
         .flags = {{unlock_key_flags}},
         .run = run_unlock_key},
        {.noun = "swarm",
         .verb = "update",
         .usage = "",
         .summary = "Change the cluster's settings",
         .flags = {{update_flags}},
         .run = run_update},
        {0},
};
