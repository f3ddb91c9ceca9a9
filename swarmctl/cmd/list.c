/* Filters and answers in parts: see list.h. */
#include "swarmctl/cmd/list.h"

#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/ctl_internal.h"

static int filter_read(const char *text, Swarm__Filter **ret)
{
        const char *value;
        size_t len;

        if (parse_key_value(text, &len, &value) < 0)
                return -EINVAL;
        *ret = xnew(Swarm__Filter);
        swarm__filter__init(*ret);
        (*ret)->key = xstrndup(text, len);
        (*ret)->value = xstrdup(value);
        return 0;
}

int filters_read(struct ctl *ctl, const struct args *args, const struct filter_key *keys,
                 struct filters *ret)
{
        const struct flag_value *flag = args_find(args, "filter");

        *ret = (struct filters){0};
        for (char **text = flag ? flag->list : NULL; text && *text; text++) {
                struct err err = {0};
                Swarm__Filter *f;

                if (ret->n == LIST_FILTERS_MAX)
                        return ctl_usage(ctl, "more than %d filters", LIST_FILTERS_MAX);
                if (filter_read(*text, &f) < 0)
                        return ctl_usage(ctl, "invalid filter \"%s\": must be KEY=VALUE", *text);
                ret->v = xreallocarray(ret->v, ret->n + 1, sizeof(Swarm__Filter *));
                ret->v[ret->n++] = f;
                if (filter_check(keys, f->key, f->value, &err) < 0)
                        return ctl_usage(ctl, "%s", err.text);
        }
        return 0;
}

void filters_done(struct filters *f)
{
        for (size_t i = 0; i < f->n; i++) {
                free(f->v[i]->key);
                free(f->v[i]->value);
                free(f->v[i]);
        }
        free(f->v);
        *f = (struct filters){0};
}

static int take_part(struct responses *all, Swarm__Response *part, struct err *err)
{
        if (all->n == LIST_PARTS_MAX) {
                wire_free(part);
                return err_set(err, EMSGSIZE, "the answer has more than %d parts", LIST_PARTS_MAX);
        }
        if (all->n == all->cap) {
                all->cap = all->cap ? 2 * all->cap : 4;
                all->v = xreallocarray(all->v, all->cap, sizeof(Swarm__Response *));
        }
        all->v[all->n++] = part;
        return 0;
}

static int try_list(struct ctl *ctl, Swarm__Request *q, struct responses *ret, struct err *err)
{
        _cleanup_responses_ struct responses all = {0};
        struct client_stream *s;
        Swarm__Response *part;
        int r = ctl_stream_try(ctl, q, &s, err);

        if (r < 0)
                return r;
        while ((r = ctl_stream_next(ctl, s, CLIENT_TIMEOUT_MS, &part, err)) == 1) {
                r = take_part(&all, part, err);
                if (r < 0)
                        break;
        }
        client_stream_close(s);
        if (r == -EAGAIN)
                return err_set(err, ETIMEDOUT, "the manager did not answer in time");
        if (r == -ENOTCONN && err->code == EAGAIN)
                return -EAGAIN; /* the manager's own answer: it is not asked again */
        if (r < 0)
                return r;
        *ret = all;
        all = (struct responses){0};
        return 0;
}

int list_call(struct ctl *ctl, Swarm__Request *q, struct responses *ret)
{
        struct ctl_asking asking = {.begun_ms = time_now().mono_ms};
        struct err err;
        int r;

        do {
                err = (struct err){0};
                r = try_list(ctl, q, ret, &err);
        } while (ctl_asks_again(ctl, q, &asking, r));
        return r < 0 ? ctl_fail(ctl, (int)client_exit_code(r), "%s", err.text) : 0;
}

void responses_append(struct responses *to, struct responses *from)
{
        if (from->n > 0) {
                to->cap = to->n + from->n;
                to->v = xreallocarray(to->v, to->cap, sizeof(Swarm__Response *));
                memcpy(to->v + to->n, from->v, from->n * sizeof(Swarm__Response *));
                to->n += from->n;
        }
        free(from->v);
        *from = (struct responses){0};
}

void responses_done(struct responses *r)
{
        for (size_t i = 0; i < r->n; i++)
                wire_free(r->v[i]);
        free(r->v);
        *r = (struct responses){0};
}
