/* Defaults of a spec, and changes of one: on messages of the heap only (wire_dup), field by field.
 */
#include "manager/api/validate_internal.h"

#define NEW_MESSAGE(type, init)                       \
        ({                                            \
                type *new_m_ = xmalloc(sizeof(type)); \
                init(new_m_);                         \
                new_m_;                               \
        })

void spec_set_string(char **field, const char *value)
{
        if (*field != protobuf_c_empty_string)
                free(*field);
        *field = xstrdup(value);
}

/* What a client put there is not believed. No architecture: any node. */
void spec_set_platform(Swarm__Placement *p, const char *arch, const char *os)
{
        for (size_t i = 0; i < p->n_platforms; i++)
                swarm__platform__free_unpacked(p->platforms[i], NULL);
        free(p->platforms);
        p->platforms = NULL;
        p->n_platforms = 0;
        if (!*arch)
                return;
        p->platforms = xnew_array(Swarm__Platform *, 1);
        p->platforms[0] = NEW_MESSAGE(Swarm__Platform, swarm__platform__init);
        p->n_platforms = 1;
        spec_set_string(&p->platforms[0]->arch, arch);
        spec_set_string(&p->platforms[0]->os, os);
}

static Swarm__UpdateConfig *new_update(void)
{
        Swarm__UpdateConfig *u = NEW_MESSAGE(Swarm__UpdateConfig, swarm__update_config__init);

        u->parallelism = 1;
        u->monitor_ms = DEFAULT_UPDATE_MONITOR_MS;
        u->wait_ms = DEFAULT_UPDATE_WAIT_MS;
        return u;
}

static void fill_update(Swarm__UpdateConfig **u)
{
        if (!*u)
                *u = new_update();
        if (!(*u)->monitor_ms)
                (*u)->monitor_ms = DEFAULT_UPDATE_MONITOR_MS;
        if (!(*u)->wait_ms)
                (*u)->wait_ms = DEFAULT_UPDATE_WAIT_MS;
}

void spec_fill_defaults(Swarm__ServiceSpec *spec)
{
        Swarm__TaskSpec *task = spec->task;

        fill_update(&spec->update);
        fill_update(&spec->rollback);
        if (!task->restart)
                task->restart = NEW_MESSAGE(Swarm__RestartPolicy, swarm__restart_policy__init);
        if (!task->restart->delay_ms) {
                task->restart->delay_ms = NEW_MESSAGE(Swarm__Number, swarm__number__init);
                task->restart->delay_ms->value = DEFAULT_RESTART_DELAY_MS;
        }
        if (!task->placement)
                task->placement = NEW_MESSAGE(Swarm__Placement, swarm__placement__init);
}
