/* SPDX-License-Identifier: Apache-2.0
 * The application's end of a connection: see application.h. */
#include "application.h"

#include <assert.h>
#include <string.h>

enum { BUFFER_BYTES = 65536 + 1 };

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static unsigned host_of(const struct connection *c, enum side side)
{
    return side == SERVER ? HOST_SERVER : HOST_CLIENT + c->plan.client;
}

static const char *side_name(enum side side)
{
    return side == CLIENT ? "client" : "server";
}

static void note(struct application *app, const struct connection *c, enum side side, const char *what, uint64_t number)
{
    trace_note(&app->world->trace, app->world->now_us, host_of(c, side), "app", "k%u %s %s %llu", c->number,
               side_name(side), what, (unsigned long long)number);
}

void application_attach(struct application *app, struct connection *c, enum side side, struct vcl_conn *conn)
{
    struct end *end = &c->end[side];
    assert(!end->conn && !end->done);
    end->conn = conn;
    note(app, c, side, "attached, will write", c->plan.end[side].total_bytes);
}

/* --- checks ---------------------------------------------------------------------------------------------- */
/* Which other stream holds these bytes at this offset: a mixed-up connection rather than a damaged one. */
static int64_t find_owner(const struct application *app, const struct connection *c, uint64_t offset,
                          const uint8_t *buf, size_t len)
{
    size_t looked_at = len < 16 ? len : 16;
    if (looked_at < 4)
        return -1;
    for (uint32_t i = 0; i < app->nb_connections; i++)
        for (int direction = UP; direction <= DOWN; direction++)
            if (i != c->number && ledger_mismatch(app->seed, i, (enum direction)direction, offset, buf, looked_at) < 0)
                return i;
    return -1;
}

void application_check(struct application *app, const struct connection *c, enum side side, const uint8_t *buf,
                       size_t len)
{
    const struct end *end = &c->end[side], *peer = &c->end[side_peer(side)];
    enum direction direction = side_writes(side_peer(side));
    struct verdict *v = &app->world->verdict;
    uint64_t now = app->world->now_us;
    int64_t wrong = ledger_mismatch(app->seed, c->number, direction, end->read, buf, len);
    if (wrong >= 0) {
        int64_t owner = find_owner(app, c, end->read + (uint64_t)wrong, buf + wrong, len - (size_t)wrong);
        if (owner >= 0)
            verdict_fail(v, now, RULE_I2, "k%u: the %s read bytes of connection k%lld at offset %llu", c->number,
                         side_name(side), (long long)owner, (unsigned long long)(end->read + (uint64_t)wrong));
        else
            verdict_fail(v, now, RULE_I1, "k%u: the %s read a wrong byte at offset %llu (of a read of %zu at %llu)",
                         c->number, side_name(side), (unsigned long long)(end->read + (uint64_t)wrong), len,
                         (unsigned long long)end->read);
    }
    if (end->read + len > peer->written)
        verdict_fail(v, now, RULE_I1, "k%u: the %s read up to %llu, but only %llu bytes were written", c->number,
                     side_name(side), (unsigned long long)(end->read + len), (unsigned long long)peer->written);
}

static void check_eof(struct application *app, const struct connection *c, enum side side)
{
    const struct end *end = &c->end[side], *peer = &c->end[side_peer(side)];
    if (!peer->fin_sent || end->read != peer->written)
        verdict_fail(&app->world->verdict, app->world->now_us, RULE_I1,
                     "k%u: the %s read the end of the stream at %llu; the peer wrote %llu bytes and %s", c->number,
                     side_name(side), (unsigned long long)end->read, (unsigned long long)peer->written,
                     peer->fin_sent ? "ended there" : "goes on");
}

static void plant_fault(struct application *app, uint8_t *buf, size_t len)
{
    if (app->plant == PLANT_SWAP && len >= 2 && buf[len - 2] != buf[len - 1]) {
        uint8_t last = buf[len - 1];
        buf[len - 1] = buf[len - 2];
        buf[len - 2] = last;
    } else if (app->plant == PLANT_SKIP && len >= 2) {
        memmove(buf, buf + 1, len - 1);
    } else if (app->plant == PLANT_REPEAT && len >= 2) {
        memmove(buf + 1, buf, len - 1);
    }
}

/* --- the end of an end ------------------------------------------------------------------------------------- */
static void finish(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    struct end *end = &c->end[side];
    end->done = true;
    app->nb_ends_done++;
    end->fin_sent = true; /* nothing more will be written */
    if (end->conn)
        vcl_conn_release(end->conn, local_now);
    end->conn = NULL;
    note(app, c, side, "done, read", end->read);
}

void application_fail(struct application *app, struct connection *c, enum side side, int error)
{
    struct end *end = &c->end[side];
    end->error = error;
    note(app, c, side, vcl_error_text(error), (uint64_t)error);
    if (!app->error_is_explained(app->ctx, c, side, error))
        verdict_fail(&app->world->verdict, app->world->now_us, RULE_ERROR, "k%u: the %s got \"%s\" for no reason",
                     c->number, side_name(side), vcl_error_text(error));
    if (!end->conn) {
        end->done = true;
        app->nb_ends_done++;
        note(app, c, side, "failed before it began", 0);
    }
}

/* --- one step each ------------------------------------------------------------------------------------------- */
static bool must_abort(const struct connection *c, enum side side)
{
    const struct end *end = &c->end[side];
    return end->written + end->read >= c->plan.end[side].abort_after_bytes;
}

static void abort_end(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    bool by_release = c->plan.end[side].abort_by_release;
    c->aborted = true;
    c->reset_may_be_lost = app->world->now_us < app->reset_lost_before_us;
    note(app, c, side, by_release ? "closes with work left at" : "aborts at", c->end[side].written);
    if (!by_release) {
        int rc = vcl_conn_abort(c->end[side].conn, local_now);
        if (rc != VCL_OK)
            verdict_fail(&app->world->verdict, app->world->now_us, RULE_CONTRACT, "k%u: vcl_conn_abort gives %d",
                         c->number, rc);
    }
    finish(app, c, side, local_now);
}

/* true: something was read. */
static bool read_once(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    static uint8_t buf[BUFFER_BYTES], peeked[BUFFER_BYTES];
    const struct end_plan *plan = &c->plan.end[side];
    struct end *end = &c->end[side];
    size_t want = (size_t)rng_between(&app->rng, 1, plan->read_bytes_max);
    int64_t seen = plan->peeks ? vcl_conn_read(end->conn, local_now, peeked, want, true) : 0;
    int64_t got = vcl_conn_read(end->conn, local_now, buf, want, false);
    if (plan->peeks && (seen != got || (got > 0 && memcmp(peeked, buf, (size_t)got) != 0)))
        verdict_fail(&app->world->verdict, app->world->now_us, RULE_CONTRACT, "k%u: a peek gave %lld, the read %lld",
                     c->number, (long long)seen, (long long)got);
    if (got > 0) {
        plant_fault(app, buf, (size_t)got);
        application_check(app, c, side, buf, (size_t)got);
        end->read += (uint64_t)got;
        app->bytes_read += (uint64_t)got;
        return true;
    }
    if (got == 0) {
        end->eof = true;
        note(app, c, side, "reads the end at", end->read);
        check_eof(app, c, side);
    } else if (got == -VCL_ERR_AGAIN) {
        end->read_blocked = true;
    } else {
        application_fail(app, c, side, (int)-got);
    }
    return false;
}

static bool write_once(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    static uint8_t buf[BUFFER_BYTES];
    struct end *end = &c->end[side];
    uint64_t left = connection_may_write(c, side) - end->written;
    uint64_t len = rng_between(&app->rng, 1, c->plan.end[side].write_bytes_max);
    len = len < left ? len : left;
    uint32_t stream =
        app->plant == PLANT_CROSS && c->number > 0 && end->written >= LEDGER_HEADER_BYTES ? c->number - 1 : c->number;
    ledger_fill(app->seed, stream, side_writes(side), end->written, buf, (size_t)len);
    int64_t took = vcl_conn_write(end->conn, local_now, buf, (size_t)len);
    if (took > (int64_t)len || took == 0) {
        verdict_fail(&app->world->verdict, app->world->now_us, RULE_CONTRACT, "k%u: a write of %llu gives %lld",
                     c->number, (unsigned long long)len, (long long)took);
    } else if (took > 0) {
        end->written += (uint64_t)took;
        end->write_blocked = (uint64_t)took < len;
    } else if (took == -VCL_ERR_AGAIN) {
        end->write_blocked = true;
    } else {
        application_fail(app, c, side, (int)-took);
    }
    return took > 0;
}

/* --- the pump -------------------------------------------------------------------------------------------------- */
static bool read_step(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    struct end *end = &c->end[side];
    const struct end_plan *plan = &c->plan.end[side];
    if (end->eof || end->error || end->read_blocked || end->next_read_at_us > app->world->now_us)
        return false;
    bool progress = read_once(app, c, side, local_now);
    if (progress && plan->read_gap_us)
        end->next_read_at_us = app->world->now_us + plan->read_gap_us;
    return progress;
}

static bool write_step(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    struct end *end = &c->end[side];
    const struct end_plan *plan = &c->plan.end[side];
    if (end->error || end->write_blocked || end->next_write_at_us > app->world->now_us ||
        end->written >= connection_may_write(c, side))
        return false;
    if (plan->rest_us != 0 && !end->rested && end->written >= plan->rest_after_bytes) {
        end->rested = true;
        end->next_write_at_us = app->world->now_us + plan->rest_us;
        return false;
    }
    bool progress = write_once(app, c, side, local_now);
    if (progress && plan->write_gap_us)
        end->next_write_at_us = app->world->now_us + plan->write_gap_us;
    return progress;
}

static void shut_down(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    struct end *end = &c->end[side];
    int rc = vcl_conn_shutdown_write(end->conn, local_now);
    if (rc == VCL_OK) {
        end->fin_sent = true;
        note(app, c, side, "ends its stream at", end->written);
    } else {
        application_fail(app, c, side, rc < 0 ? -rc : rc);
    }
}

/* The peer ended its stream before its plan did: what this end waits for will never come. */
static bool is_left_alone(const struct connection *c, enum side side)
{
    const struct end *end = &c->end[side];
    return end->eof && !end->fin_sent && end->written == connection_may_write(c, side);
}

static uint64_t next_wish(const struct application *app, const struct connection *c, enum side side)
{
    const struct end *end = &c->end[side];
    uint64_t at = NEVER;
    if (!end->eof && !end->read_blocked && end->next_read_at_us > app->world->now_us)
        at = end->next_read_at_us;
    if (!end->write_blocked && end->next_write_at_us > app->world->now_us &&
        end->written < connection_may_write(c, side))
        at = earliest(at, end->next_write_at_us);
    return at;
}

uint64_t application_pump(struct application *app, struct connection *c, enum side side, uint64_t local_now)
{
    struct end *end = &c->end[side];
    const struct end_plan *plan = &c->plan.end[side];
    bool progress = true;
    while (progress && end->conn && app->world->verdict.rule == RULE_NONE) {
        if (must_abort(c, side) && !end->error) {
            abort_end(app, c, side, local_now);
            return NEVER;
        }
        bool wrote = write_step(app, c, side, local_now);
        progress = read_step(app, c, side, local_now) || wrote;
    }
    if (!end->conn)
        return NEVER;
    bool all_written = end->written == plan->total_bytes;
    if (!end->error && all_written && plan->release_early)
        finish(app, c, side, local_now);
    else if (!end->error && all_written && !end->fin_sent)
        shut_down(app, c, side, local_now);
    if (end->conn && !end->error && end->eof && vcl_conn_error(end->conn) != VCL_OK && !end->fin_sent)
        application_fail(app, c, side, vcl_conn_error(end->conn));
    if (end->conn && !end->error && is_left_alone(c, side))
        finish(app, c, side, local_now);
    if (end->conn && (end->error || (end->eof && end->fin_sent)))
        finish(app, c, side, local_now);
    return end->conn ? next_wish(app, c, side) : NEVER;
}

void application_on_event(struct application *app, struct connection *c, enum side side, const struct vcl_event *event)
{
    struct end *end = &c->end[side];
    if (event->type == VCL_EV_CONN_READABLE || event->type == VCL_EV_CONN_CLOSED)
        end->read_blocked = false;
    if (event->type == VCL_EV_CONN_WRITABLE || event->type == VCL_EV_CONN_CLOSED)
        end->write_blocked = false;
    if (event->type == VCL_EV_CONN_CLOSED)
        note(app, c, side, "is told that it closed with", (uint64_t)event->error);
}
