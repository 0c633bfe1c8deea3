/* SPDX-License-Identifier: Apache-2.0
 *
 * What batch numbers tell about a trunk: its round trip and the loss of large batches from the other side's
 * acknowledgements (T7), what the other side should repeat (T8), and marks (T9). Nothing here frees or moves anything.
 */
#ifndef VCL_CORE_TRUNK_WATCH_H
#define VCL_CORE_TRUNK_WATCH_H

#include "postman/replay.h"
#include "postman/wire.h"

enum {
    WATCH_ACK_BITS = 32,
    WATCH_LOSS_ORDER = 3,          /* T7; RFC 9002 6.1.1 */
    WATCH_BLACK_HOLE_LOSSES = 2,   /* T7: large ones in a row */
    WATCH_SMALL_BYTES = 1200,      /* T7: the segment size behind a black hole */
    WATCH_SMALL_US = 10000000,     /* and how long it is kept */
    WATCH_RTT_WINDOW_US = 1000000, /* an acknowledgement waits for something to travel with: the least is the trunk's */
    WATCH_GAPS_MAX = 8,            /* runs of missing numbers that wait; more are left to C4 */
    WATCH_NACK_MIN_US = 50,        /* T8 */
    WATCH_NACK_MAX_US = 1000,
    WATCH_MARK_ROUND_US = 200, /* T9: a round trip, while none was measured */
    WATCH_ALPHA_SHIFT = 4,     /* g = 1/16 (RFC 8257 4.2) */
};

struct watch_gap { /* numbers that did not arrive in order */
    uint64_t first, seen_at;
    uint32_t count;
};

struct trunk_watch {
    uint64_t timed_seq, timed_at; /* the batch whose round trip is measured; 0: none */
    uint64_t rtt_us[2];           /* least of this window, of the one before; 0: not known */
    uint64_t rtt_window_at;
    uint64_t judged; /* all batches up to this one count as arrived or lost */
    uint64_t large;  /* bit seq mod 64: that one was larger than WATCH_SMALL_BYTES */
    uint64_t small_until;
    uint8_t nb_large_lost; /* in a row */
    bool small_arrived;    /* since the first of these */
    uint8_t nb_gaps;
    struct watch_gap gaps[WATCH_GAPS_MAX];
    uint16_t marks_in;    /* datagrams of the other side that arrived marked */
    uint16_t marks_heard; /* the other side's count of ours */
    bool marks_known;
    uint64_t marks_at, marks_seq; /* the last round was judged then, when that was our newest number */
    uint32_t alpha;               /* RFC 8257 3.3: share of marked datagrams, smoothed, in 1024ths */
};

/* Sender. */
void vcl__watch_sent(struct trunk_watch *w, uint64_t now, uint64_t seq, size_t len);
void vcl__watch_acked(struct trunk_watch *w, uint64_t now, uint64_t ack, uint32_t bits);
uint64_t vcl__watch_rtt(const struct trunk_watch *w); /* 0: not known */
/* Bytes of a full batch now. */
size_t vcl__watch_segment(const struct trunk_watch *w, uint64_t now, size_t full);
/* The other side's count of marked datagrams, newest batch. When a round with marks ended: their smoothed share, in
 * 1024ths; else 0. */
uint32_t vcl__watch_marks(struct trunk_watch *w, uint64_t now, uint16_t count, uint64_t newest_seq);

/* Receiver. Before seq is entered in the replay window. */
void vcl__watch_arrived(struct trunk_watch *w, const struct pmw_replay *in, uint64_t now, uint64_t seq);
/* When the next gap is old enough to be asked for; UINT64_MAX: there is none. */
uint64_t vcl__watch_nack_at(const struct trunk_watch *w);
/* The next run of numbers to ask for now: true, each once. */
bool vcl__watch_take_nack(struct trunk_watch *w, const struct pmw_replay *in, uint64_t now, struct pmw_nack *out);

#endif
