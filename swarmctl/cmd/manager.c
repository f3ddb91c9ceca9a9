/* The commands of the noun "manager": ls, rm. */
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/output/output.h"

/* --- ls ------------------------------------------------------------------------------------------
 */
static const struct column columns[] = {
        {"ID", "ID", false},
        {"Hostname", "HOSTNAME", false},
        {"NodeID", "NODE ID", true},
        {"Address", "ADDRESS", false},
        {"Status", "STATUS", false},
        {"Role", "ROLE", false},
        {"ManagerStatus", "MANAGER STATUS", false},
        {"Behind", "BEHIND", false},
        {0},
};

static void set_capital(struct listing *l, const char *field, const char *name)
{
        _cleanup_free_ char *text = text_capital(name);

        listing_set(l, field, "%s", text);
}

static void add_row(struct listing *l, const Swarm__Manager *m)
{
        listing_add(l, doc_manager(m));
        listing_set(l, "ID", "%llu", (unsigned long long)m->id);
        listing_set(l, "Hostname", "%s", m->hostname);
        listing_set(l, "NodeID", "%s", text_id(&m->node_id, false).s);
        listing_set(l, "Address", "%s", m->address);
        /* one that no node is has been demoted, and is on its way out */
        set_capital(l, "Status",
                    m->node_id.len ? node_state_name((enum node_state)m->node_state) : "leaving");
        set_capital(l, "Role", member_role_name((enum member_role)m->role));
        set_capital(l, "ManagerStatus", manager_status_name((enum manager_status)m->status));
        if (m->behind < 0)
                listing_set(l, "Behind", "-");
        else
                listing_set(l, "Behind", "%lld", (long long)m->behind);
}

static int compare_managers(const void *x, const void *y)
{
        const Swarm__Manager *a = *(const Swarm__Manager *const *)x;
        const Swarm__Manager *b = *(const Swarm__Manager *const *)y;
        int r = strcmp(a->hostname, b->hostname);

        return r ? r : a->id < b->id ? -1 : a->id > b->id;
}

static int print_list(struct ctl *ctl, const struct args *args, const Swarm__ManagerList *list)
{
        const char *format = args_text(args, "format");
        const bool ids_only = args_on(args, "quiet") && !format;
        _cleanup_listing_ struct listing *l = NULL;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};

        if (listing_new(columns, format, &l, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        for (size_t i = 0; i < list->n_managers; i++)
                if (ids_only)
                        buf_printf(&out, "%llu\n", (unsigned long long)list->managers[i]->id);
                else
                        add_row(l, list->managers[i]);
        if (!ids_only && listing_print(l, &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

static int run_ls(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        Swarm__Response *m = NULL;

        q.kind_case = SWARM__REQUEST__KIND_MANAGER_LIST;
        q.manager_list = &empty;
        int r = ctl_call(ctl, &q, &m);
        if (r)
                return r;
        if (m->kind_case != SWARM__RESPONSE__KIND_MANAGERS) {
                wire_free(m);
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "the manager gave no list of managers");
        }
        if (m->managers->n_managers)
                qsort(m->managers->managers, m->managers->n_managers, sizeof(Swarm__Manager *),
                      compare_managers);
        r = print_list(ctl, args, m->managers);
        wire_free(m);
        return r;
}

/* --- rm ------------------------------------------------------------------------------------------
 */
/* One after the other: whether one may go depends on those that have gone. */
static int run_rm(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ManagerRemove remove = SWARM__MANAGER_REMOVE__INIT;
        int r = 0;

        remove.force = args_on(args, "force");
        q.kind_case = SWARM__REQUEST__KIND_MANAGER_REMOVE;
        q.manager_remove = &remove;
        for (size_t i = 0; i < args->n_rest; i++) {
                remove.ref = args->rest[i];
                int one = ctl_call(ctl, &q, NULL);
                if (one == 0)
                        printf("%s\n", args->rest[i]);
                r = one ? one : r;
        }
        return r;
}

/* --- the table -----------------------------------------------------------------------------------
 */
static const struct flag ls_flags[] = {
        {"format", 0, FLAG_STRING, "table, json or a template", NULL},
        {"quiet", 'q', FLAG_BOOL, "Show ids only", NULL},
        {0},
};

static const struct flag rm_flags[] = {
        {"force", 'f', FLAG_BOOL, "Also a manager that is reachable", NULL},
        {0},
};

const struct command cmd_manager[] = {
        {.noun = "manager",
         .verb = "ls",
         .alias = "list",
         .usage = "",
         .summary = "List managers",
         .flags = {{ls_flags}},
         .run = run_ls},
        {.noun = "manager",
         .verb = "rm",
         .alias = "remove",
         .usage = "MANAGER [MANAGER...]",
         .summary = "Take managers that are gone off the cluster",
         .args_min = 1,
         .args_max = -1,
         .flags = {{rm_flags}},
         .run = run_rm},
        {0},
};
