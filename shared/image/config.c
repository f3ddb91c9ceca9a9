/*
 * The config of an image (OCI image specification, config.md, and Docker's additions Healthcheck,
 * as in `docker save`): what of it says how to run a container. Everything else is passed over.
 */
#include <errno.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/image/image.h"
#include "shared/image/json_internal.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"

#define ARGS_MAX    4096
#define NS_PER_MS   1000000
#define RETRIES_MAX 1000000

void image_config_free(struct image_config *c)
{
        if (!c)
                return;
        strv_free(c->entrypoint);
        strv_free(c->cmd);
        strv_free(c->env);
        strv_free(c->exposed_ports);
        strv_free(c->volumes);
        strv_free(c->diff_ids);
        free(c->user);
        free(c->workdir);
        free(c->stop_signal);
        free(c->os);
        free(c->arch);
        wire_free(c->health);
        free(c);
}

/* Copies a string; "" is "not set". */
static int copy_str(const json_t *o, const char *key, char **ret, struct err *err)
{
        const char *s;
        int r = json_get_str(o, key, &s, err);

        if (r == 0 && !str_is_empty(s)) {
                if (!text_is_valid(s))
                        return err_set(err, EINVAL, "%s: has control characters", key);
                *ret = xstrdup(s);
        }
        return r;
}

/* Docker's sets: {"80/tcp": {}, ...}. */
static int copy_keys(const json_t *o, const char *key, char ***ret, struct err *err)
{
        const json_t *set;
        const char *name;
        json_t *v;
        int r = json_get_object(o, key, &set, err);

        if (r < 0)
                return r;
        if (json_object_size(set) > ARGS_MAX)
                return err_set(err, EINVAL, "%s: has more than %d items", key, ARGS_MAX);
        json_object_foreach((json_t *)(uintptr_t)set, name, v) strv_push(ret, name);
        return 0;
}

static int get_ms(const json_t *o, const char *key, int64_t *ret_ms, struct err *err)
{
        int64_t ns;
        int r = json_get_int(o, key, &ns, err);

        if (r < 0)
                return r;
        if (ns < 0)
                return err_set(err, EINVAL, "%s: is negative", key);
        *ret_ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
        return 0;
}

static int get_health_times(const json_t *o, Swarm__Health *h, struct err *err)
{
        int64_t retries;
        int r = get_ms(o, "Interval", &h->interval_ms, err);

        if (r == 0)
                r = get_ms(o, "Timeout", &h->timeout_ms, err);
        if (r == 0)
                r = get_ms(o, "StartPeriod", &h->start_period_ms, err);
        if (r == 0)
                r = get_ms(o, "StartInterval", &h->start_interval_ms, err);
        if (r == 0)
                r = json_get_int(o, "Retries", &retries, err);
        if (r < 0)
                return r;
        if (retries < 0 || retries > RETRIES_MAX)
                return err_set(err, EINVAL, "Retries: is not between 0 and %d", RETRIES_MAX);
        h->retries = (uint32_t)retries;
        return 0;
}

/* Test: [] inherits (there is nothing to inherit from here), ["NONE"], ["CMD", argv...],
 * ["CMD-SHELL", command]. */
static int get_health(const json_t *config, Swarm__Health **ret, struct err *err)
{
        Swarm__Health h = SWARM__HEALTH__INIT;
        _cleanup_strv_ char **test = NULL;
        const json_t *o;
        int r = json_get_object(config, "Healthcheck", &o, err);

        if (r < 0 || !o)
                return r;
        r = json_get_strv(o, "Test", ARGS_MAX, &test, err);
        if (r == 0)
                r = get_health_times(o, &h, err);
        if (r < 0)
                return err_wrap(err, "Healthcheck");
        if (strv_len(test) == 0)
                return 0;
        if (str_is_equal(test[0], "NONE"))
                h.type = HEALTH_NONE;
        else if (str_is_equal(test[0], "CMD") && test[1])
                h.type = HEALTH_CMD;
        else if (str_is_equal(test[0], "CMD-SHELL") && test[1] && !test[2])
                h.type = HEALTH_SHELL;
        else
                return err_set(err, EINVAL,
                               "Healthcheck: Test: must begin with NONE, CMD or CMD-SHELL");
        h.cmd = test + 1;
        h.n_cmd = h.type == HEALTH_NONE ? 0 : strv_len(test + 1);
        *ret = wire_dup(&h);
        return 0;
}

static int get_diff_ids(const json_t *root, struct image_config *c, struct err *err)
{
        const json_t *rootfs;
        int r = json_get_object(root, "rootfs", &rootfs, err);

        if (r == 0)
                r = json_get_strv(rootfs, "diff_ids", IMAGE_LAYERS_MAX, &c->diff_ids, err);
        if (r < 0)
                return err_wrap(err, "rootfs");
        if (strv_len(c->diff_ids) == 0)
                return err_set(err, EINVAL, "rootfs: has no layers");
        for (char **d = c->diff_ids; *d; d++)
                if (!digest_is_valid(*d))
                        return err_set(err, EINVAL, "rootfs: diff_ids: %.80s is no digest", *d);
        return 0;
}

static int check_env(char *const *env, struct err *err)
{
        for (; env && *env; env++)
                if (!strchr(*env, '=') || **env == '=')
                        return err_set(err, EINVAL, "Env: %.80s: is not KEY=VALUE", *env);
        return 0;
}

static int get_run(const json_t *o, struct image_config *c, struct err *err)
{
        int r = json_get_strv(o, "Entrypoint", ARGS_MAX, &c->entrypoint, err);

        if (r == 0)
                r = json_get_strv(o, "Cmd", ARGS_MAX, &c->cmd, err);
        if (r == 0)
                r = json_get_strv(o, "Env", ARGS_MAX, &c->env, err);
        if (r == 0)
                r = check_env(c->env, err);
        if (r == 0)
                r = copy_str(o, "User", &c->user, err);
        if (r == 0)
                r = copy_str(o, "WorkingDir", &c->workdir, err);
        if (r == 0)
                r = copy_str(o, "StopSignal", &c->stop_signal, err);
        if (r == 0)
                r = copy_keys(o, "ExposedPorts", &c->exposed_ports, err);
        if (r == 0)
                r = copy_keys(o, "Volumes", &c->volumes, err);
        if (r == 0)
                r = get_health(o, &c->health, err);
        return r < 0 ? err_wrap(err, "config") : 0;
}

static int get_all(const json_t *root, struct image_config *c, struct err *err)
{
        const json_t *config;
        int r;

        if (!json_is_object(root))
                return err_set(err, EINVAL, "must be an object");
        r = copy_str(root, "os", &c->os, err);
        if (r == 0)
                r = copy_str(root, "architecture", &c->arch, err);
        if (r == 0)
                r = json_get_object(root, "config", &config, err);
        if (r == 0)
                r = get_diff_ids(root, c, err);
        return r == 0 && config ? get_run(config, c, err) : r;
}

int image_config_parse(const uint8_t *json, size_t n, struct image_config **ret, struct err *err)
{
        struct image_config *c;
        struct err unused = {0};
        int r;

        err = err ? err : &unused;
        if (n > IMAGE_CONFIG_MAX)
                return err_set(err, EFBIG, "image config: larger than %u bytes", IMAGE_CONFIG_MAX);
        _cleanup_json_ json_t *root = image_json_load(json, n, err);
        if (!root)
                return err_wrap(err, "image config");
        c = xnew(struct image_config);
        r = get_all(root, c, err);
        if (r < 0) {
                image_config_free(c);
                return err_wrap(err, "image config");
        }
        *ret = c;
        return 0;
}

bool image_config_lacks_command(const struct image_config *c)
{
        return !(c->entrypoint && *c->entrypoint) && !(c->cmd && *c->cmd);
}
