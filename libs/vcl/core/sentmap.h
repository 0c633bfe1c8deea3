/* SPDX-License-Identifier: Apache-2.0
 *
 * The frames of one connection that were sent and not yet cumulatively acknowledged, in stream order. A frame keeps its
 * boundaries for life: what is sent again is exactly what was sent before.
 *
 *   in flight ──(SACK)──▶ sacked ──▶ acknowledged (removed)
 *       │ ▲
 *  lost │ │ sent again
 *       ▼ │
 *      lost
 *
 * Loss (C4) is judged by the order of transmission, not by offset, so a frame that was sent again is judged afresh:
 * a frame is lost when one that was sent three or more transmissions later has arrived.
 */
#ifndef VCL_CORE_SENTMAP_H
#define VCL_CORE_SENTMAP_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SENTMAP_FRAMES_MAX = 4096,
    SENTMAP_LOSS_ORDER = 3, /* RFC 9002 6.1.1, RFC 5681's three duplicates */
};

enum sent_state { SENT_IN_FLIGHT, SENT_LOST, SENT_SACKED };

struct sent {
    uint64_t offset, order;          /* order: number of this transmission within the connection */
    uint64_t sent_at, first_sent_at; /* of the last, of the first transmission (on this path) */
    uint32_t len;                    /* payload bytes */
    uint8_t tx;                      /* transmissions before the last one, at most 255 */
    uint8_t state;
    bool fin; /* one offset more */
};

struct sentmap {
    struct sent *frames; /* ring of cap, a power of two */
    uint32_t cap, head, count;
    uint32_t nb_in_flight, nb_lost;
    uint32_t lost_from;                   /* no frame before this position (from head) is lost */
    uint64_t next_order, delivered_order; /* the newest transmission known to have arrived */
};

struct sentmap_ack {
    uint32_t nb_delivered; /* frames newly known to have arrived */
    bool rtt_known;
    uint64_t rtt_sent_at;    /* newest delivered frame that was sent once (Karn) */
    bool any_resent;         /* one was sent more than once: what this acknowledgement waited for cannot be told */
    uint64_t newest_sent_at; /* last transmission of the newest delivered frame */
    uint32_t nb_lost;        /* frames newly judged lost */
    uint64_t lost_order;     /* newest transmission among them */
};

void vcl__sentmap_free(struct sentmap *m, const struct mem *mem);
/* Room for one more frame? Grows the ring. */
bool vcl__sentmap_reserve(struct sentmap *m, const struct mem *mem);
void vcl__sentmap_push(struct sentmap *m, uint64_t now, uint64_t offset, uint32_t len, bool fin); /* after reserve */
void vcl__sentmap_sent_again(struct sentmap *m, struct sent *f, uint64_t now);
struct sent *vcl__sentmap_oldest(const struct sentmap *m); /* NULL: nothing is outstanding */
struct sent *vcl__sentmap_next_lost(struct sentmap *m);    /* the lowest lost frame */
/* Everything below una arrived; then each [start, end) of the SACK. Results are added to *out. */
void vcl__sentmap_ack(struct sentmap *m, uint64_t una, struct sentmap_ack *out);
void vcl__sentmap_sack(struct sentmap *m, uint64_t start, uint64_t end, struct sentmap_ack *out);
void vcl__sentmap_detect_lost(struct sentmap *m, struct sentmap_ack *out);
void vcl__sentmap_mark_lost(struct sentmap *m, struct sent *f);
/* A new path: whatever is not SACKed must be sent again, and its silence counts from now. */
void vcl__sentmap_mark_all_lost(struct sentmap *m, uint64_t now);
/* The path changed under the frames but the peer has not said what it holds: wait one PTO from now. */
void vcl__sentmap_restart(struct sentmap *m, uint64_t now);

static inline uint64_t sent_end(const struct sent *f)
{
    return f->offset + f->len + (f->fin ? 1 : 0);
}

#endif
