/* SPDX-License-Identifier: Apache-2.0
 * What applications do on the stage: see stage.h. */
#include "stage_parts.h"

#include <inttypes.h>

enum { CHUNK_BYTES = 4096, OPEN_US_MAX = 1000000, CLOSE_US_MAX = 1000000 };

static struct actor *actor_of(struct stream *k, enum side side)
{
    return side == CLIENT ? &k->stage->clients[k->client] : &k->stage->server;
}

/* --- one end of a stream ------------------------------------------------------------------------------------- */
static void pump_write(struct stage *s, struct stream *k, enum side side, uint64_t now)
{
    uint8_t bytes[CHUNK_BYTES];
    while (k->written[side] < k->to_write[side]) {
        uint64_t left = k->to_write[side] - k->written[side];
        size_t len = left < sizeof bytes ? (size_t)left : sizeof bytes;
        ledger_fill(STAGE_SEED, k->number, side_writes(side), k->written[side], bytes, len);
        int64_t taken = vcl_conn_write(k->conn[side], now, bytes, len);
        if (taken <= 0) {
            if (taken != -VCL_ERR_AGAIN)
                k->error[side] = (int)-taken;
            return;
        }
        k->written[side] += (uint64_t)taken;
    }
    if (k->fin[side] && !k->fin_sent[side]) {
        k->fin_sent[side] = true;
        assert_int_equal(VCL_OK, vcl_conn_shutdown_write(k->conn[side], now));
    }
}

void stage_pump_read(struct stage *s, struct stream *k, enum side side, uint64_t now)
{
    uint8_t bytes[CHUNK_BYTES];
    while (!k->holds_reading[side] && !k->eof[side]) {
        int64_t got = vcl_conn_read(k->conn[side], now, bytes, sizeof bytes, false);
        if (got < 0) {
            if (got != -VCL_ERR_AGAIN)
                k->error[side] = (int)-got;
            return;
        }
        k->eof[side] = got == 0;
        enum side peer = side_peer(side);
        int64_t wrong = ledger_mismatch(STAGE_SEED, k->number, side_writes(peer), k->read[side], bytes, (size_t)got);
        k->read[side] += (uint64_t)got;
        if (wrong >= 0 || k->read[side] > k->written[peer])
            verdict_fail(&s->world.verdict, s->world.now_us, RULE_I1,
                         "stream %u: the %s reads wrong bytes near %" PRIu64, k->number,
                         side == CLIENT ? "client" : "server", k->read[side]);
        if (k->eof[side] && !(k->fin_sent[peer] && k->read[side] == k->written[peer]))
            verdict_fail(&s->world.verdict, s->world.now_us, RULE_I1, "stream %u: a wrong end of stream", k->number);
        k->last_read_at_us[side] = s->world.now_us;
    }
}

void stage_pump(struct stage *s, struct stream *k, enum side side)
{
    uint64_t now = stage_clock(actor_of(k, side));
    if (!k->conn[side] || !k->opened || k->closed[side])
        return;
    stage_pump_read(s, k, side, now);
    if (side == SERVER && k->reply_bytes > 0 && k->read[SERVER] >= k->reply_at) {
        k->to_write[SERVER] += k->reply_bytes;
        k->reply_bytes = 0;
    }
    pump_write(s, k, side, now);
}

/* --- applications ------------------------------------------------------------------------------------------------ */
struct stream *stage_open_start(struct stage *s, unsigned client)
{
    assert_true(s->nb_streams < s->options.streams_max);
    struct actor *a = &s->clients[client];
    struct stream *k = &s->streams[s->nb_streams];
    *k = (struct stream){.stage = s, .number = s->nb_streams++, .client = client};
    assert_int_equal(VCL_OK, vcl_conn_open(a->session, stage_clock(a), &k->conn[CLIENT]));
    vcl_conn_set_user(k->conn[CLIENT], k);
    stage_poke(a);
    return k;
}

static bool is_open(struct stage *s, void *ctx)
{
    struct stream *k = ctx;
    return k->opened && k->conn[SERVER];
}

struct stream *stage_open(struct stage *s, unsigned client)
{
    struct stream *k = stage_open_start(s, client);
    stage_until(s, is_open, k, OPEN_US_MAX, "a connection opens");
    return k;
}

static void act(struct stream *k, enum side side)
{
    actor_of(k, side)->pump_all = true;
    stage_poke(actor_of(k, side));
}

void stage_write(struct stage *s, struct stream *k, enum side side, uint64_t bytes)
{
    k->to_write[side] += bytes;
    act(k, side);
}

void stage_request(struct stage *s, struct stream *k, uint64_t request_bytes, uint64_t reply_bytes)
{
    stage_write(s, k, CLIENT, request_bytes);
    k->reply_at = k->to_write[CLIENT];
    k->reply_bytes += reply_bytes;
}

void stage_shutdown(struct stage *s, struct stream *k, enum side side)
{
    k->fin[side] = true;
    act(k, side);
}

void stage_read_again(struct stage *s, struct stream *k, enum side side)
{
    k->holds_reading[side] = false;
    act(k, side);
}

static bool is_closed(struct stage *s, void *ctx)
{
    struct stream *k = ctx;
    return k->closed[CLIENT] && k->closed[SERVER];
}

void stage_close(struct stage *s, struct stream *k)
{
    stage_shutdown(s, k, CLIENT);
    stage_shutdown(s, k, SERVER);
    stage_until(s, is_closed, k, CLOSE_US_MAX, "a connection closes in order");
    assert_int_equal(VCL_OK, k->error[CLIENT]);
    assert_int_equal(VCL_OK, k->error[SERVER]);
}
