/* Editing unpacked messages in place, so that wire_free still knows how to free them. */
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/cmd/spec_internal.h"

static void free_str(char *s)
{
        if (s != protobuf_c_empty_string)
                free(s);
}

void edit_str(char **field, const char *s)
{
        free_str(*field);
        *field = *s ? xstrdup(s) : (char *)(uintptr_t)protobuf_c_empty_string;
}

void edit_push_str(char ***v, size_t *n, const char *s)
{
        edit_push(v, n, xstrdup(s));
}

void edit_set_strs(char ***v, size_t *n, char *const *list)
{
        while (*n)
                free_str(edit_take(v, n, *n - 1));
        for (; list && *list; list++)
                edit_push_str(v, n, *list);
}

void edit_number(Swarm__Number **field, int64_t value)
{
        EDIT_SUB(*field, Swarm__Number, swarm__number__init)->value = value;
}

void edit_push(void *array, size_t *n, void *take)
{
        void **v;

        memcpy(&v, array, sizeof(v));
        v = xreallocarray(v, *n + 1, sizeof(*v));
        v[(*n)++] = take;
        memcpy(array, &v, sizeof(v));
}

void *edit_take(void *array, size_t *n, size_t i)
{
        void **v;

        memcpy(&v, array, sizeof(v));
        void *taken = v[i];
        memmove(v + i, v + i + 1, (--*n - i) * sizeof(*v));
        if (*n == 0) {
                free(v);
                v = NULL;
                memcpy(array, &v, sizeof(v));
        }
        return taken;
}
