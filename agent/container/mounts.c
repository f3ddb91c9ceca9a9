/* Mounts and volumes of a container: see container.h. A volume is a folder below volumes_dir; one
 * without a name is called after the task, with a dot in front as no name has it, and goes with its
 * container. */
#include <errno.h>
#include <string.h>

#include "agent/container/container_internal.h"
#include "shared/base/mem.h"
#include "shared/model/container_rules.h"

static int set_volume(const struct container_input *in, struct container_plan *p,
                      struct container_mount *m, const char *name, bool is_anonymous,
                      struct err *err)
{
        if (!is_anonymous && !name_is_valid(name))
                return err_set(err, EINVAL, "volume \"%s\": not a valid name", name);
        _cleanup_free_ char *dir = xasprintf("%s/%s", in->volumes_dir, name);
        m->type = MOUNT_VOLUME;
        m->is_own = is_anonymous;
        m->source = plan_keep(p, dir);
        strv_push(&p->volumes, dir);
        if (is_anonymous)
                strv_push(&p->anonymous_volumes, dir);
        return 0;
}

static int set_anonymous(const struct container_input *in, struct container_plan *p,
                         struct container_mount *m, size_t index, struct err *err)
{
        _cleanup_free_ char *name = xasprintf(".%s.%zu", ID_S(in->task->id), index);

        return set_volume(in, p, m, name, true, err);
}

int own_volume_parse(const char *name, struct id *ret)
{
        char text[ID_TEXT_MAX];
        const char *dot = name[0] == '.' ? strchr(name + 1, '.') : NULL;

        if (!dot || dot - name - 1 != ID_TEXT_LEN || !dot[1] ||
            dot[1 + strspn(dot + 1, "0123456789")])
                return -EINVAL;
        memcpy(text, name + 1, ID_TEXT_LEN);
        text[ID_TEXT_LEN] = 0;
        return id_parse(text, ret);
}

static bool has_target(const struct container_plan *p, const char *target)
{
        for (size_t i = 0; i < p->config.n_mounts; i++)
                if (path_is_same(p->memory->mounts[i].target, target))
                        return true;
        return false;
}

static int add_mount(const struct container_input *in, const struct template_values *v,
                     const Swarm__Mount *s, struct container_plan *p, struct err *err)
{
        size_t index = p->config.n_mounts;
        struct container_mount *m = &p->memory->mounts[index];
        _cleanup_free_ char *source = NULL, *target = NULL;

        if (template_expand(s->source, v, &source, err) < 0 ||
            template_expand(s->target, v, &target, err) < 0)
                return -err->code;
        if (mount_target_check(target, err) < 0)
                return -err->code;
        if (has_target(p, target))
                return err_set(err, EINVAL, "another mount has the target %s, too", target);
        *m = (struct container_mount){
                .type = (enum mount_type)s->type,
                .target = plan_keep(p, target),
                .read_only = s->read_only,
                .nonrecursive = s->nonrecursive,
                .create_source = s->create_source,
                .propagation = s->propagation,
                .tmpfs_size = s->tmpfs_size,
                .tmpfs_mode = s->tmpfs_mode,
                .subpath = str_is_empty(s->subpath) ? NULL : s->subpath,
                .copy_up = s->type == MOUNT_VOLUME && !s->nocopy,
        };
        p->config.n_mounts++;
        if (s->type == MOUNT_VOLUME)
                return str_is_empty(source) ? set_anonymous(in, p, m, index, err)
                                            : set_volume(in, p, m, source, false, err);
        if (s->type == MOUNT_BIND) {
                if (path_check(source, "source", err) < 0)
                        return -err->code;
                m->source = plan_keep(p, source);
                return 0;
        }
        return s->type == MOUNT_TMPFS ? 0 : err_set(err, EINVAL, "unknown type of mount");
}

/* What the image declares as a volume and the service does not mount. */
static int add_image_volumes(const struct container_input *in, struct container_plan *p,
                             struct err *err)
{
        for (char **path = in->image->volumes; path && *path; path++) {
                size_t index = p->config.n_mounts;
                struct container_mount *m = &p->memory->mounts[index];

                if ((*path)[0] != '/' || has_target(p, *path))
                        continue;
                *m = (struct container_mount){.target = plan_keep(p, *path), .copy_up = true};
                p->config.n_mounts++;
                if (set_anonymous(in, p, m, index, err) < 0)
                        return -err->code;
        }
        return 0;
}

static size_t depth(const char *path)
{
        size_t n = 0;

        for (const char *p = path; *p; p++)
                n += *p == '/' && p[1] && p[1] != '/';
        return n;
}

/* What lies within another mount comes after it, or it would be hidden; else the order stays. */
static void sort(struct container_mount *m, size_t n)
{
        for (size_t i = 1; i < n; i++) {
                struct container_mount moved = m[i];
                size_t k = i;

                for (; k > 0 && depth(m[k - 1].target) > depth(moved.target); k--)
                        m[k] = m[k - 1];
                m[k] = moved;
        }
}

int mounts_make(const struct container_input *in, const struct template_values *v,
                struct container_plan *p, struct err *err)
{
        const Swarm__ContainerSpec *c = in->task->spec->task->container;
        size_t n = c->n_mounts + strv_len(in->image->volumes);

        if (n > CONTAINER_LIST_MAX)
                return err_set(err, E2BIG, "more than %d mounts", CONTAINER_LIST_MAX);
        if (n == 0)
                return 0;
        p->memory->mounts = xnew_array(struct container_mount, n);
        for (size_t i = 0; i < c->n_mounts; i++)
                if (add_mount(in, v, c->mounts[i], p, err) < 0)
                        return err_wrap(err, "mount %s", c->mounts[i]->target);
        if (add_image_volumes(in, p, err) < 0)
                return -err->code;
        sort(p->memory->mounts, p->config.n_mounts);
        p->config.mounts = p->memory->mounts;
        return 0;
}
