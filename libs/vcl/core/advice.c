/* SPDX-License-Identifier: Apache-2.0
 *
 * Advice about a client's paths (S11): hints of the control plane, and a helper that says itself that it drains. Advice
 * makes the client probe or move earlier; it never resets or acknowledges anything.
 */
#include "state.h"

static void fail_helper(struct vcl_session *s, uint16_t helper_id)
{
    struct dial *d = s->dial;
    for (uint8_t i = 0; i < d->candidates.count; i++)
        if (d->candidates.list[i].path.helper_id == helper_id)
            vcl__candidates_fail(&d->candidates, s->e->now, &d->candidates.list[i].path, s->e->cfg.path_penalty_us);
}

/* The helper that answers says it will go: as if the control plane had said so (S11). */
int vcl__advice_on_pong(struct vcl_session *s, const struct pmw_probe *p)
{
    struct dial *d = s->dial;
    if (vcl__home_on_pong(s, p) || vcl__scout_on_pong(s, p))
        return 0;
    if (p->state == 0 || !vcl__probe_is_of_series(d, p) || p->helper_id != d->active.helper_id)
        return 0;
    fail_helper(s, p->helper_id);
    vcl__plan_begin(s);
    return 0;
}

/* S16, S18: the server has gone back to another path, or who passes our frames on is not whom we take it for. No answer
 * of ours will prove this path, and no RESUME is taken from it; but it works, as one that drains. */
void vcl__advice_other_helper(struct vcl_session *s)
{
    fail_helper(s, s->dial->active.helper_id);
    vcl__plan_begin(s);
}

void vcl_session_hint(struct vcl_session *s, uint64_t now, uint16_t helper_id, enum vcl_hint hint)
{
    struct dial *d = s->dial;
    vcl__now(s->e, now);
    if (hint == VCL_HINT_UP) {
        vcl__candidates_clear(&d->candidates, now, helper_id);
        vcl__home_wake(s);
        return;
    }
    bool active = d->active.helper_id == helper_id && d->state == VCL_PATH_ACTIVE;
    if (hint == VCL_HINT_DRAIN || !active) {
        fail_helper(s, helper_id);
        if (active)
            vcl__plan_begin(s);
    } else if (d->known && vcl__session_in_use(s)) {
        d->probe.hinted = true;
        d->probe.nb_unanswered = 0;
        vcl__probe_send(s, true);
    }
}
