/* SPDX-License-Identifier: Apache-2.0
 *
 * See streams.h.
 */
#include "streams.h"

#include "require.h"

static uint8_t byte_at(const struct end *writer, enum side side, uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) + writer->port * 7u + (unsigned)side * 101);
}

static struct end *end_add(struct streams *all, enum side side, struct vcl_conn *conn)
{
    struct vcl_conn_info info;
    vcl_conn_info(conn, &info);
    struct end *end = &all->ends[side][all->nb[side]++];
    *end = (struct end){.conn = conn, .cid = info.cid, .port = side == CLIENT ? info.local_port : info.peer.port};
    return end;
}

static bool is_full(const struct streams *all, enum side side)
{
    return all->nb[side] == sizeof(all->ends[side]) / sizeof(all->ends[side][0]);
}

void streams_open(struct streams *all, struct vcl_session *s, uint64_t now)
{
    struct vcl_conn *conn;
    if (!is_full(all, CLIENT) && vcl_conn_open(s, now, &conn) == VCL_OK)
        end_add(all, CLIENT, conn);
}

void streams_accept(struct streams *all, struct vcl_engine *server)
{
    struct vcl_conn *conn;
    if (!is_full(all, SERVER) && vcl_conn_accept(server, &conn) == VCL_OK)
        end_add(all, SERVER, conn);
}

static void refresh(struct end *end)
{
    struct vcl_conn_info info;
    if (end->conn == NULL || end->cid != 0)
        return;
    vcl_conn_info(end->conn, &info);
    end->cid = info.cid;
}

/* The end at the other side, by the connection's id. A client that was released before it knew the id may still have
 * sent what it had written: then the virtual port must do. NULL: the server's end was never known to a client. */
static struct end *peer_of(struct streams *all, struct end *end, enum side side)
{
    enum side other = side == CLIENT ? SERVER : CLIENT;
    struct end *by_port = NULL;
    refresh(end);
    for (unsigned i = 0; i < all->nb[other]; i++) {
        struct end *e = &all->ends[other][i];
        refresh(e);
        if (end->cid != 0 && e->cid == end->cid)
            return e;
        if (e->port == end->port && e->cid == 0 && e->ended)
            by_port = e;
    }
    return by_port;
}

static void write_some(struct end *end, enum side side, size_t len, uint64_t now)
{
    uint8_t buf[2 * BUFFER_BYTES];
    REQUIRE(len <= sizeof(buf));
    for (size_t i = 0; i < len; i++)
        buf[i] = byte_at(end, side, end->written + i);
    int64_t took = vcl_conn_write(end->conn, now, buf, len);
    REQUIRE(took <= (int64_t)len);
    if (took > 0)
        end->written += (uint64_t)took;
}

static void require_prefix(struct streams *all, struct end *end, enum side side, const uint8_t *buf, size_t len)
{
    const struct end *peer = peer_of(all, end, side);
    REQUIRE(peer != NULL && end->read + len <= peer->written);
    for (size_t i = 0; i < len; i++)
        REQUIRE(buf[i] == byte_at(peer, side == CLIENT ? SERVER : CLIENT, end->read + i));
    REQUIRE(len > 0 || ((peer->shut || peer->ended) && end->read == peer->written));
}

/* Returns whether there may be more. */
static bool read_some(struct streams *all, struct end *end, enum side side, size_t len, bool peek, uint64_t now)
{
    uint8_t buf[2 * BUFFER_BYTES];
    REQUIRE(len <= sizeof(buf));
    int64_t got = vcl_conn_read(end->conn, now, buf, len, peek);
    REQUIRE(got <= (int64_t)len);
    if (all->faithful && len > 0 && got >= 0)
        require_prefix(all, end, side, buf, (size_t)got);
    if (got > 0 && !peek)
        end->read += (uint64_t)got;
    return got > 0 && !peek;
}

void streams_act(struct streams *all, enum side side, uint8_t which, uint8_t what, size_t len, uint64_t now)
{
    struct end *end = &all->ends[side][all->nb[side] > 0 ? which % all->nb[side] : 0];
    if (end->conn == NULL)
        return;
    refresh(end);
    if (what < 0x60) {
        write_some(end, side, len, now);
    } else if (what < 0xd0) {
        read_some(all, end, side, len, what < 0x70, now);
    } else if (what < 0xe8) {
        end->shut |= vcl_conn_shutdown_write(end->conn, now) == VCL_OK;
    } else if (what < 0xf4) {
        vcl_conn_abort(end->conn, now);
        end->ended = true;
    } else {
        vcl_conn_release(end->conn, now);
        end->conn = NULL;
        end->ended = true;
    }
}

void streams_read_all(struct streams *all, uint64_t now)
{
    for (int side = CLIENT; side <= SERVER; side++) {
        for (unsigned i = 0; i < all->nb[side]; i++) {
            struct end *end = &all->ends[side][i];
            while (end->conn != NULL && read_some(all, end, (enum side)side, BUFFER_BYTES, false, now))
                ;
        }
    }
}

static bool is_healthy(const struct end *end)
{
    return end->conn != NULL && !end->ended && vcl_conn_error(end->conn) == VCL_OK;
}

void streams_require_delivered(struct streams *all)
{
    for (unsigned i = 0; i < all->nb[CLIENT]; i++) {
        struct end *c = &all->ends[CLIENT][i], *s = peer_of(all, c, CLIENT);
        if (s != NULL && is_healthy(c) && is_healthy(s))
            REQUIRE(c->written == s->read && s->written == c->read);
    }
}
