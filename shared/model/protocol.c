/* Versions of protocols: see protocol.h. */
#include "shared/model/protocol.h"

#include <errno.h>
#include <stdio.h>

#include "shared/base/mem.h"

struct protocol_range protocol_told(uint32_t oldest, uint32_t newest)
{
        return (struct protocol_range){oldest ? oldest : newest, newest};
}

bool protocol_has(struct protocol_range r, uint32_t version)
{
        return r.oldest <= version && version <= r.newest;
}

uint32_t protocol_spoken(struct protocol_range a, struct protocol_range b)
{
        uint32_t v = MIN(a.newest, b.newest);

        return protocol_has(a, v) && protocol_has(b, v) ? v : 0;
}

struct text {
        char s[32];
};

static struct text text_of(struct protocol_range r)
{
        struct text t;

        if (r.oldest == r.newest)
                snprintf(t.s, sizeof(t.s), "%u", r.newest);
        else
                snprintf(t.s, sizeof(t.s), "%u to %u", r.oldest, r.newest);
        return t;
}

int protocol_agree(const char *what, const struct protocol_end *theirs,
                   const struct protocol_end *ours, struct err *err)
{
        uint32_t v = protocol_spoken(theirs->range, ours->range);
        bool are_they_older = theirs->range.newest < ours->range.newest;

        if (v)
                return (int)v;
        return err_set(err, EPROTO, "%s speaks %s protocol %s, %s %s: upgrade %s", theirs->name,
                       what, text_of(theirs->range).s, ours->name, text_of(ours->range).s,
                       are_they_older ? theirs->name : ours->name);
}
