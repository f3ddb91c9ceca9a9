/*
 * Lists of a spec from flags: --X for create, --X-add and --X-rm for update. Adding what is there
 * replaces it in its place; removing what is not there does nothing, save for generic resources.
 * Removals come first.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/spec_internal.h"

struct list_kind {
        const char *flag; /* the part before -add and -rm */
        const char *must; /* what one is called that must be there to be removed; NULL: need not */
        /* The name by which an element is removed and replaced; its length to ret_len. */
        const char *(*key)(const void *element, size_t *ret_len);
        /* Makes an element of the text; NULL with no error: nothing to add. */
        int (*parse)(const char *text, void **ret, struct err *err);
        void (*free_one)(void *element);
};

/* The array in the spec that a kind's elements are in. */
struct list_ref {
        void *array; /* of T ** */
        size_t *n;
};

static void *element_at(const struct list_ref *l, size_t i)
{
        void **v;

        memcpy(&v, l->array, sizeof(v));
        return v[i];
}

static size_t find(const struct list_kind *k, const struct list_ref *l, const char *key, size_t len)
{
        for (size_t i = 0; i < *l->n; i++) {
                size_t n;
                const char *s = k->key(element_at(l, i), &n);

                if (n == len && !memcmp(s, key, n))
                        return i;
        }
        return SIZE_MAX;
}

static void put(const struct list_kind *k, const struct list_ref *l, void *element)
{
        size_t n;
        const char *key = k->key(element, &n);
        size_t i = find(k, l, key, n);
        void **v;

        if (i == SIZE_MAX) {
                edit_push(l->array, l->n, element);
                return;
        }
        memcpy(&v, l->array, sizeof(v));
        k->free_one(v[i]);
        v[i] = element;
}

/* The key that a -rm value names: of "spread=node.labels.rack" and the like the whole. */
static int remove_one(const struct list_kind *k, const struct list_ref *l, const char *text,
                      struct err *err)
{
        size_t i = find(k, l, text, strlen(text));
        void *parsed = NULL;
        struct err ignored = {0};

        if (i == SIZE_MAX && k->parse(text, &parsed, &ignored) == 0 && parsed) {
                size_t n;
                const char *key = k->key(parsed, &n);

                i = find(k, l, key, n);
                k->free_one(parsed);
        }
        if (i != SIZE_MAX)
                k->free_one(edit_take(l->array, l->n, i));
        else if (k->must)
                return err_set(err, ENOENT, "--%s-rm %s: the service has no such %s", k->flag, text,
                               k->must);
        return 0;
}

static int add_all(const struct list_kind *k, const struct list_ref *l, const struct flag_value *v,
                   struct err *err)
{
        for (char **s = v ? v->list : NULL; s && *s; s++) {
                void *element = NULL;
                int r = k->parse(*s, &element, err);

                if (r < 0)
                        return r;
                if (element)
                        put(k, l, element);
        }
        return 0;
}

static int apply_list(const struct list_kind *k, const struct list_ref *l, const struct args *a,
                      struct err *err)
{
        char name[64];
        int r;

        snprintf(name, sizeof(name), "%s-rm", k->flag);
        const struct flag_value *v = args_find(a, name);
        for (char **s = v ? v->list : NULL; s && *s; s++) {
                r = remove_one(k, l, *s, err);
                if (r < 0)
                        return r;
        }
        r = add_all(k, l, args_find(a, k->flag), err);
        snprintf(name, sizeof(name), "%s-add", k->flag);
        return r < 0 ? r : add_all(k, l, args_find(a, name), err);
}

/* --- elements ----------------------------------------------------------------------------------
 */

static const char *key_whole(const void *element, size_t *ret_len)
{
        *ret_len = strlen(element);
        return element;
}

static const char *key_env(const void *element, size_t *ret_len)
{
        *ret_len = strcspn(element, "=");
        return element;
}

static const char *key_pair(const void *element, size_t *ret_len)
{
        const Swarm__KeyValue *kv = element;

        *ret_len = strlen(kv->key);
        return kv->key;
}

static const char *key_generic(const void *element, size_t *ret_len)
{
        const Swarm__GenericResource *g = element;

        *ret_len = strlen(g->kind);
        return g->kind;
}

static const char *key_mount(const void *element, size_t *ret_len)
{
        const Swarm__Mount *m = element;

        *ret_len = strlen(m->target);
        return m->target;
}

static const char *key_ulimit(const void *element, size_t *ret_len)
{
        const Swarm__Ulimit *u = element;

        *ret_len = strlen(u->name);
        return u->name;
}

/* "KEY" alone: as it is in the caller's environment; where it is not, the image's is removed. */
static int parse_env(const char *text, void **ret, struct err *err)
{
        const char *eq = strchr(text, '=');

        if (!*text || eq == text)
                return err_set(err, EINVAL, "environment variable \"%s\": no name", text);
        if (eq) {
                *ret = xstrdup(text);
                return 0;
        }
        const char *value = getenv(text);
        *ret = value ? xasprintf("%s=%s", text, value) : xstrdup(text);
        return 0;
}

static int parse_pair(const char *text, void **ret, struct err *err)
{
        Swarm__KeyValue *kv;
        size_t n = strcspn(text, "=");

        if (n == 0)
                return err_set(err, EINVAL, "\"%s\": no key before the '='", text);
        _cleanup_free_ char *key = xstrndup(text, n);
        kv = EDIT_NEW(Swarm__KeyValue, swarm__key_value__init);
        edit_str(&kv->key, key);
        edit_str(&kv->value, text[n] ? text + n + 1 : "");
        *ret = kv;
        return 0;
}

static int parse_sysctl(const char *text, void **ret, struct err *err)
{
        if (!strchr(text, '='))
                return err_set(err, EINVAL, "sysctl \"%s\": must be KEY=VALUE", text);
        return parse_pair(text, ret, err);
}

static int parse_constraint(const char *text, void **ret, struct err *err)
{
        if (!strstr(text, "==") && !strstr(text, "!="))
                return err_set(err, EINVAL, "constraint \"%s\": must be KEY==VALUE or KEY!=VALUE",
                               text);
        *ret = xstrdup(text);
        return 0;
}

static int parse_pref(const char *text, void **ret, struct err *err)
{
        size_t n = strcspn(text, "=");
        const char *value = text[n] ? text + n + 1 : "";

        if (n != 6 || memcmp(text, "spread", 6) != 0)
                return err_set(err, EINVAL,
                               "placement preference \"%s\": only spread=node.labels.KEY is known",
                               text);
        if (!str_has_prefix(value, "node.labels.") && !str_has_prefix(value, "engine.labels."))
                return err_set(err, EINVAL,
                               "placement preference \"%s\": can only spread over node.labels.KEY "
                               "or engine.labels.KEY",
                               text);
        *ret = xstrdup(value);
        return 0;
}

static int parse_group(const char *text, void **ret, struct err *err)
{
        if (!*text)
                return err_set(err, EINVAL, "--group must not be empty");
        *ret = xstrdup(text);
        return 0;
}

static int parse_network(const char *text, void **ret, struct err *err)
{
        if (!str_is_equal(text, "host") && !str_is_equal(text, "none"))
                return err_set(err, EINVAL, "network \"%s\": this version knows only host and none",
                               text);
        *ret = xstrdup(text);
        return 0;
}

static int parse_generic(const char *text, void **ret, struct err *err)
{
        Swarm__GenericResource *g;
        const char *value;
        uint64_t count;
        size_t n;

        if (parse_key_value(text, &n, &value) < 0 || parse_u64(value, &count) < 0 || !count ||
            count > INT64_MAX)
                return err_set(err, EINVAL, "generic resource \"%s\": must be KIND=COUNT", text);
        _cleanup_free_ char *kind = xstrndup(text, n);
        g = EDIT_NEW(Swarm__GenericResource, swarm__generic_resource__init);
        edit_str(&g->kind, kind);
        g->count = (int64_t)count;
        *ret = g;
        return 0;
}

static int parse_mount(const char *text, void **ret, struct err *err)
{
        Swarm__Mount *m;
        int r = spec_parse_mount(text, &m, err);

        if (r == 0)
                *ret = m;
        return r;
}

static int parse_ulimit(const char *text, void **ret, struct err *err)
{
        Swarm__Ulimit *u;
        int r = spec_parse_ulimit(text, &u, err);

        if (r == 0)
                *ret = u;
        return r;
}

static const struct list_kind envs = {"env", NULL, key_env, parse_env, free};
static const struct list_kind labels = {"label", NULL, key_pair, parse_pair, wire_free};
static const struct list_kind container_labels = {"container-label", NULL, key_pair, parse_pair,
                                                  wire_free};
static const struct list_kind sysctls = {"sysctl", NULL, key_pair, parse_sysctl, wire_free};
static const struct list_kind constraints = {"constraint", NULL, key_whole, parse_constraint, free};
static const struct list_kind prefs = {"placement-pref", NULL, key_whole, parse_pref, free};
static const struct list_kind groups = {"group", NULL, key_whole, parse_group, free};
static const struct list_kind networks = {"network", NULL, key_whole, parse_network, free};
static const struct list_kind generics = {"generic-resource", "generic resource", key_generic,
                                          parse_generic, wire_free};
static const struct list_kind mounts = {"mount", NULL, key_mount, parse_mount, wire_free};
static const struct list_kind ulimits = {"ulimit", NULL, key_ulimit, parse_ulimit, wire_free};

/* --- capabilities: adding one takes it off the list of those dropped, and the other way ----------
 */

static int parse_capability(const char *text, void **ret, struct err *err)
{
        char *s = NULL;

        if (!*text)
                return err_set(err, EINVAL, "a capability must not be empty");
        s = !strncasecmp(text, "CAP_", 4) || !strcasecmp(text, "ALL") ? xstrdup(text)
                                                                      : xasprintf("CAP_%s", text);
        for (char *p = s; *p; p++)
                *p = (char)toupper((unsigned char)*p);
        *ret = s;
        return 0;
}

static int apply_capabilities(const char *flag, const struct args *a, struct list_ref to,
                              struct list_ref from, struct err *err)
{
        static const struct list_kind kind = {"cap", NULL, key_whole, parse_capability, free};
        const struct flag_value *v = args_find(a, flag);

        for (char **s = v ? v->list : NULL; s && *s; s++) {
                void *element = NULL;
                int r = parse_capability(*s, &element, err);

                if (r < 0)
                        return r;
                size_t i = find(&kind, &from, element, strlen(element));
                if (i != SIZE_MAX)
                        free(edit_take(from.array, from.n, i));
                put(&kind, &to, element);
        }
        return 0;
}

/* --- files of variables ------------------------------------------------------------------------
 */

/* A line of the file: blanks before a name are dropped, and all else is as it stands. A name alone
 * that the caller's environment has not is passed over: no variable of the image is removed. */
static int env_line(const struct list_ref *list, char *line, struct err *err)
{
        char *s = line + strspn(line, " \t");
        size_t n = strlen(s), name = strcspn(s, "=");
        void *element = NULL;

        if (n && s[n - 1] == '\r')
                s[n - 1] = 0;
        if (!*s || *s == '#')
                return 0;
        if (strcspn(s, " \t") < name)
                return err_set(err, EINVAL, "variable \"%.*s\" contains whitespace",
                               (int)MIN(name, 100u), s);
        int r = parse_env(s, &element, err);
        if (element && strchr(element, '='))
                put(&envs, list, element);
        else
                free(element);
        return r;
}

static int env_file(Swarm__ContainerSpec *c, const char *path, struct err *err)
{
        static const char bom[] = "\xef\xbb\xbf";
        _cleanup_buf_ struct buf b = {0};
        const struct list_ref list = {&c->env, &c->n_env};
        int r = io_read_file(AT_FDCWD, path, ENV_FILE_MAX, &b);

        if (r < 0)
                return err_set(err, -r, "env file %s: %s", path, err_name(r));
        const char *text = buf_str(&b);
        if (strlen(text) != b.len)
                return err_set(err, EBADMSG, "env file %s: has a zero byte", path);
        text += str_has_prefix(text, bom) ? strlen(bom) : 0;
        _cleanup_strv_ char **lines = str_split(text, '\n');
        for (size_t i = 0; lines && lines[i]; i++)
                if (env_line(&list, lines[i], err) < 0) {
                        err->code = EBADMSG;
                        return err_wrap(err, "env file %s: line %zu", path, i + 1);
                }
        return 0;
}

int spec_apply_env_files(Swarm__ContainerSpec *c, const struct args *a, struct err *err)
{
        const struct flag_value *v = args_find(a, "env-file");

        for (char **path = v ? v->list : NULL; path && *path; path++) {
                int r = env_file(c, *path, err);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- all of them -------------------------------------------------------------------------------
 */

/* The message of a list that is nested in one that may be missing: made only when needed. */
static bool is_touched(const struct args *a, const char *flag)
{
        char add[64], rm[64];

        snprintf(add, sizeof(add), "%s-add", flag);
        snprintf(rm, sizeof(rm), "%s-rm", flag);
        return args_is_set(a, flag) || args_is_set(a, add) || args_is_set(a, rm);
}

static int apply_placement_lists(Swarm__TaskSpec *t, const struct args *a, struct err *err)
{
        int r = 0;

        if (is_touched(a, "constraint") || is_touched(a, "placement-pref")) {
                Swarm__Placement *p =
                        EDIT_SUB(t->placement, Swarm__Placement, swarm__placement__init);
                const struct list_ref c = {&p->constraints, &p->n_constraints};
                const struct list_ref s = {&p->spread, &p->n_spread};

                r = apply_list(&constraints, &c, a, err);
                if (r == 0)
                        r = apply_list(&prefs, &s, a, err);
        }
        if (r == 0 && is_touched(a, "generic-resource")) {
                Swarm__Resources *res =
                        EDIT_SUB(t->reservations, Swarm__Resources, swarm__resources__init);
                const struct list_ref g = {&res->generic, &res->n_generic};

                r = apply_list(&generics, &g, a, err);
        }
        return r;
}

int spec_apply_lists(Swarm__ServiceSpec *s, const struct args *a, struct err *err)
{
        Swarm__TaskSpec *t = s->task;
        Swarm__ContainerSpec *c = t->container;
        const struct list_ref add = {&c->cap_add, &c->n_cap_add};
        const struct list_ref drop = {&c->cap_drop, &c->n_cap_drop};
        const struct {
                const struct list_kind *kind;
                struct list_ref list;
        } all[] = {
                {&envs, {&c->env, &c->n_env}},
                {&labels, {&s->labels, &s->n_labels}},
                {&container_labels, {&c->labels, &c->n_labels}},
                {&sysctls, {&c->sysctls, &c->n_sysctls}},
                {&groups, {&c->groups, &c->n_groups}},
                {&networks, {&t->networks, &t->n_networks}},
                {&mounts, {&c->mounts, &c->n_mounts}},
                {&ulimits, {&c->ulimits, &c->n_ulimits}},
        };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                int r = apply_list(all[i].kind, &all[i].list, a, err);

                if (r < 0)
                        return r;
        }
        if (t->n_networks > 1)
                return err_set(err, EINVAL, "a service is on one network: host or none");
        int r = apply_capabilities("cap-add", a, add, drop, err);
        if (r == 0)
                r = apply_capabilities("cap-drop", a, drop, add, err);
        return r < 0 ? r : apply_placement_lists(t, a, err);
}
