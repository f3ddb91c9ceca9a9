/*
 * Who the program runs as: user[:group] by the image's own /etc/passwd and /etc/group, read line by
 * line in bounded memory through descriptors opened in the root. No NSS.
 */
#include <string.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define USER_LINE_MAX 4096
#define USER_FILE_MAX (8u << 20)
#define USER_FIELDS   7
#define USER_ID_MAX   0x7fffffffu

struct reader {
        int fd;
        char buffer[1024];
        ssize_t n, at;
        size_t total;
};
struct line {
        char text[USER_LINE_MAX];
        char *field[USER_FIELDS];
        int n;
};

static int next_byte(struct reader *r)
{
        if (r->at == r->n) {
                if (r->total > USER_FILE_MAX)
                        return -1;
                do
                        r->n = read(r->fd, r->buffer, sizeof(r->buffer));
                while (r->n < 0 && errno == EINTR);
                r->at = 0;
                if (r->n <= 0)
                        return r->n = 0, -1;
                r->total += (size_t)r->n;
        }
        return (unsigned char)r->buffer[r->at++];
}

/* The next line, split at its colons; lines that are too long are passed over. */
static bool next_line(struct reader *r, struct line *l)
{
        bool is_too_long = false;
        size_t n = 0;
        int c = next_byte(r);

        if (c < 0)
                return false;
        for (; c >= 0 && c != '\n'; c = next_byte(r))
                if (n + 1 < sizeof(l->text))
                        l->text[n++] = (char)c;
                else
                        is_too_long = true;
        l->text[is_too_long ? 0 : n] = 0;
        l->n = 0;
        l->field[l->n++] = l->text;
        for (char *p = l->text; *p && l->n < USER_FIELDS; p++)
                if (*p == ':') {
                        *p = 0;
                        l->field[l->n++] = p + 1;
                }
        return true;
}

static bool parse_id(const char *s, uint32_t *ret)
{
        uint64_t v;

        if (!text_parse_number(s, strlen(s), &v) || v > USER_ID_MAX)
                return false;
        *ret = (uint32_t)v;
        return true;
}

static bool is_number(const char *s)
{
        uint64_t v;

        return text_parse_number(s, strlen(s), &v);
}

static bool list_has(const char *list, const char *name)
{
        size_t n = strlen(name);

        for (const char *p = list; *p;) {
                const char *end = strchr(p, ',');
                size_t len = end ? (size_t)(end - p) : strlen(p);

                if (len == n && memcmp(p, name, n) == 0)
                        return true;
                p += len + (end ? 1 : 0);
        }
        return false;
}

static void add_group(struct user *u, gid_t gid)
{
        for (int i = 0; i < u->n_groups; i++)
                if (u->groups[i] == gid)
                        return;
        if (u->n_groups < SHIM_GROUPS_MAX)
                u->groups[u->n_groups++] = gid;
}

/* The passwd entry of a name, or of a number; ret_name gets its name. */
static bool find_passwd(int root, const char *user, struct user *u, char *ret_name, size_t cap)
{
        static struct line l;
        struct reader r = {.fd = root_open_file(root, "/etc/passwd")};
        uint32_t want = 0, uid, gid;
        bool by_number = parse_id(user, &want), is_found = false;

        if (r.fd < 0)
                return false;
        while (!is_found && next_line(&r, &l)) {
                if (l.n < 4 || !parse_id(l.field[2], &uid) || !parse_id(l.field[3], &gid))
                        continue;
                if (by_number ? uid != want : strcmp(l.field[0], user) != 0)
                        continue;
                struct text home = {u->home, 0, sizeof(u->home)};
                struct text name = {ret_name, 0, cap};

                u->uid = uid;
                u->gid = gid;
                text_add(&home, l.n > 5 && l.field[5][0] ? l.field[5] : "/");
                text_add(&name, l.field[0]);
                is_found = true;
        }
        close(r.fd);
        return is_found;
}

static bool find_group(int root, const char *group, gid_t *ret)
{
        static struct line l;
        bool is_found = false;

        if (is_number(group))
                return parse_id(group, ret);
        struct reader r = {.fd = root_open_file(root, "/etc/group")};

        if (r.fd < 0)
                return false;
        while (!is_found && next_line(&r, &l))
                is_found = l.n >= 3 && strcmp(l.field[0], group) == 0 && parse_id(l.field[2], ret);
        close(r.fd);
        return is_found;
}

static void add_member_groups(int root, const char *name, struct user *u)
{
        static struct line l;
        struct reader r = {.fd = root_open_file(root, "/etc/group")};
        uint32_t gid;

        if (r.fd < 0)
                return;
        while (next_line(&r, &l))
                if (l.n >= 4 && parse_id(l.field[2], &gid) && list_has(l.field[3], name))
                        add_group(u, gid);
        close(r.fd);
}

void user_find(int root, struct user *u)
{
        const struct shim_spec *s = shim.spec;
        char user[256], name[256] = "";
        struct text t = {user, 0, sizeof(user)};
        char *group;

        text_add(&t, s->user ? spec_text(s, s->user) : "0");
        group = strchr(user, ':');
        if (group)
                *group++ = 0;
        memset(u, 0, sizeof(*u));
        u->home[0] = '/';
        const char *who = user[0] ? user : "0";

        if (!find_passwd(root, who, u, name, sizeof(name)) &&
            (!is_number(who) || !parse_id(who, &u->uid)))
                child_fail(125, is_number(who) ? ERANGE : ENOENT, "user", user);
        if (group && *group) {
                if (!find_group(root, group, &u->gid))
                        child_fail(125, is_number(group) ? ERANGE : ENOENT, "group", group);
                add_group(u, u->gid);
        } else {
                add_group(u, u->gid);
                if (name[0])
                        add_member_groups(root, name, u);
        }
        for (uint32_t i = 0; i < s->groups.count; i++) {
                const char *item = spec_item(s, &s->groups, i);
                gid_t gid;

                if (!find_group(root, item, &gid))
                        child_fail(125, is_number(item) ? ERANGE : ENOENT, "group", item);
                add_group(u, gid);
        }
}
