/* The flat spec: every offset and count is checked here once, and used freely afterwards. Also
 * compiled into the agent's tests by way of shim.h. */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

static bool list_fits(const struct shim_spec *s, const struct shim_list *l, size_t item,
                      uint32_t max, size_t align)
{
        if (l->count == 0)
                return true;
        return l->count <= max && l->offset >= sizeof(*s) && l->offset % align == 0 &&
               (uint64_t)l->offset + (uint64_t)l->count * item <= s->size;
}

static bool strings_fit(const struct shim_spec *s, const struct shim_list *l, uint32_t max)
{
        if (!list_fits(s, l, sizeof(uint32_t), max, sizeof(uint32_t)))
                return false;
        const uint32_t *v = (const uint32_t *)(const void *)((const char *)s + l->offset);

        for (uint32_t i = 0; i < l->count; i++)
                if (v[i] < sizeof(*s) || v[i] >= s->size)
                        return false;
        return true;
}

static bool text_fits(const struct shim_spec *s, uint32_t offset)
{
        return offset == 0 || (offset >= sizeof(*s) && offset < s->size);
}

static bool lists_fit(const struct shim_spec *s)
{
        return strings_fit(s, &s->argv, SHIM_ARGS_MAX) && s->argv.count > 0 &&
               strings_fit(s, &s->env, SHIM_ENV_MAX) &&
               strings_fit(s, &s->layers, SHIM_LAYERS_MAX) && s->layers.count > 0 &&
               strings_fit(s, &s->groups, SHIM_GROUPS_MAX) &&
               strings_fit(s, &s->sysctls, 2 * SHIM_SYSCTLS_MAX) && s->sysctls.count % 2 == 0 &&
               strings_fit(s, &s->cgroups, 2 * SHIM_HIERARCHIES) && s->cgroups.count % 2 == 0 &&
               list_fits(s, &s->mounts, sizeof(struct shim_mount), SHIM_MOUNTS_MAX, 8) &&
               list_fits(s, &s->limits, sizeof(struct shim_limit), SHIM_LIMITS_MAX, 8);
}

static bool mounts_fit(const struct shim_spec *s)
{
        const struct shim_mount *m =
                (const struct shim_mount *)(const void *)((const char *)s + s->mounts.offset);

        for (uint32_t i = 0; i < s->mounts.count; i++)
                if (m[i].type > SHIM_MOUNT_TMPFS || m[i].propagation > SHIM_RSHARED ||
                    !text_fits(s, m[i].source) || !text_fits(s, m[i].subpath) || m[i].target == 0 ||
                    !text_fits(s, m[i].target))
                        return false;
        return true;
}

int shim_spec_check(const void *p, uint64_t n)
{
        const struct shim_spec *s = p;

        if (n < sizeof(*s) + 1 || n > SHIM_SPEC_MAX || s->magic != SHIM_MAGIC ||
            s->version < SHIM_OLDEST || s->version > SHIM_VERSION || s->size != n ||
            ((const char *)p)[n - 1] != 0)
                return -EBADMSG;
        if (!text_fits(s, s->name) || !text_fits(s, s->hostname) || !text_fits(s, s->workdir) ||
            !text_fits(s, s->user) || !text_fits(s, s->boot_id) || !text_fits(s, s->folder) ||
            !text_fits(s, s->hosts) || !text_fits(s, s->resolv) || s->folder == 0 ||
            !lists_fit(s) || !mounts_fit(s))
                return -EBADMSG;
        return s->log_max_files >= 1 && s->log_max_files <= SHIM_LOG_FILES_MAX ? 0 : -EBADMSG;
}

const char *spec_text(const struct shim_spec *s, uint32_t offset)
{
        return offset ? (const char *)s + offset : "";
}

const char *spec_item(const struct shim_spec *s, const struct shim_list *l, uint32_t i)
{
        const uint32_t *v = (const uint32_t *)(const void *)((const char *)s + l->offset);

        return (const char *)s + v[i];
}

/* Only a sealed memfd will do: what was checked cannot change any more. */
const struct shim_spec *spec_map(int fd)
{
        int want = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
        struct stat st;

        if ((fcntl(fd, F_GET_SEALS) & want) != want || fstat(fd, &st) < 0 ||
            st.st_size < (off_t)sizeof(struct shim_spec) || st.st_size > SHIM_SPEC_MAX)
                return NULL;
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
                return NULL;
        if (shim_spec_check(p, (uint64_t)st.st_size) < 0) {
                munmap(p, (size_t)st.st_size);
                return NULL;
        }
        return p;
}

void spec_unmap(const struct shim_spec *s)
{
        munmap((void *)(uintptr_t)s, s->size);
}
