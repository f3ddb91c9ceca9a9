/* Filters: see filter.h. */
#include "shared/model/filter.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

const struct filter_key filter_service_keys[] = {
        {"id", NULL}, {"label", NULL}, {"mode", "replicated|global"}, {"name", NULL}, {0}};

const struct filter_key filter_task_keys[] = {
        {"desired-state", "running|shutdown|accepted|ready|remove"},
        {"id", NULL},
        {"name", NULL},
        {"node", NULL},
        {"service", NULL},
        {0}};

const struct filter_key filter_node_keys[] = {{"id", NULL},
                                              {"label", NULL},
                                              {"membership", "accepted|pending"},
                                              {"name", NULL},
                                              {"node.label", NULL},
                                              {"role", "worker|manager"},
                                              {0}};

const struct filter_key filter_event_keys[] = {
        {"event", "create|update|remove|running|complete|shutdown|failed|rejected|orphaned"},
        {"node", NULL},
        {"service", NULL},
        {"type", "service|node|task|image|cluster"},
        {0}};

/* Is the value one of "a|b"? */
static bool is_one_of(const char *values, const char *value)
{
        const size_t n = strlen(value);

        for (;;) {
                size_t len = strcspn(values, "|");

                if (len == n && !strncasecmp(values, value, n))
                        return true;
                if (!values[len])
                        return false;
                values += len + 1;
        }
}

/* "a, b or c" of "a|b|c", in heap memory. */
static char *spell(const char *values)
{
        struct buf b = {0};

        for (const char *p = values; *p; p++) {
                if (*p != '|')
                        buf_putc(&b, *p);
                else
                        buf_puts(&b, strchr(p + 1, '|') ? ", " : " or ");
        }
        return buf_take_str(&b);
}

static int refuse_key(const struct filter_key *keys, const char *key, struct err *err)
{
        _cleanup_buf_ struct buf names = {0};

        for (const struct filter_key *k = keys; k->name; k++)
                buf_printf(&names, "%s%s", k == keys ? "" : "|", k->name);
        _cleanup_free_ char *text = spell(buf_str(&names));
        return err_set(err, EINVAL, "invalid filter '%s': must be %s", key, text);
}

int filter_check(const struct filter_key *keys, const char *key, const char *value, struct err *err)
{
        const struct filter_key *k = keys;

        while (k->name && !str_is_equal(k->name, key))
                k++;
        if (!k->name)
                return refuse_key(keys, key, err);
        if (!k->values || is_one_of(k->values, value))
                return 0;
        _cleanup_free_ char *text = spell(k->values);
        return err_set(err, EINVAL, "invalid filter '%s=%s': must be %s", key, value, text);
}
