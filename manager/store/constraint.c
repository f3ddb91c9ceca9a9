/* Placement constraints and platforms: see constraint.h. */
#include "manager/store/constraint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"

#define CONSTRAINTS_MAX 1000
#define NETWORK_MAX     64 /* text of an address with prefix length */

enum key_kind {
        KEY_ID,
        KEY_HOSTNAME,
        KEY_IP,
        KEY_ROLE,
        KEY_OS,
        KEY_ARCH,
        KEY_NODE_LABEL,
        KEY_ENGINE_LABEL
};

static const struct {
        const char *text;
        enum key_kind kind;
        bool is_prefix; /* a label's name follows */
} keys[] = {
        {"node.id", KEY_ID, false},
        {"node.hostname", KEY_HOSTNAME, false},
        {"node.ip", KEY_IP, false},
        {"node.role", KEY_ROLE, false},
        {"node.platform.os", KEY_OS, false},
        {"node.platform.arch", KEY_ARCH, false},
        {"node.labels.", KEY_NODE_LABEL, true},
        {"engine.labels.", KEY_ENGINE_LABEL, true},
};

struct span {
        const char *p;
        size_t n;
};

struct network {
        int family;
        uint8_t address[16];
        unsigned prefix; /* bits */
};

struct term {
        enum key_kind kind;
        bool is_not;
        struct span label, value;
        struct network network; /* KEY_IP */
};

struct constraint {
        size_t n;
        struct term terms[];
};

static struct span trim(const char *p, const char *end)
{
        while (p < end && isspace((unsigned char)*p))
                p++;
        while (p < end && isspace((unsigned char)end[-1]))
                end--;
        return (struct span){p, (size_t)(end - p)};
}

static bool span_has_only(struct span s, const char *more)
{
        for (size_t i = 0; i < s.n; i++)
                if (!isalnum((unsigned char)s.p[i]) && !strchr(more, s.p[i]))
                        return false;
        return s.n > 0;
}

static bool span_is(struct span s, const char *text)
{
        return strlen(text) == s.n && strncasecmp(s.p, text, s.n) == 0;
}

static int parse_address(const char *text, int *ret_family, uint8_t ret[16])
{
        memset(ret, 0, 16);
        if (inet_pton(AF_INET, text, ret) == 1)
                *ret_family = AF_INET;
        else if (inet_pton(AF_INET6, text, ret) == 1)
                *ret_family = AF_INET6;
        else
                return -EINVAL;
        return 0;
}

static int parse_network(struct span value, struct network *ret)
{
        char text[NETWORK_MAX];
        uint64_t prefix;

        if (value.n >= sizeof(text))
                return -EINVAL;
        memcpy(text, value.p, value.n);
        text[value.n] = 0;
        char *slash = strchr(text, '/');
        if (slash)
                *slash = 0;
        if (parse_address(text, &ret->family, ret->address) < 0)
                return -EINVAL;
        prefix = ret->family == AF_INET ? 32 : 128;
        if (slash) {
                uint64_t max = prefix;

                if (parse_u64(slash + 1, &prefix) < 0 || prefix > max)
                        return -EINVAL;
        }
        ret->prefix = (unsigned)prefix;
        return 0;
}

static bool network_has(const struct network *net, const char *address)
{
        uint8_t bytes[16];
        int family;

        if (parse_address(address, &family, bytes) < 0 || family != net->family)
                return false;
        for (unsigned bit = 0; bit < net->prefix; bit++) {
                uint8_t mask = (uint8_t)(128u >> (bit & 7));

                if ((bytes[bit / 8] ^ net->address[bit / 8]) & mask)
                        return false;
        }
        return true;
}

static int parse_key(struct span key, struct term *ret)
{
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                size_t n = strlen(keys[i].text);

                if (key.n < n || strncasecmp(key.p, keys[i].text, n) != 0)
                        continue;
                if (keys[i].is_prefix ? key.n == n : key.n != n)
                        continue;
                ret->kind = keys[i].kind;
                ret->label = (struct span){key.p + n, key.n - n};
                return 0;
        }
        return -EINVAL;
}

static int parse_term(const char *expression, struct term *ret, struct err *err)
{
        const char *op = strstr(expression, "=="), *other = strstr(expression, "!=");

        if (!op || (other && other < op))
                op = other;
        if (!op)
                return err_set(err, EINVAL, "constraint \"%s\": needs == or !=", expression);
        struct span key = trim(expression, op);
        ret->is_not = *op == '!';
        ret->value = trim(op + 2, expression + strlen(expression));
        if (!span_has_only(key, ".-_/"))
                return err_set(err, EINVAL, "constraint \"%s\": invalid key", expression);
        if (parse_key(key, ret) < 0)
                return err_set(err, EINVAL, "constraint \"%s\": no such key: %.*s", expression,
                               (int)key.n, key.p);
        if (!span_has_only(ret->value, ":-_ ()+[]?=.*/,@~^%!"))
                return err_set(err, EINVAL, "constraint \"%s\": invalid value", expression);
        if (ret->kind == KEY_IP && parse_network(ret->value, &ret->network) < 0)
                return err_set(err, EINVAL, "constraint \"%s\": not an address or a network",
                               expression);
        return 0;
}

int constraint_parse(char *const *expressions, size_t n, struct constraint **ret, struct err *err)
{
        if (n > CONSTRAINTS_MAX)
                return err_set(err, EINVAL, "more than %d constraints", CONSTRAINTS_MAX);
        _cleanup_free_ struct constraint *c = xcalloc(1, sizeof(*c) + n * sizeof(c->terms[0]));
        c->n = n;
        for (size_t i = 0; i < n; i++) {
                int r = parse_term(expressions[i], &c->terms[i], err);

                if (r < 0)
                        return r;
        }
        *ret = STEAL_PTR(c);
        return 0;
}

static const char *label_value(Swarm__KeyValue *const *labels, size_t n, struct span key)
{
        for (size_t i = 0; i < n; i++)
                if (strlen(labels[i]->key) == key.n && memcmp(labels[i]->key, key.p, key.n) == 0)
                        return labels[i]->value;
        return "";
}

static const char *arch_name(const char *arch)
{
        static const struct {
                const char *alias, *name;
        } aliases[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"}};

        for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
                if (!strcasecmp(arch, aliases[i].alias))
                        return aliases[i].name;
        return arch;
}

/* What the node has for the key; d has empty texts when the node has not registered yet. */
static bool is_value(const struct term *t, const struct node *node, const Swarm__NodeDescription *d)
{
        switch (t->kind) {
        case KEY_ID: return span_is(t->value, ID_S(node->id));
        case KEY_HOSTNAME: return span_is(t->value, d->hostname);
        case KEY_IP: return network_has(&t->network, d->address);
        case KEY_ROLE: return span_is(t->value, node_role_name(node->role));
        case KEY_OS: return span_is(t->value, d->os);
        case KEY_ARCH: {
                _cleanup_free_ char *wanted = xstrndup(t->value.p, t->value.n);

                return !strcasecmp(arch_name(wanted), arch_name(d->arch));
        }
        case KEY_NODE_LABEL:
                return span_is(t->value,
                               label_value(node->labels->labels, node->labels->n_labels, t->label));
        case KEY_ENGINE_LABEL:
                return span_is(t->value,
                               label_value(d->engine_labels, d->n_engine_labels, t->label));
        }
        return false;
}

bool constraint_is_met(const struct constraint *c, const struct node *node)
{
        static const Swarm__NodeDescription unknown = SWARM__NODE_DESCRIPTION__INIT;
        const Swarm__NodeDescription *d = node->description ? node->description : &unknown;

        for (size_t i = 0; i < c->n; i++)
                if (is_value(&c->terms[i], node, d) == c->terms[i].is_not)
                        return false;
        return true;
}

static const Swarm__Placement *placement_of(const struct spec *spec)
{
        return spec->msg->task ? spec->msg->task->placement : NULL;
}

bool constraint_spec_is_met(const struct spec *spec, const struct node *node)
{
        const Swarm__Placement *p = placement_of(spec);
        _cleanup_free_ struct constraint *c = NULL;

        if (!p || p->n_constraints == 0)
                return true;
        if (constraint_parse(p->constraints, p->n_constraints, &c, NULL) < 0)
                return false;
        return constraint_is_met(c, node);
}

bool platform_is_met(const struct spec *spec, const struct node *node)
{
        const Swarm__Placement *p = placement_of(spec);
        const Swarm__NodeDescription *d = node->description;

        if (!p || p->n_platforms == 0)
                return true;
        for (size_t i = 0; d && i < p->n_platforms; i++) {
                const Swarm__Platform *want = p->platforms[i];
                bool os_fits = str_is_empty(want->os) || !strcasecmp(want->os, d->os);
                bool arch_fits = str_is_empty(want->arch) ||
                                 !strcasecmp(arch_name(want->arch), arch_name(d->arch));

                if (os_fits && arch_fits)
                        return true;
        }
        return false;
}
