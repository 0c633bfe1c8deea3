/* SPDX-License-Identifier: Apache-2.0
 *
 * What one client id of a token may have here (S17): sessions at one time, and connections begun in the time that a
 * tombstone lasts. A client that comes as many short processes leaves sessions behind; the server would keep them for
 * idle_us, but one without connections makes room for the next: an OPEN under its id makes it again (K3). Slots of ids
 * rest so long (W5) and there are four for each connection of conns_max, so no client alone can use them up. A record
 * lives as long as a session of the client, which outlives the window that it counts.
 */
#include "state.h"

static struct quota *quota_find(struct vcl_engine *e, uint64_t client_id)
{
    struct map_node *n = vcl__map_find(&e->quotas, client_id);
    return n == NULL ? NULL : container_of(n, struct quota, by_client);
}

bool vcl__quota_conn(struct vcl_engine *e, uint64_t client_id)
{
    struct quota *q = quota_find(e, client_id);
    if (q == NULL)
        return true; /* its first session will count */
    if (e->now - q->since >= e->cfg.tombstone_us) {
        q->since = e->now;
        q->nb_begun = 0;
    }
    if (q->nb_begun >= e->cfg.conns_max)
        return false;
    q->nb_begun++;
    return true;
}

bool vcl__quota_join(struct vcl_session *s, uint64_t client_id)
{
    struct vcl_engine *e = s->e;
    struct quota *q = quota_find(e, client_id);
    if (q == NULL) {
        q = mem_alloc(&e->mem, sizeof(*q));
        if (q == NULL)
            return false;
        q->since = e->now;
        q->nb_begun = 1;
        list_init(&q->idle);
        vcl__map_insert(&e->quotas, &q->by_client, client_id);
    }
    if (q->nb_sessions >= e->cfg.sessions_per_client_max && list_empty(&q->idle))
        return false;
    q->nb_sessions++;
    if (q->nb_sessions > e->cfg.sessions_per_client_max)
        vcl__session_free(container_of(list_first(&q->idle), struct vcl_session, of_client));
    list_push(&q->idle, &s->of_client);
    s->client_id = client_id;
    s->quota = q;
    return true;
}

void vcl__quota_leave(struct vcl_session *s)
{
    struct quota *q = s->quota;
    if (q == NULL)
        return;
    list_del(&s->of_client);
    if (--q->nb_sessions > 0)
        return;
    vcl__map_remove(&s->e->quotas, &q->by_client);
    mem_free(&s->e->mem, q);
}
