/*
 * Changes to an image's config in the words of a Dockerfile, as `docker import --change` takes
 * them: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR, HEALTHCHECK
 * NONE|CMD.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/archive_internal.h"
#include "shared/image/json_internal.h"

struct change {
        const char *word;
        int (*apply)(json_t *config, const char *key, const char *rest, struct err *err);
        const char *key; /* of the config's field */
};

/* ["a","b"] as it is, anything else as a command of the shell. */
static json_t *parse_command(const char *s)
{
        struct err unused = {0};
        json_t *list = *s == '[' ? image_json_load((const uint8_t *)s, strlen(s), &unused) : NULL;
        bool is_argv = json_is_array(list) && json_array_size(list) > 0;
        size_t i;
        json_t *v;

        if (is_argv)
                json_array_foreach(list, i, v) is_argv = is_argv && json_is_string(v);
        if (is_argv)
                return list;
        json_decref(list);
        return json_pack("[sss]", "/bin/sh", "-c", s);
}

static int set_command(json_t *config, const char *key, const char *rest, struct err *err)
{
        json_t *list = parse_command(rest);

        if (!list)
                return err_set(err, EINVAL, "is not valid UTF-8");
        json_object_set_new(config, key, list);
        return 0;
}

static int set_text(json_t *config, const char *key, const char *rest, struct err *err)
{
        json_t *s = json_string(rest);

        if (!s)
                return err_set(err, EINVAL, "is not valid UTF-8");
        json_object_set_new(config, key, s);
        return 0;
}

/* A later value of a key replaces an earlier one. */
static int put_env(json_t *list, const char *pair, struct err *err)
{
        const char *equals = strchr(pair, '=');
        json_t *s = equals && equals > pair ? json_string(pair) : NULL, *v;
        size_t i, n = equals ? (size_t)(equals - pair) + 1 : 0;

        if (!s)
                return err_set(err, EINVAL, "%s: must be KEY=VALUE", pair);
        json_array_foreach(list, i, v)
        {
                if (strncmp(json_string_value(v), pair, n) == 0)
                        return json_array_set_new(list, i, s);
        }
        return json_array_append_new(list, s);
}

/* KEY=VALUE ..., or the old KEY VALUE. Caller frees *ret. */
static int split_pairs(const char *rest, char ***ret, struct err *err)
{
        size_t key = strcspn(rest, " \t=");

        if (rest[key] && rest[key] != '=') {
                const char *value = rest + key + strspn(rest + key, " \t");
                _cleanup_free_ char *pair = xasprintf("%.*s=%s", (int)key, rest, value);

                strv_push(ret, pair);
                return 0;
        }
        if (str_split_words(rest, ret) < 0)
                return err_set(err, EINVAL, "has an unfinished quote");
        return 0;
}

static int set_env(json_t *config, const char *key, const char *rest, struct err *err)
{
        _cleanup_strv_ char **pairs = NULL;
        json_t *list = json_object_get(config, key);
        int r = split_pairs(rest, &pairs, err);

        if (!list) {
                list = json_array();
                json_object_set_new(config, key, list);
        }
        for (char **p = pairs; r == 0 && p && *p; p++)
                r = put_env(list, *p, err);
        return r;
}

static int set_labels(json_t *config, const char *key, const char *rest, struct err *err)
{
        _cleanup_strv_ char **pairs = NULL;
        json_t *set = json_object_get(config, key);
        int r = split_pairs(rest, &pairs, err);

        if (!set) {
                set = json_object();
                json_object_set_new(config, key, set);
        }
        for (char **p = pairs; r == 0 && p && *p; p++) {
                char *equals = strchr(*p, '=');

                if (!equals || equals == *p)
                        return err_set(err, EINVAL, "%s: must be KEY=VALUE", *p);
                *equals = 0;
                r = set_text(set, *p, equals + 1, err);
        }
        return r;
}

/* Ports and volumes are sets: {"80/tcp": {}}. */
static int add_to_set(json_t *config, const char *key, const char *rest, struct err *err)
{
        _cleanup_strv_ char **words = NULL;
        json_t *set = json_object_get(config, key);
        const bool is_port = str_is_equal(key, "ExposedPorts");

        if (str_split_words(rest, &words) < 0)
                return err_set(err, EINVAL, "has an unfinished quote");
        if (!set) {
                set = json_object();
                json_object_set_new(config, key, set);
        }
        for (char **w = words; w && *w; w++) {
                _cleanup_free_ char *name =
                        is_port && !strchr(*w, '/') ? xasprintf("%s/tcp", *w) : xstrdup(*w);

                if (json_object_set_new(set, name, json_object()) < 0)
                        return err_set(err, EINVAL, "is not valid UTF-8");
        }
        return 0;
}

static int set_health(json_t *config, const char *key, const char *rest, struct err *err)
{
        json_t *test;

        if (strcasecmp(rest, "NONE") == 0) {
                test = json_pack("[s]", "NONE");
        } else if (strncasecmp(rest, "CMD ", 4) == 0) {
                const char *command = rest + 4 + strspn(rest + 4, " \t");
                json_t *argv = parse_command(command);

                if (*command == '[' && argv) {
                        test = json_pack("[s]", "CMD");
                        json_array_extend(test, argv);
                } else {
                        test = json_pack("[ss]", "CMD-SHELL", command);
                }
                json_decref(argv);
        } else {
                return err_set(err, EINVAL, "must be NONE or CMD COMMAND");
        }
        if (!test)
                return err_set(err, EINVAL, "is not valid UTF-8");
        json_object_set_new(config, key, json_pack("{so}", "Test", test));
        return 0;
}

static const struct change changes[] = {
        {"CMD", set_command, "Cmd"},
        {"ENTRYPOINT", set_command, "Entrypoint"},
        {"ENV", set_env, "Env"},
        {"EXPOSE", add_to_set, "ExposedPorts"},
        {"HEALTHCHECK", set_health, "Healthcheck"},
        {"LABEL", set_labels, "Labels"},
        {"STOPSIGNAL", set_text, "StopSignal"},
        {"USER", set_text, "User"},
        {"VOLUME", add_to_set, "Volumes"},
        {"WORKDIR", set_text, "WorkingDir"},
};

int config_change(json_t *config, const char *line, struct err *err)
{
        size_t n = strcspn(line, " \t");
        const char *rest = line + n + strspn(line + n, " \t");

        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                const struct change *c = &changes[i];

                if (n != strlen(c->word) || strncasecmp(line, c->word, n) != 0)
                        continue;
                if (!*rest)
                        return err_set(err, EINVAL, "change \"%s\": has no value", line);
                if (c->apply(config, c->key, rest, err) < 0)
                        return err_wrap(err, "change \"%.100s\"", line);
                return 0;
        }
        return err_set(err, EINVAL,
                       "change \"%.100s\": must begin with CMD, ENTRYPOINT, ENV, EXPOSE, "
                       "HEALTHCHECK, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR",
                       line);
}
