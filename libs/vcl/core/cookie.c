/* SPDX-License-Identifier: Apache-2.0
 *
 * OPEN under load (S17): when to ask for a cookie, and which one is good. Nothing is kept for a client that was asked:
 * the cookie is a keyed hash of what the client said, so that the server knows its own word again. The secret lives
 * COOKIE_SECRET_US and then as long again as the one before, as WireGuard does; a cookie is good in the minute in which
 * it was made and in the next one.
 */
#include "state.h"

#include <string.h>

enum { COOKIE_SLOT_US = 60000000, COOKIE_SECRET_US = 120000000 };

static void turn_secrets(struct vcl_engine *e)
{
    struct cookies *k = &e->cookies;
    if (k->known && e->now - k->changed_at < COOKIE_SECRET_US)
        return;
    bool is_next = k->known && e->now - k->changed_at < 2 * (uint64_t)COOKIE_SECRET_US;
    if (is_next)
        memcpy(k->secret[1], k->secret[0], sizeof(k->secret[1]));
    else /* nothing to remember: an unguessable one all the same */
        e->cfg.random(e->cfg.ctx, k->secret[1], sizeof(k->secret[1]));
    e->cfg.random(e->cfg.ctx, k->secret[0], sizeof(k->secret[0]));
    k->known = true;
    k->changed_at = e->now;
}

bool vcl__cookie_wanted(struct vcl_engine *e)
{
    struct cookies *k = &e->cookies;
    bool busy = !vcl__rate_take(&k->opens, e->now, COOKIE_FREE_OPENS_MAX);
    return busy || e->nb_backlog * 2 >= e->cfg.backlog_max;
}

static void cookie_of(const struct vcl_engine *e, int which, const struct pmw_addr *from, const struct pmw_open *o,
                      uint64_t slot, uint8_t out[PMW_COOKIE_BYTES])
{
    pmw_open_cookie(out, e->cookies.secret[which], from, o->session_id, o->open_nonce, (uint32_t)slot);
}

void vcl__cookie_make(struct vcl_engine *e, const struct pmw_addr *from, const struct pmw_open *o,
                      uint8_t out[PMW_COOKIE_BYTES])
{
    turn_secrets(e);
    cookie_of(e, 0, from, o, e->now / COOKIE_SLOT_US, out);
}

bool vcl__cookie_good(struct vcl_engine *e, const struct pmw_addr *from, const struct pmw_open *o)
{
    static const uint8_t none[PMW_COOKIE_BYTES];
    uint8_t cookie[PMW_COOKIE_BYTES];
    bool good = false;
    if (memcmp(o->cookie, none, sizeof(none)) == 0)
        return false;
    turn_secrets(e);
    uint64_t slot = e->now / COOKIE_SLOT_US;
    for (int i = 0; i < 4; i++) { /* each secret with this minute and the last one */
        cookie_of(e, i / 2, from, o, slot - (i % 2 != 0 && slot > 0), cookie);
        good |= vcl__equal_secret(cookie, o->cookie, sizeof(cookie));
    }
    return good;
}
