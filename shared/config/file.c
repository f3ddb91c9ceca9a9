/* Settings from a YAML file: one mapping of keys to values or lists of values. See config.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <yaml.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/config/config_internal.h"

struct reader {
        struct config_run *run;
        const char *path;
        yaml_parser_t parser;
        yaml_event_t event; /* zeroed: none */
        struct err *err;
};

static unsigned line_of(const struct reader *r)
{
        return (unsigned)r->event.start_mark.line + 1;
}

static int next(struct reader *r)
{
        yaml_event_delete(&r->event);
        memset(&r->event, 0, sizeof(r->event));
        if (yaml_parser_parse(&r->parser, &r->event))
                return 0;
        return err_set(r->err, EINVAL, "%s: line %u: %s", r->path,
                       (unsigned)r->parser.problem_mark.line + 1,
                       r->parser.problem ? r->parser.problem : "not YAML");
}

static int expect(struct reader *r, yaml_event_type_t type, const char *what)
{
        int e = next(r);

        if (e < 0 || r->event.type == type)
                return e;
        return err_set(r->err, EINVAL, "%s: line %u: %s expected", r->path, line_of(r), what);
}

/* The scalar that is the present event, as the value of a flag. */
static int take_scalar(struct reader *r, int flag)
{
        const char *name = r->run->program->flags[flag].name;
        const char *s = (const char *)r->event.data.scalar.value;

        if (strlen(s) != r->event.data.scalar.length)
                return err_set(r->err, EINVAL, "%s: line %u: %s: a zero byte in the value", r->path,
                               line_of(r), name);
        if (r->run->is_set[flag])
                return 0;
        if (config_set(r->run, flag, s, r->err) < 0)
                return err_wrap(r->err, "%s: line %u: %s", r->path, line_of(r), name);
        return 0;
}

static int take_sequence(struct reader *r, int flag)
{
        for (bool is_empty = true;; is_empty = false) {
                int e = next(r);

                if (e < 0)
                        return e;
                if (r->event.type == YAML_SEQUENCE_END_EVENT)
                        return is_empty && !r->run->is_set[flag] &&
                                               config_may_be_empty(r->run, flag)
                                       ? config_set(r->run, flag, "", r->err)
                                       : 0;
                if (r->event.type != YAML_SCALAR_EVENT)
                        return err_set(r->err, EINVAL, "%s: line %u: a plain value expected",
                                       r->path, line_of(r));
                e = take_scalar(r, flag);
                if (e < 0)
                        return e;
        }
}

/* The key is the present event. */
static int take_key(struct reader *r)
{
        const char *key = (const char *)r->event.data.scalar.value;
        int flag = config_find(r->run->program, key, strlen(key));

        if (flag < 0)
                return err_set(r->err, EINVAL, "%s: line %u: unknown key \"%.64s\"", r->path,
                               line_of(r), key);
        if (r->run->is_in_file[flag])
                return err_set(r->err, EINVAL, "%s: line %u: %s is given twice", r->path,
                               line_of(r), key);
        r->run->is_in_file[flag] = true;

        const struct config_flag *f = &r->run->program->flags[flag];
        int e = next(r);

        if (e < 0)
                return e;
        if (r->event.type == YAML_SCALAR_EVENT)
                return take_scalar(r, flag);
        if (r->event.type == YAML_SEQUENCE_START_EVENT && f->type == CONFIG_LIST)
                return take_sequence(r, flag);
        return err_set(r->err, EINVAL, "%s: line %u: %s: a plain value%s expected", r->path,
                       line_of(r), f->name, f->type == CONFIG_LIST ? " or a list" : "");
}

static int take_document(struct reader *r)
{
        int e = expect(r, YAML_STREAM_START_EVENT, "YAML");

        if (e >= 0)
                e = next(r);
        if (e < 0 || r->event.type == YAML_STREAM_END_EVENT)
                return e;
        e = expect(r, YAML_MAPPING_START_EVENT, "a mapping of keys to values");
        while (e >= 0) {
                e = next(r);
                if (e < 0 || r->event.type == YAML_MAPPING_END_EVENT)
                        break;
                if (r->event.type != YAML_SCALAR_EVENT)
                        e = err_set(r->err, EINVAL, "%s: line %u: a key expected", r->path,
                                    line_of(r));
                else
                        e = take_key(r);
        }
        if (e >= 0)
                e = expect(r, YAML_DOCUMENT_END_EVENT, "the end of the file");
        return e < 0 ? e : expect(r, YAML_STREAM_END_EVENT, "the end of the file");
}

int config_read_file(struct config_run *run, const char *path, struct err *err)
{
        struct reader r = {.run = run, .path = path, .err = err};
        _cleanup_buf_ struct buf text = {0};
        int e = io_read_file(AT_FDCWD, path, CONFIG_FILE_MAX, &text);

        if (e < 0)
                return err_set(err, -e, "%s: %s", path, err_name(e));
        if (!yaml_parser_initialize(&r.parser))
                return err_set(err, ENOMEM, "%s: no memory to read it", path);
        yaml_parser_set_input_string(&r.parser, (const uint8_t *)buf_str(&text), text.len);
        e = take_document(&r);
        yaml_event_delete(&r.event);
        yaml_parser_delete(&r.parser);
        return e;
}
