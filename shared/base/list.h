/* Intrusive doubly linked lists. A link that is in no list points at itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/mem.h"

struct list {
        struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
        l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l)
{
        return l->next == l;
}

/* True when the link is a member of some list. */
static inline bool list_is_linked(const struct list *l)
{
        return l->next != l;
}

static inline void list_insert_between(struct list *l, struct list *prev, struct list *next)
{
        l->prev = prev;
        l->next = next;
        prev->next = l;
        next->prev = l;
}

static inline void list_push_back(struct list *head, struct list *l)
{
        list_insert_between(l, head->prev, head);
}

static inline void list_push_front(struct list *head, struct list *l)
{
        list_insert_between(l, head, head->next);
}

static inline void list_remove(struct list *l)
{
        l->prev->next = l->next;
        l->next->prev = l->prev;
        list_init(l);
}

/* The first link, taken out; NULL when the list is empty. */
static inline struct list *list_pop_front(struct list *head)
{
        if (list_is_empty(head))
                return NULL;
        struct list *l = head->next;
        list_remove(l);
        return l;
}

/* Moves all of from's links to the end of to. */
static inline void list_splice_back(struct list *to, struct list *from)
{
        if (list_is_empty(from))
                return;
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
}

#define LIST_ITEM(l, type, member) CONTAINER_OF(l, type, member)

#define LIST_FOREACH(it, head, member)                                                     \
        for (it = LIST_ITEM((head)->next, __typeof__(*it), member); &it->member != (head); \
             it = LIST_ITEM(it->member.next, __typeof__(*it), member))

/* As LIST_FOREACH; the current item may be removed and freed. */
#define LIST_FOREACH_SAFE(it, tmp, head, member)                       \
        for (it = LIST_ITEM((head)->next, __typeof__(*it), member),    \
            tmp = LIST_ITEM(it->member.next, __typeof__(*it), member); \
             &it->member != (head);                                    \
             it = tmp, tmp = LIST_ITEM(it->member.next, __typeof__(*it), member))
