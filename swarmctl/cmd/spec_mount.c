/* Mounts and ulimits as people write them: see spec.h. */
#include <errno.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/spec_internal.h"

/* Reads a field that begins with a quote at *s and ends at the next single one; two quotes in it
 * stand for one. */
static int scan_quoted(const char **s, struct buf *ret)
{
        for (const char *p = *s + 1; *p; p++) {
                if (*p == '"' && *++p != '"') {
                        *s = p;
                        return 0;
                }
                buf_putc(ret, *p);
        }
        return -EINVAL;
}

/* Splits comma-separated fields, each plain or quoted as a whole. */
static int split_csv(const char *s, char ***ret)
{
        _cleanup_strv_ char **v = NULL;
        _cleanup_buf_ struct buf b = {0};

        for (;; s++) {
                buf_clear(&b);
                if (*s == '"' && scan_quoted(&s, &b) < 0)
                        return -EINVAL;
                if (!b.len)
                        for (; *s && *s != ','; s++)
                                buf_putc(&b, *s);
                strv_push(&v, buf_str(&b));
                if (!*s)
                        break;
                if (*s != ',')
                        return -EINVAL;
        }
        *ret = STEAL_PTR(v);
        return 0;
}

static int parse_type(Swarm__Mount *m, const char *v)
{
        enum mount_type type;

        if (mount_type_parse(v, &type) < 0)
                return -EINVAL;
        m->type = type;
        return 0;
}

static int parse_switch(protobuf_c_boolean *field, const char *v)
{
        bool on;

        if (parse_bool(v, &on) < 0)
                return -EINVAL;
        *field = on;
        return 0;
}

static int parse_propagation(Swarm__Mount *m, const char *v)
{
        static const char *const known[] = {"private", "rprivate", "slave",
                                            "rslave",  "shared",   "rshared"};

        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
                if (str_is_equal(v, known[i])) {
                        edit_str(&m->propagation, v);
                        return 0;
                }
        }
        return -EINVAL;
}

static int parse_mode(Swarm__Mount *m, const char *v)
{
        char *end;
        unsigned long mode = strtoul(v, &end, 8);

        if (!*v || *end || mode > 07777)
                return -EINVAL;
        m->tmpfs_mode = (uint32_t)mode;
        return 0;
}

static int parse_recursive(Swarm__Mount *m, const char *v)
{
        if (!str_is_equal(v, "enabled") && !str_is_equal(v, "disabled"))
                return -EINVAL;
        m->nonrecursive = str_is_equal(v, "disabled");
        return 0;
}

/* Docker's, and of no effect on Linux there either. */
static int parse_consistency(const char *v)
{
        static const char *const known[] = {"default", "consistent", "cached", "delegated"};

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_is_equal(v, known[i]))
                        return 0;
        return -EINVAL;
}

static bool is_any(const char *s, const char *a, const char *b, const char *c)
{
        return str_is_equal(s, a) || str_is_equal(s, b) || str_is_equal(s, c);
}

/* -EINVAL: bad value; -ENOKEY: no such key; -EOPNOTSUPP: one of Docker's. */
static int set_key(Swarm__Mount *m, const char *key, const char *v)
{
        if (str_is_equal(key, "type"))
                return parse_type(m, v);
        if (is_any(key, "source", "src", "source"))
                return edit_str(&m->source, v), 0;
        if (is_any(key, "target", "dst", "destination"))
                return edit_str(&m->target, v), 0;
        if (is_any(key, "readonly", "ro", "readonly"))
                return parse_switch(&m->read_only, v);
        if (str_is_equal(key, "bind-propagation"))
                return parse_propagation(m, v);
        if (str_is_equal(key, "bind-nonrecursive"))
                return parse_switch(&m->nonrecursive, v);
        if (str_is_equal(key, "bind-recursive"))
                return parse_recursive(m, v);
        if (str_is_equal(key, "bind-create-src"))
                return parse_switch(&m->create_source, v);
        if (str_is_equal(key, "volume-nocopy"))
                return parse_switch(&m->nocopy, v);
        if (str_is_equal(key, "volume-subpath"))
                return edit_str(&m->subpath, v), 0;
        if (str_is_equal(key, "tmpfs-size"))
                return parse_size(v, &m->tmpfs_size);
        if (str_is_equal(key, "tmpfs-mode"))
                return parse_mode(m, v);
        if (str_is_equal(key, "consistency"))
                return parse_consistency(v);
        if (is_any(key, "volume-driver", "volume-opt", "volume-label") ||
            str_is_equal(key, "image-subpath"))
                return -EOPNOTSUPP;
        return -ENOKEY;
}

static bool is_switch(const char *key)
{
        return is_any(key, "readonly", "ro", "bind-nonrecursive") ||
               is_any(key, "bind-create-src", "volume-nocopy", "volume-nocopy");
}

static int set_field(Swarm__Mount *m, const char *field, struct err *err)
{
        const char *eq = strchr(field, '=');
        _cleanup_free_ char *key = eq ? xstrndup(field, (size_t)(eq - field)) : xstrdup(field);

        if (!eq && !is_switch(key))
                return err_set(err, EINVAL, "field \"%s\" must be KEY=VALUE", field);
        switch (set_key(m, key, eq ? eq + 1 : "true")) {
        case 0: return 0;
        case -ENOKEY: return err_set(err, EINVAL, "unknown key \"%s\"", key);
        case -EOPNOTSUPP:
                return err_set(err, EINVAL, "key %s is not supported by this version", key);
        default: return err_set(err, EINVAL, "invalid value for %s: %s", key, eq ? eq + 1 : "");
        }
}

/* Or may be: what a template makes of it is for the manager to say. */
static bool is_absolute(const char *path)
{
        return *path == '/' || str_has_prefix(path, "{{");
}

static int check_mount(const Swarm__Mount *m, struct err *err)
{
        const char *type = mount_type_name((enum mount_type)m->type);

        if (!*m->target)
                return err_set(err, EINVAL, "target is required");
        if (!is_absolute(m->target))
                return err_set(err, EINVAL, "target must be an absolute path: %s", m->target);
        if (m->type == MOUNT_BIND && !is_absolute(m->source))
                return err_set(err, EINVAL, "source of a bind mount must be an absolute path");
        if (m->type == MOUNT_TMPFS && *m->source)
                return err_set(err, EINVAL, "a tmpfs mount has no source");
        if (m->type == MOUNT_VOLUME && *m->source && !strstr(m->source, "{{") &&
            !name_is_valid(m->source)) /* what a template makes of it is checked on the node */
                return err_set(err, EINVAL, "\"%s\" is not a name of a volume", m->source);
        if (m->type != MOUNT_BIND && (*m->propagation || m->nonrecursive || m->create_source))
                return err_set(err, EINVAL, "bind-* keys do not go with type %s", type);
        if (m->type != MOUNT_VOLUME && (m->nocopy || *m->subpath))
                return err_set(err, EINVAL, "volume-* keys do not go with type %s", type);
        if (m->type != MOUNT_TMPFS && (m->tmpfs_size || m->tmpfs_mode))
                return err_set(err, EINVAL, "tmpfs-* keys do not go with type %s", type);
        return 0;
}

int spec_parse_mount(const char *text, Swarm__Mount **ret, struct err *err)
{
        _cleanup_strv_ char **fields = NULL;
        Swarm__Mount *m;
        int r = 0;

        if (split_csv(text, &fields) < 0)
                return err_set(err, EINVAL, "mount \"%s\": wrong or unfinished quote", text);
        m = EDIT_NEW(Swarm__Mount, swarm__mount__init);
        for (char **f = fields; *f && r == 0; f++)
                r = set_field(m, *f, err);
        if (r == 0)
                r = check_mount(m, err);
        if (r < 0) {
                wire_free(m);
                return err_wrap(err, "mount \"%s\"", text);
        }
        *ret = m;
        return 0;
}

/* A limit: a number, or -1 or "unlimited". */
static int parse_limit(const char *s, int64_t *ret)
{
        int64_t v = -1;
        int r = str_is_equal(s, "unlimited") ? 0 : parse_i64(s, &v);

        if (r < 0 || v < -1)
                return -EINVAL;
        *ret = v;
        return 0;
}

int spec_parse_ulimit(const char *text, Swarm__Ulimit **ret, struct err *err)
{
        const char *value = NULL;
        size_t len = 0;
        int64_t soft = -1, hard = -1;
        int r = parse_key_value(text, &len, &value);

        if (r == 0) {
                const char *colon = strchr(value, ':');
                _cleanup_free_ char *first =
                        colon ? xstrndup(value, (size_t)(colon - value)) : xstrdup(value);

                r = parse_limit(first, &soft);
                hard = soft;
                if (r == 0 && colon)
                        r = parse_limit(colon + 1, &hard);
        }
        if (r < 0)
                return err_set(err, EINVAL, "ulimit \"%s\": must be NAME=SOFT[:HARD]", text);
        if (hard != -1 && (soft == -1 || soft > hard))
                return err_set(err, EINVAL, "ulimit \"%s\": the soft limit is above the hard one",
                               text);
        *ret = EDIT_NEW(Swarm__Ulimit, swarm__ulimit__init);
        _cleanup_free_ char *name = xstrndup(text, len);
        edit_str(&(*ret)->name, name);
        (*ret)->soft = soft;
        (*ret)->hard = hard;
        return 0;
}
