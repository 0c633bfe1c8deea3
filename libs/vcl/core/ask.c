/* SPDX-License-Identifier: Apache-2.0
 *
 * When a PTO has passed: lost, or late (C4)? On a shared machine an answer is often late by a time slice or two: the
 * peer, a helper or we ourselves did not run. To send again then what everybody had in flight makes the queues longer
 * that everything waits in. So a connection whose PTO has passed does not repeat its frame but asks, once for its whole
 * session, whether the path carries anything at all: a client by PROBE, a server by PATH_CHALLENGE.
 *
 *   PTO ──▶ ASKED ── an answer to something that was sent later ──▶ PAUSE ──▶ ASKED ... three times ──▶ it goes again
 *             └─ the third PTO ──▶ it goes again, come what may
 *
 * The first answer: the peer has the frame, or never will. The second, asked for when the peer's delay of an
 * acknowledgement is over: it has sent that, or is just sending it. The third: the acknowledgement would have come
 * before.
 *
 * An acknowledgement ends it at any point. That a path delivers in order replaces guesses of how late "late" may be.
 */
#include "state.h"

enum {
    ANSWERS = 3,           /* C4 */
    SIDE_BY_SIDE_US = 300, /* answers that left together, in two receptions */
};

static void ask(struct vcl_session *s, bool alarmed)
{
    if (s->dial != NULL)
        vcl__dial_ask(s, alarmed);
    else
        vcl__trial_ask(s);
}

static void answered(struct vcl_conn *c)
{
    uint64_t us = SIDE_BY_SIDE_US + (c->nb_answers++ == 0 ? c->s->limits.peer_delay_us : 0);
    c->ask = ASK_PAUSE;
    c->pto_fired_at = c->e->now; /* a path that answers is not silent: the next PTO counts from here */
    c->ask_at = c->e->now + us;
    c->ask_after = c->ask_at - 1; /* the question of that moment counts */
    vcl__conn_arm(c);
}

/* One that was sent before a planned move (S19) took another path; that may have gone with what it carried, and nobody
 * asks it any more: then the new one answers. */
void vcl__ask_begin(struct vcl_conn *c)
{
    struct vcl_session *s = c->s;
    if (c->ask == ASK_NOT) {
        c->ask = ASKED;
        c->nb_answers = 0;
        c->ask_after = vcl__sentmap_oldest(&c->sent)->sent_at;
        list_push(&s->ask.waiting, &c->ask_node);
    }
    if (c->ask == ASKED && s->ask.proof_at > c->ask_after)
        answered(c);
    else if (c->ask == ASKED)
        ask(s, true);
}

bool vcl__ask_step(struct vcl_conn *c)
{
    if (c->nb_answers == ANSWERS)
        return true;
    c->ask = ASKED;
    c->ask_at = VCL_NEVER;
    ask(c->s, false); /* the path has just answered */
    return false;
}

void vcl__ask_stop(struct vcl_conn *c)
{
    c->ask = ASK_NOT;
    c->ask_at = VCL_NEVER;
    list_del(&c->ask_node);
}

void vcl__ask_end(struct vcl_conn *c)
{
    c->pto_count = 0;
    vcl__ask_stop(c);
}

void vcl__ask_on_proof(struct vcl_session *s, uint64_t sent_at)
{
    struct list *n, *tmp;
    bool again = false;
    if (sent_at < s->ask.path_since || sent_at <= s->ask.proof_at)
        return;
    s->ask.proof_at = sent_at;
    list_each(n, tmp, &s->ask.waiting)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, ask_node);
        if (c->ask == ASK_PAUSE)
            continue;
        if (sent_at > c->ask_after)
            answered(c);
        else
            again = true; /* the answer was to an older question */
    }
    if (again)
        ask(s, false);
}

void vcl__ask_on_move(struct vcl_session *s)
{
    s->ask.path_since = s->e->now;
    s->ask.proof_at = s->ask.sent_at = 0;
}
