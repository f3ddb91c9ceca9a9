/* Filters: which objects of a list are asked for. See filter_internal.h. */
#include "manager/api/filter_internal.h"

#include <errno.h>
#include <strings.h>

static bool value_matches(const struct filter_value *v, const char *asked)
{
        if (!v->value)
                return false;
        return v->is_prefix ? str_has_prefix(v->value, asked) : !strcasecmp(v->value, asked);
}

/* asked: KEY or KEY=VALUE. */
static bool label_matches(const struct filter_labels *l, const char *asked)
{
        size_t key_len = strcspn(asked, "=");

        for (size_t i = 0; i < l->n; i++) {
                const Swarm__KeyValue *label = l->labels[i];

                if (strlen(label->key) == key_len && !memcmp(label->key, asked, key_len) &&
                    (!asked[key_len] || str_is_equal(label->value, asked + key_len + 1)))
                        return true;
        }
        return false;
}

static bool filter_matches(const Swarm__Filter *f, const struct filter_object *o)
{
        for (size_t i = 0; i < o->n_values; i++)
                if (str_is_equal(o->values[i].key, f->key) &&
                    value_matches(&o->values[i], f->value))
                        return true;
        for (size_t i = 0; i < o->n_labels; i++)
                if (str_is_equal(o->labels[i].key, f->key) &&
                    label_matches(&o->labels[i], f->value))
                        return true;
        return false;
}

static bool key_matches(Swarm__Filter *const *filters, size_t n, const char *key,
                        const struct filter_object *o)
{
        for (size_t i = 0; i < n; i++)
                if (str_is_equal(filters[i]->key, key) && filter_matches(filters[i], o))
                        return true;
        return false;
}

bool filters_match(Swarm__Filter *const *filters, size_t n, const struct filter_object *o)
{
        for (size_t i = 0; i < n; i++)
                if (!key_matches(filters, n, filters[i]->key, o))
                        return false;
        return true;
}

int filters_check(Swarm__Filter *const *filters, size_t n, const struct filter_key *keys,
                  struct err *err)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = filter_check(keys, filters[i]->key, filters[i]->value, err);
        return r;
}
