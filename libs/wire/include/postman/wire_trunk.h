/* SPDX-License-Identifier: Apache-2.0
 *
 * Trunk batches between a helper worker and a server shard: header and entries. A part of wire.h, which includes it:
 * include that.
 */
#ifndef POSTMAN_WIRE_TRUNK_H
#define POSTMAN_WIRE_TRUNK_H

#ifndef POSTMAN_WIRE_H
#error "include postman/wire.h"
#endif

/* --- trunk batches ------------------------------------------------------------------------ */
/*  0 ver|type   1 flags   2 entry count 2   4 helper_id 2   6 worker 1   7 shard 1
 *  8 sender incarnation 4   12 batch_seq 4   16 ack_batch 4   20 ack_bits 4 (bit i: ack_batch - 1 - i has arrived too)
 * 24 server -> helper: credit_limit 4; helper -> server: demand 4, absolute as the limit is (O1)
 * 16, 20 and 24 are zero without their flag
 * 28 hold_us 2 (helper: mean hold of this batch; server: age of the oldest unread message)
 * 30 ce_count 2 (datagrams of the other side that arrived marked, modulo 2^16)   32 entries ... [PAD]   tag 8
 *
 * Entries, by the top two bits of their first byte:
 *  00 PAD: 0x00, zeros up to the tag.
 *  01 Long: kind (0x40 | family) 1, frame length 2, client address 4|16, client port 2, C-frame.
 *  10 Short (T6), of a bound flow: 10 T E X iii.  T: ACK, no length, no payload; E: sealed, ends in 20 bytes, else in
 * 4; X: 2 more index bytes (only above 2,047), else 1; iii: top bits of the index.   index 1|2 epoch low 4 bits,
 * generation low 4 bits 1 seq 2   ack 2   [payload length 1]   payload   check 4 or packet number and tag 20. 8 bytes
 * and the check for an index below 2,048. It is a short frame (W10) without what the binding knows: first byte, flags,
 * CID. 11 Control: kind 1, then BIND      index 4, generation 1, family 1, client address 4|16, client port 2, CID 8
 *     BIND_ACK, BIND_ERR, UNBIND   index 4, generation 1
 *     NACK      first batch_seq 4, count 2 (1 ... 256): these did not arrive (T8) */
enum pmw_trunk_flag {
    PMW_TRUNK_ACKS = 0x01,   /* ack_batch and ack_bits mean something */
    PMW_TRUNK_CREDIT = 0x02, /* credit_limit or demand means something */
};
struct pmw_trunk {
    uint8_t flags;
    uint16_t nb_entries;
    uint16_t helper_id;
    uint8_t worker, shard;
    uint32_t incarnation; /* of the sender */
    uint32_t batch_seq;   /* low 32 bits */
    uint32_t ack_batch, ack_bits;
    uint32_t credit; /* limit or demand */
    uint16_t hold_us, ce_count;
};
enum pmw_entry_kind {
    PMW_ENTRY_PAD = 0x00,
    PMW_ENTRY_LONG_V4 = 0x44,
    PMW_ENTRY_LONG_V6 = 0x46,
    PMW_ENTRY_SHORT = 0x80, /* ... 0xbf */
    PMW_ENTRY_BIND = 0xc1,
    PMW_ENTRY_BIND_ACK = 0xc2,
    PMW_ENTRY_BIND_ERR = 0xc3,
    PMW_ENTRY_UNBIND = 0xc4,
    PMW_ENTRY_NACK = 0xc5,
};
struct pmw_entry {          /* long */
    struct pmw_addr client; /* where the frame came from, or goes to */
    const uint8_t *frame;
    uint16_t frame_len;
};
struct pmw_short { /* a short frame without what its binding knows */
    bool is_ack;   /* ACK: no payload */
    bool sealed;
    uint32_t index;
    uint8_t epoch4, generation; /* generation: low 4 bits */
    uint16_t seq, ack;
    uint8_t payload_len; /* a longer short frame travels in a long entry */
    /* Payload and check or tag as they travel: payload_len bytes, then PMW_CHECK_BYTES or PMW_SEAL_BYTES. Decoder:
     * points into the batch. */
    const uint8_t *payload;
};
struct pmw_bind {
    uint32_t index;
    uint8_t generation;
    struct pmw_addr client;
    uint64_t cid;
};
struct pmw_bind_ref { /* BIND_ACK, BIND_ERR, UNBIND */
    uint32_t index;
    uint8_t generation;
};
struct pmw_nack {
    uint32_t first;
    uint16_t count;
};
/* One entry of any kind, as pmw_entry_next gives it. */
struct pmw_any_entry {
    uint8_t kind; /* enum pmw_entry_kind; PMW_ENTRY_SHORT for all short ones */
    union {
        struct pmw_entry as_long;
        struct pmw_short as_short;
        struct pmw_bind bind;
        struct pmw_bind_ref ref;
        struct pmw_nack nack;
    };
};

int pmw_trunk_encode(uint8_t *buf, size_t cap, const struct pmw_trunk *h);   /* header only: 32 */
int pmw_trunk_decode(const uint8_t *buf, size_t len, struct pmw_trunk *out); /* header; len includes the tag */
int pmw_entry_encode(uint8_t *buf, size_t cap, const struct pmw_entry *e);
int pmw_short_encode(uint8_t *buf, size_t cap, const struct pmw_short *e);
int pmw_bind_encode(uint8_t *buf, size_t cap, const struct pmw_bind *b);
int pmw_bind_ref_encode(uint8_t *buf, size_t cap, enum pmw_entry_kind kind, const struct pmw_bind_ref *r);
int pmw_nack_encode(uint8_t *buf, size_t cap, const struct pmw_nack *n);
/* Walk: *at starts at PMW_TRUNK_HEADER_BYTES; end = len - PMW_TRUNK_TAG_BYTES. Returns 1 with an entry, 0 at
 * the end or at PAD (whose bytes must be zero), or an error. The caller compares the number of entries with the
 * header's. */
int pmw_entry_next(const uint8_t *buf, size_t end, size_t *at, struct pmw_any_entry *out);
/* Short frame (W10) <-> short entry. of_frame: false when the C-frame is no short frame, or its payload is over 255
 * bytes; index and generation are left to the caller; URGENT is lost. to_frame writes the C-frame of an entry: 16 bytes
 * of header, payload, check or tag; returns its length, or an error. buf may overlap what e->payload points to: buf =
 * payload - 16 moves nothing, and overwrites what lies before the payload. */
bool pmw_short_of_frame(const uint8_t *frame, size_t len, struct pmw_short *out);
int pmw_short_to_frame(uint8_t *buf, size_t cap, const struct pmw_short *e, uint64_t cid);

#endif
