/* The commands of the noun "node": demote, inspect, ls, promote, ps, rm, update. */
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/cmd/tasks.h"
#include "swarmctl/output/output.h"

/* --- ls ------------------------------------------------------------------------------------------
 */
static const struct column columns[] = {
        {"ID", "ID", false},
        {"Self", "SELF", true},
        {"Hostname", "HOSTNAME", false},
        {"Status", "STATUS", false},
        {"Availability", "AVAILABILITY", false},
        {"ManagerStatus", "MANAGER STATUS", false},
        {"EngineVersion", "ENGINE VERSION", false},
        {"Address", "ADDRESS", true},
        {"Role", "ROLE", true},
        {"Tasks", "TASKS", true},
        {0},
};

static void set_capital(struct listing *l, const char *field, const char *name)
{
        _cleanup_free_ char *text = text_capital(name);

        listing_set(l, field, "%s", text);
}

static void add_row(struct listing *l, const Swarm__Node *n, bool is_self, bool mark)
{
        const Swarm__NodeDescription *d = n->description;
        const enum manager_status s = (enum manager_status)n->manager_status;

        listing_add(l, doc_node(n));
        listing_set(l, "ID", "%s%s", text_id(&n->id, false).s, is_self && mark ? " *" : "");
        listing_set(l, "Self", "%s", is_self ? "true" : "false");
        listing_set(l, "Hostname", "%s", d ? d->hostname : "");
        set_capital(l, "Status", node_state_name((enum node_state)n->state));
        if (n->is_disk_full)
                listing_set(l, "Status", "Ready (disk full)");
        set_capital(l, "Availability",
                    node_availability_name((enum node_availability)n->availability));
        set_capital(l, "ManagerStatus", s == MANAGER_NONE ? "" : manager_status_name(s));
        listing_set(l, "EngineVersion", "%s", d ? d->engine_version : "");
        listing_set(l, "Address", "%s", d ? d->address : "");
        set_capital(l, "Role", node_role_name((enum node_role)n->role));
        listing_set(l, "Tasks", "%llu", (unsigned long long)n->tasks);
}

static const char *hostname(const Swarm__Node *n)
{
        return n->description ? n->description->hostname : "";
}

static int compare_nodes(const void *x, const void *y)
{
        const Swarm__Node *a = *(const Swarm__Node *const *)x;
        const Swarm__Node *b = *(const Swarm__Node *const *)y;
        const struct id_text id_a = text_id(&a->id, false), id_b = text_id(&b->id, false);
        int r = strcmp(hostname(a), hostname(b));

        return r ? r : strcmp(id_a.s, id_b.s);
}

/* All nodes of an answer, sorted by name: an array that borrows from the parts. */
static Swarm__Node **collect(const struct responses *parts, size_t *ret_n)
{
        Swarm__Node **nodes = NULL;
        size_t n = 0;

        for (size_t i = 0; i < parts->n; i++) {
                const Swarm__NodeList *list = parts->v[i]->nodes;

                if (parts->v[i]->kind_case != SWARM__RESPONSE__KIND_NODES || !list->n_nodes)
                        continue;
                nodes = xreallocarray(nodes, n + list->n_nodes, sizeof(Swarm__Node *));
                memcpy(nodes + n, list->nodes, list->n_nodes * sizeof(Swarm__Node *));
                n += list->n_nodes;
        }
        *ret_n = n;
        return nodes;
}

static int ask_info(struct ctl *ctl, Swarm__Response **ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        q.kind_case = SWARM__REQUEST__KIND_INFO;
        q.info = &empty;
        return ctl_call(ctl, &q, ret);
}

static int print_list(struct ctl *ctl, const struct args *args, Swarm__Node **nodes, size_t n,
                      const Swarm__Response *info)
{
        const char *format = args_text(args, "format");
        const bool mark = !format || str_is_equal(format, "table");
        struct id_text self = {""};
        _cleanup_listing_ struct listing *l = NULL;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};

        if (info->kind_case == SWARM__RESPONSE__KIND_INFO)
                self = text_id(&info->info->node_id, false);
        if (listing_new(columns, format, &l, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        for (size_t i = 0; i < n; i++) {
                const struct id_text id = text_id(&nodes[i]->id, false);

                if (args_on(args, "quiet") && !format)
                        buf_printf(&out, "%s\n", id.s);
                else
                        add_row(l, nodes[i], str_is_equal(id.s, self.s), mark);
        }
        if ((format || !args_on(args, "quiet")) && listing_print(l, &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

static int run_ls(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        _cleanup_filters_ struct filters filters = {0};
        _cleanup_responses_ struct responses parts = {0};
        Swarm__Response *info = NULL;
        size_t n;
        int r = filters_read(ctl, args, filter_node_keys, &filters);

        if (r)
                return r;
        list.filters = filters.v;
        list.n_filters = filters.n;
        q.kind_case = SWARM__REQUEST__KIND_NODE_LIST;
        q.node_list = &list;
        r = list_call(ctl, &q, &parts);
        if (r == 0)
                r = ask_info(ctl, &info);
        if (r)
                return r;
        _cleanup_free_ Swarm__Node **nodes = collect(&parts, &n);
        if (n)
                qsort(nodes, n, sizeof(Swarm__Node *), compare_nodes);
        r = print_list(ctl, args, nodes, n, info);
        wire_free(info);
        return r;
}

/* --- inspect -------------------------------------------------------------------------------------
 */
static int print_pretty(Swarm__Node **nodes, size_t n)
{
        _cleanup_buf_ struct buf out = {0};

        for (size_t i = 0; i < n; i++) {
                if (i)
                        buf_putc(&out, '\n');
                pretty_node(nodes[i], &out);
        }
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

static int run_inspect(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        _cleanup_responses_ struct responses parts = {0};
        _cleanup_inspection_ struct inspection docs;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};
        size_t n;

        inspection_init(&docs);
        if (args_on(args, "pretty") && args_text(args, "format"))
                return ctl_usage(ctl, "--pretty and --format exclude each other");
        refs.refs = args->rest;
        refs.n_refs = args->n_rest;
        q.kind_case = SWARM__REQUEST__KIND_NODE_GET;
        q.node_get = &refs;
        int r = list_call(ctl, &q, &parts);
        if (r)
                return r;
        _cleanup_free_ Swarm__Node **nodes = collect(&parts, &n);
        if (args_on(args, "pretty"))
                return print_pretty(nodes, n);
        for (size_t i = 0; i < n; i++)
                inspection_add(&docs, doc_node(nodes[i]));
        if (inspection_print(&docs, args_text(args, "format"), &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

static int run_ps(struct ctl *ctl, const struct args *args)
{
        char self[] = "self", *none[] = {self, NULL};
        const bool is_default = args->n_rest == 0;

        return tasks_run_ps(ctl, args, is_default ? none : args->rest,
                            is_default ? 1 : args->n_rest, true);
}

/* --- update, rm ----------------------------------------------------------------------------------
 */
/* "KEY=VALUE", or "KEY" for an empty value. */
static Swarm__KeyValue *label_new(const char *text)
{
        size_t len = strcspn(text, "=");
        Swarm__KeyValue *label = xnew(Swarm__KeyValue);

        swarm__key_value__init(label);
        label->key = xstrndup(text, len);
        label->value = xstrdup(text[len] ? text + len + 1 : "");
        return label;
}

static void labels_free(Swarm__KeyValue **labels, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                free(labels[i]->key);
                free(labels[i]->value);
                free(labels[i]);
        }
        free(labels);
}

static int send_update(struct ctl *ctl, const struct args *args, Swarm__NodeUpdate *u)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Number availability = SWARM__NUMBER__INIT, role = SWARM__NUMBER__INIT;
        enum node_availability a;
        enum node_role o;

        if (args_is_set(args, "availability") &&
            node_availability_parse(args_text(args, "availability"), &a) == 0) {
                availability.value = a;
                u->availability = &availability;
        }
        if (args_is_set(args, "role") && node_role_parse(args_text(args, "role"), &o) == 0) {
                role.value = o;
                u->role = &role;
        }
        q.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        q.node_update = u;
        return ctl_call(ctl, &q, NULL);
}

static int run_update(struct ctl *ctl, const struct args *args)
{
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        char **add = args_get(args, "label-add")->list, **rm = args_get(args, "label-rm")->list;
        const size_t n_add = strv_len(add), n_rm = strv_len(rm);

        if (!n_add && !n_rm && !args_is_set(args, "availability") && !args_is_set(args, "role"))
                return ctl_usage(ctl, "nothing to update");
        for (size_t i = 0; i < n_add; i++)
                if (!*add[i] || *add[i] == '=')
                        return ctl_usage(ctl, "invalid value \"%s\" for --label-add: no key",
                                         add[i]);
        Swarm__KeyValue **labels = xnew_array(Swarm__KeyValue *, n_add + 1);
        for (size_t i = 0; i < n_add; i++)
                labels[i] = label_new(add[i]);
        u.ref = args->rest[0];
        u.label_add = labels;
        u.n_label_add = n_add;
        u.label_rm = rm;
        u.n_label_rm = n_rm;
        int r = send_update(ctl, args, &u);
        labels_free(labels, n_add);
        if (r == 0)
                printf("%s\n", args->rest[0]);
        return r;
}

/* --- promote, demote -----------------------------------------------------------------------------
 */
static int ask_role(struct ctl *ctl, char *ref, enum node_role *ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        _cleanup_responses_ struct responses parts = {0};
        size_t n;

        refs.refs = &ref;
        refs.n_refs = 1;
        q.kind_case = SWARM__REQUEST__KIND_NODE_GET;
        q.node_get = &refs;
        int r = list_call(ctl, &q, &parts);
        if (r)
                return r;
        _cleanup_free_ Swarm__Node **nodes = collect(&parts, &n);
        *ret = n ? (enum node_role)nodes[0]->role : ROLE_WORKER;
        return 0;
}

static int set_role(struct ctl *ctl, char *ref, enum node_role role)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__Number number = SWARM__NUMBER__INIT;
        enum node_role now = role;
        int r = ask_role(ctl, ref, &now);

        if (r)
                return r;
        if (now == role) {
                printf("Node %s is already a %s.\n", ref, node_role_name(role));
                return 0;
        }
        number.value = role;
        u.ref = ref;
        u.role = &number;
        q.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        q.node_update = &u;
        r = ctl_call(ctl, &q, NULL);
        if (r == 0)
                printf(role == ROLE_MANAGER ? "Node %s promoted to a manager in the swarm.\n"
                                            : "Manager %s demoted in the swarm.\n",
                       ref);
        return r;
}

static int set_roles(struct ctl *ctl, const struct args *args, enum node_role role)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < args->n_rest; i++)
                r = set_role(ctl, args->rest[i], role);
        return r;
}

static int run_promote(struct ctl *ctl, const struct args *args)
{
        return set_roles(ctl, args, ROLE_MANAGER);
}

static int run_demote(struct ctl *ctl, const struct args *args)
{
        return set_roles(ctl, args, ROLE_WORKER);
}

static int run_rm(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeRemove remove = SWARM__NODE_REMOVE__INIT;

        remove.refs = args->rest;
        remove.n_refs = args->n_rest;
        remove.force = args_on(args, "force");
        q.kind_case = SWARM__REQUEST__KIND_NODE_REMOVE;
        q.node_remove = &remove;
        int r = ctl_call(ctl, &q, NULL);
        for (size_t i = 0; r == 0 && i < args->n_rest; i++)
                printf("%s\n", args->rest[i]);
        return r;
}

/* --- the table -----------------------------------------------------------------------------------
 */
static const struct flag ls_flags[] = {
        {"filter", 'f', FLAG_LIST,
         "Only these: id=, name=, role=, membership=, label=, node.label=", NULL},
        {"format", 0, FLAG_STRING, "table, json or a template", NULL},
        {"quiet", 'q', FLAG_BOOL, "Show ids only", NULL},
        {0},
};

static const struct flag inspect_flags[] = {
        {"format", 'f', FLAG_STRING, "json or a template", NULL},
        {"pretty", 0, FLAG_BOOL, "Print in a form for people", NULL},
        {0},
};

static const struct flag update_flags[] = {
        {"availability", 0, FLAG_CHOICE, "Whether tasks are placed there", "active|pause|drain"},
        {"label-add", 0, FLAG_LIST, "Add or change a label: KEY=VALUE", NULL},
        {"label-rm", 0, FLAG_LIST, "Remove a label", NULL},
        {"role", 0, FLAG_CHOICE, "Role of the node", "worker|manager"},
        {0},
};

static const struct flag no_flags[] = {{0}};

static const struct flag rm_flags[] = {
        {"force", 'f', FLAG_BOOL, "Also a node that is not down", NULL},
        {0},
};

#define COMMAND(verb_, usage_, summary_, min_, max_, flags_, run_)                         \
        {                                                                                  \
                .noun = "node", .verb = (verb_), .usage = (usage_), .summary = (summary_), \
                .args_min = (min_), .args_max = (max_), .flags = {{flags_}}, .run = run_   \
        }

const struct command cmd_node[] = {
        COMMAND("demote", "NODE [NODE...]", "Make managers workers", 1, -1, no_flags, run_demote),
        COMMAND("inspect", "self|NODE [NODE...]", "Show nodes in detail", 1, -1, inspect_flags,
                run_inspect),
        {.noun = "node",
         .verb = "ls",
         .alias = "list",
         .usage = "",
         .summary = "List nodes",
         .flags = {{ls_flags}},
         .run = run_ls},
        COMMAND("promote", "NODE [NODE...]", "Make workers managers", 1, -1, no_flags, run_promote),
        COMMAND("ps", "[NODE...]", "List the tasks of nodes (default: self)", 0, -1, tasks_flags,
                run_ps),
        {.noun = "node",
         .verb = "rm",
         .alias = "remove",
         .usage = "NODE [NODE...]",
         .summary = "Remove nodes from the cluster",
         .args_min = 1,
         .args_max = -1,
         .flags = {{rm_flags}},
         .run = run_rm},
        COMMAND("update", "NODE", "Change a node", 1, 1, update_flags, run_update),
        {0},
};
