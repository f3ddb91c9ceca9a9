/* Programs run inside a running container, by its supervisor: requests out, answers back. */
#include <errno.h>
#include <string.h>

#include "agent/runtime/runtime_internal.h"

static int flatten(char *const *argv, struct buf *ret)
{
        for (size_t i = 0; argv && argv[i]; i++)
                buf_append(ret, argv[i], strlen(argv[i]) + 1);
        if (ret->len == 0)
                return -EINVAL;
        return ret->len > SHIM_EXEC_ARGS_MAX ? -E2BIG : 0;
}

void runtime_exec(struct runtime *r, struct id id, char *const *argv, int64_t timeout_ms,
                  runtime_exec_fn *done, void *arg)
{
        struct container *c = map_get_id(&r->containers, id);
        _cleanup_buf_ struct buf args = {0};
        int result = !c || c->phase != PHASE_RUNNING ? -ESRCH
                     : c->socket < 0                 ? -ENOTCONN
                                                     : flatten(argv, &args);
        struct shim_message m = {.type = SHIM_EXEC,
                                 .cookie = ++r->cookies,
                                 .number = timeout_ms,
                                 .length = (uint32_t)args.len};

        if (result == 0)
                result = message_put(c->socket, &m, args.data, NULL, 0);
        if (result == -EAGAIN)
                result = -EBUSY; /* it has not read what it was asked before */
        if (result < 0) {
                answer_later(r, (struct answer){.exec = done, .arg = arg, .status = result});
                return;
        }
        struct exec_wait *w = xnew(struct exec_wait);

        w->cookie = m.cookie;
        w->done = done;
        w->arg = arg;
        list_push_back(&c->execs, &w->link);
}

void exec_answered(struct container *c, const struct shim_message *m, const char *text)
{
        struct exec_wait *w;

        LIST_FOREACH (w, &c->execs, link)
                if (w->cookie == m->cookie) {
                        list_remove(&w->link);
                        w->done(w->arg, m->value < 0 ? m->value : m->status, text,
                                MIN((size_t)m->length, SHIM_EXEC_OUTPUT));
                        free(w);
                        return;
                }
}

void execs_fail(struct container *c, int status)
{
        struct list *l;

        while ((l = list_pop_front(&c->execs))) {
                struct exec_wait *w = LIST_ITEM(l, struct exec_wait, link);

                answer_later(c->runtime,
                             (struct answer){.exec = w->done, .arg = w->arg, .status = status});
                free(w);
        }
}
