/* The commands of the noun "task": inspect. */
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/output/output.h"

static int run_inspect(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        _cleanup_responses_ struct responses parts = {0};
        _cleanup_inspection_ struct inspection docs;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};

        inspection_init(&docs);
        refs.refs = args->rest;
        refs.n_refs = args->n_rest;
        q.kind_case = SWARM__REQUEST__KIND_TASK_GET;
        q.task_get = &refs;
        int r = list_call(ctl, &q, &parts);
        if (r)
                return r;
        for (size_t i = 0; i < parts.n; i++) {
                if (parts.v[i]->kind_case != SWARM__RESPONSE__KIND_TASKS)
                        continue;
                for (size_t k = 0; k < parts.v[i]->tasks->n_tasks; k++)
                        inspection_add(&docs, doc_task(parts.v[i]->tasks->tasks[k]));
        }
        if (inspection_print(&docs, args_text(args, "format"), &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

static const struct flag inspect_flags[] = {
        {"format", 'f', FLAG_STRING, "json or a template", NULL},
        {0},
};

const struct command cmd_task[] = {
        {.noun = "task",
         .verb = "inspect",
         .usage = "TASK [TASK...]",
         .summary = "Show tasks in detail",
         .args_min = 1,
         .args_max = -1,
         .flags = {{inspect_flags}},
         .run = run_inspect},
        {0},
};
