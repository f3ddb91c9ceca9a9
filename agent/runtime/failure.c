/* What a container's start failed at, in the words of whoever wrote the service. The supervisor
 * tells only the step, a name and an error number. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "agent/runtime/runtime_internal.h"

static const struct {
        const char *step; /* with the blank before the name */
        int code;
        const char *what, *why;
} known[] = {
        {"user ", ENOENT, "user", "there is none of that name in the image's /etc/passwd"},
        {"user ", ERANGE, "user", "the number is too large"},
        {"group ", ENOENT, "group", "there is none of that name in the image's /etc/group"},
        {"group ", ERANGE, "group", "the number is too large"},
        {"exec ", ENOENT, "command",
         "no such file in the container, or what interprets it is not there"},
        {"exec ", EACCES, "command", "permission denied: not a file that its user may execute"},
        {"exec ", ENOEXEC, "command", "not a program that this machine can run"},
        {"mount source ", ENOENT, "mount source", "no such file or folder on this node"},
};

int start_failure(const char *text, int code, struct err *err)
{
        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
                const char *name = text + strlen(known[i].step);

                if (code != known[i].code || !str_has_prefix(text, known[i].step))
                        continue;
                if (str_is_equal(known[i].step, "exec ") && code == ENOENT && !strchr(name, '/'))
                        return err_set(err, code, "command %s: not found in PATH", name);
                return err_set(err, code, "%s %s: %s", known[i].what, name, known[i].why);
        }
        return err_set(err, code ? code : EIO, "%s: %s", text, err_name(code));
}
