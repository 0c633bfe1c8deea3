/* SPDX-License-Identifier: Apache-2.0
 *
 * Intrusive circular list: a node lives inside its owner, so linking never allocates. A node that is in no list
 * points to itself, so unlinking twice is harmless. Zeroed memory is not a valid node: call list_init first.
 */
#ifndef VCL_CORE_LIST_H
#define VCL_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* For a node: is it in a list? */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_push(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_push(head->next, node);
}

static inline void list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_first(const struct list *head)
{
    return head->next == head ? NULL : head->next;
}

/* Safe against removal of the current node only. */
#define list_each(pos, tmp, head) for (pos = (head)->next, tmp = pos->next; pos != (head); pos = tmp, tmp = pos->next)

#endif
