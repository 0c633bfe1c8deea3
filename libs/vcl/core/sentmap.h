/* SPDX-License-Identifier: Apache-2.0
 *
 * The frames of one connection that were sent and not yet cumulatively acknowledged, in stream order. A frame keeps its
 * boundaries until it must be sent again by a path that carries less (S21): then it is cut.
 *
 *   in flight ──(SACK)──▶ sacked ──▶ acknowledged (removed)
 *       │ ▲
 *  lost │ │ sent again
 *       ▼ │
 *      lost
 *
 * Transmissions are numbered; a frame that is sent again has a new number, so that it is judged afresh. What these
 * numbers and times say of loss is rack.h's business.
 */
#ifndef VCL_CORE_SENTMAP_H
#define VCL_CORE_SENTMAP_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SENTMAP_FRAMES_MAX = 4096,  /* no new frame above it */
    SENTMAP_PIECES_MAX = 32768, /* frames and what they were cut into: 4,096 of 8,832 bytes in pieces of 1,280 */
    SENT_TX_MAX = 15,           /* what the wire can tell of the number of transmissions */
};

enum sent_state { SENT_IN_FLIGHT, SENT_LOST, SENT_SACKED };

struct sent {
    uint64_t offset;
    uint64_t sent_at, first_sent_at; /* of the last, of the first transmission (on this path) */
    uint32_t order;                  /* number of the last transmission, low 32 bits: sentmap_order */
    uint16_t len;                    /* payload bytes */
    uint8_t tx;                      /* transmissions before the last one, at most SENT_TX_MAX */
    uint8_t state : 2;               /* enum sent_state */
    uint8_t fin : 1;                 /* one offset more */
    uint8_t moved : 1;               /* first_sent_at is that of a move: the first transmission was earlier */
    uint8_t exempt : 1;              /* lost with its path: sending it again costs no retry budget (C5) */
    uint8_t refused : 1;             /* lost to BUSY: the next transmission counts as the first (O3) */
};
_Static_assert(sizeof(struct sent) == 32, "65,536 connections keep four of them each");

struct sentmap {
    struct sent *frames; /* ring of cap, a power of two */
    uint32_t cap, head, count;
    uint32_t nb_lost, nb_sacked;
    uint32_t bytes_in_flight; /* payload; a FIN alone counts one */
    uint32_t lost_from;       /* no frame before this position (from head) is lost */
    uint64_t next_order;      /* number of the newest transmission */
    uint64_t resent_order;    /* of the newest that repeated one */
};

struct sentmap_ack {
    /* in: of the frame that acknowledges */
    uint64_t now;
    uint32_t min_rtt_us; /* of the path: no answer comes sooner */
    uint8_t tx_echo;     /* transmissions before the one that it answers (W3, pmw_frame) */
    /* out */
    uint32_t nb_delivered, bytes_delivered; /* frames newly known to have arrived, their payload */
    uint64_t newest_order, newest_sent_at;  /* newest transmission among them that is known to have arrived; 0 = none */
    bool rtt_known;
    uint64_t rtt_sent_at, rtt_order; /* the transmission that was answered: an RTT sample */
    bool repeated;                   /* a frame among them was sent more than once */
    uint64_t first_sent_at;          /* of the newest such frame whose first transmission was on this path; 0 = none */
    uint32_t nb_lost;                /* frames newly judged lost */
    uint64_t lost_order;             /* newest transmission among them */
    uint8_t lost_tx_max;             /* how often the one of them that was lost most often was sent before */
    uint16_t lost_len;               /* its payload */
};

void vcl__sentmap_free(struct sentmap *m, const struct mem *mem);
/* Room for one more frame? Grows the ring. */
bool vcl__sentmap_reserve(struct sentmap *m, const struct mem *mem);
void vcl__sentmap_push(struct sentmap *m, uint64_t now, uint64_t offset, uint32_t len, bool fin); /* after reserve */
void vcl__sentmap_sent_again(struct sentmap *m, struct sent *f, uint64_t now);
struct sent *vcl__sentmap_oldest(const struct sentmap *m);         /* NULL: nothing is outstanding */
struct sent *vcl__sentmap_next_lost(struct sentmap *m);            /* the lowest lost frame */
struct sent *vcl__sentmap_at(const struct sentmap *m, uint32_t i); /* i-th from the oldest; i < count */
/* Cuts a frame after len bytes. The first part, or NULL without memory: nothing has changed then. */
struct sent *vcl__sentmap_cut(struct sentmap *m, const struct mem *mem, struct sent *f, uint32_t len);
/* Everything below una arrived; then each [start, end) of the SACK. Results are added to *out. */
void vcl__sentmap_ack(struct sentmap *m, uint64_t una, struct sentmap_ack *out);
void vcl__sentmap_sack(struct sentmap *m, uint64_t start, uint64_t end, struct sentmap_ack *out);
void vcl__sentmap_mark_lost(struct sentmap *m, struct sent *f);
/* The frame in flight that begins at offset, or NULL; and: it was not taken (O3). */
struct sent *vcl__sentmap_in_flight_at(const struct sentmap *m, uint64_t offset);
void vcl__sentmap_refuse(struct sentmap *m, struct sent *f);
/* A new path: whatever is not SACKed must be sent again, and its silence counts from now. */
void vcl__sentmap_mark_all_lost(struct sentmap *m, uint64_t now);
/* The path changed under the frames but the peer has not said what it holds: wait one PTO from now. */
void vcl__sentmap_restart(struct sentmap *m, uint64_t now);

static inline uint64_t sent_end(const struct sent *f)
{
    return f->offset + f->len + (f->fin ? 1 : 0);
}

static inline uint32_t sent_bytes(const struct sent *f)
{
    return f->len > 0 ? f->len : 1;
}

static inline uint64_t sentmap_order(const struct sentmap *m, const struct sent *f)
{
    return m->next_order - (uint32_t)((uint32_t)m->next_order - f->order);
}

#endif
