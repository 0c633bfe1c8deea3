/* SPDX-License-Identifier: Apache-2.0
 *
 * How sessions and connections begin (S3, S17, K4): OPEN and its answers at both ends, cookies and quotas against those
 * who only ask, and what a server says for the one that was there before it (C9).
 */
#ifndef VCL_CORE_OPENING_H
#define VCL_CORE_OPENING_H

#include "exit.h"
#include "guard.h"
#include "list.h"
#include "map.h"

enum {
    TOKEN_SKEW_S = 30,            /* K4 */
    TOKEN_RENEW_S = 60,           /* TOKEN_WANTED so long before the end (engine.h) */
    COOKIE_FREE_OPENS_MAX = 1000, /* S17: per second */
    COOKIE_REPEATS_MAX = 4,       /* OPENs that cookies make a client repeat at once; then at its PTO */
};

struct cookies {
    struct rate opens;
    bool known;
    uint8_t secret[2][16]; /* the present one and the one before */
    uint64_t changed_at;
};

struct quota { /* of one client id */
    struct map_node by_client;
    struct list idle; /* vcl_session.of_client: those without connections and tombstones, the longest so first */
    uint32_t nb_sessions;
    uint32_t nb_begun; /* connections since */
    uint64_t since;
};

/* --- open_client.c --- */
int vcl__open_build(struct vcl_conn *c, uint8_t *buf, size_t cap);
void vcl__open_on_timer(struct vcl_conn *c);
uint64_t vcl__open_deadline(const struct vcl_conn *c);
uint64_t vcl__token_on_timer(struct vcl_session *s); /* client: asks for a renewal in time */
int vcl__on_open_ack(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_open_cookie(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_refused(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- open_server.c --- */
int vcl__on_open(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- cookie.c (S17) --- */
bool vcl__cookie_wanted(struct vcl_engine *e); /* counts one OPEN that would make a connection */
void vcl__cookie_make(struct vcl_engine *e, const struct pmw_addr *from, const struct pmw_open *o,
                      uint8_t out[PMW_COOKIE_BYTES]);
bool vcl__cookie_good(struct vcl_engine *e, const struct pmw_addr *from, const struct pmw_open *o);

/* --- quota.c (S17) --- */
bool vcl__quota_conn(struct vcl_engine *e, uint64_t client_id);  /* may it begin another connection? Counts it */
bool vcl__quota_join(struct vcl_session *s, uint64_t client_id); /* false: it has enough sessions, or no memory */
void vcl__quota_leave(struct vcl_session *s);

/* --- successor.c (C9) --- */
void vcl__answer_for_predecessor(struct vcl_engine *e, const struct route *from, uint64_t cid, size_t trigger_bytes);
void vcl__answer_resume_for_predecessor(struct vcl_engine *e, const struct route *from, const struct pmw_resume *r);
int vcl__on_stateless_reset(struct vcl_engine *e, const uint8_t *buf, size_t len);

#endif
