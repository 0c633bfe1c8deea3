/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole Postman wire format, version 1: every layout and every limit, and nothing else. Trunk batches are described
 * in wire_trunk.h, keyed functions in wire_keys.h; this header includes both.
 * docs/protocol.md is the normative text; its rule numbers (W1, W2, ...) are cited here.
 *
 * All integers are big-endian. Nothing is ever cast onto a packet: wire.c reads and writes bytes.
 * Nothing here holds state, allocates, reads a clock, or calls the system.
 */
#ifndef POSTMAN_WIRE_H
#define POSTMAN_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMW_VERSION 1

/* First byte of every UDP datagram of ours: version in the top 3 bits, type in the low 5. */
#define PMW_FIRST_BYTE(type) ((uint8_t)((PMW_VERSION << 5) | ((type)&0x1f)))

enum pmw_type {
    PMW_DATA = 0,             /* connection scope, check or tag (W7, W11) */
    PMW_ACK = 1,              /* connection scope, check or tag, no payload */
    PMW_OPEN = 2,             /* session scope, MAC: client -> server */
    PMW_OPEN_COOKIE = 3,      /* session scope, MAC: server -> client, answers OPEN under load (S17) */
    PMW_OPEN_ACK = 4,         /* session scope, MAC: server -> client */
    PMW_RESUME = 5,           /* session scope, MAC: client -> server */
    PMW_RESUME_ACK = 6,       /* session scope, MAC: server -> client */
    PMW_PATH_CHALLENGE = 7,   /* session scope, MAC: server -> client (S18) */
    PMW_PATH_RESPONSE = 8,    /* session scope, MAC: client -> server */
    PMW_PROBE = 9,            /* session scope, MAC: client -> helper and server; may be padded (S21) */
    PMW_PONG = 10,            /* session scope, no MAC: helper -> client, echoes the nonce */
    PMW_BUSY = 12,            /* connection scope, no MAC: helper -> client, a frame was not taken (O3) */
    PMW_STATELESS_RESET = 13, /* connection scope, reset token: a successor of the server -> client (C9) */
    PMW_RESET = 14,           /* connection scope, MAC: either way; aborts one connection */
    PMW_ECHO = 16,            /* session scope, MAC: server -> client, answers PROBE */
    PMW_REFUSED = 17,         /* session scope, MAC: server -> client, answers OPEN */
    PMW_TRUNK = 31,           /* trunk batch between a helper worker and a server shard */
};

enum pmw_flag {
    PMW_F_CHECK = 0x80,  /* CRC32C follows the payload: in every DATA and ACK that has no PMW_F_SEALED */
    PMW_F_SEALED = 0x40, /* the payload is encrypted; packet number and AEAD tag follow it instead of the check (W11) */
    PMW_F_SACK = 0x20,   /* SACK ranges precede the payload */
    PMW_F_FIN = 0x10,    /* the stream ends after this payload; the FIN takes one offset */
    PMW_F_RESEND = 0x08, /* this offset was sent before */
    PMW_F_URGENT = 0x04, /* a helper must not hold this frame */
    PMW_F_SHORT = 0x02,  /* short frame (W10): 16-byte header, 16-bit numbers, no window, nothing sent before */
};
#define PMW_FLAGS_KNOWN                                                                                                \
    (PMW_F_CHECK | PMW_F_SEALED | PMW_F_SACK | PMW_F_FIN | PMW_F_RESEND | PMW_F_URGENT | PMW_F_SHORT)
#define PMW_FLAGS_SHORT                                                                                                \
    (PMW_F_CHECK | PMW_F_SEALED | PMW_F_URGENT | PMW_F_SHORT) /* all that a short frame may have                       \
                                                               */

/* --- limits ------------------------------------------------------------------------------- */
enum {
    PMW_FRAME_HEADER_BYTES = 24,   /* DATA and ACK, before SACK */
    PMW_SHORT_HEADER_BYTES = 16,   /* DATA and ACK with PMW_F_SHORT */
    PMW_SHORT_EPOCH_MAX = 15,      /* the low 4 bits */
    PMW_TX_MAX = 15,               /* 15: so often or more */
    PMW_CONTROL_HEADER_BYTES = 16, /* first byte, flags, epoch8, zero, id 8, epoch 4 */
    PMW_CHECK_BYTES = 4,
    PMW_SEAL_BYTES = 20, /* packet number 4 (low 32 bits), tag 16 */
    PMW_MAC_BYTES = 16,
    PMW_SACK_MAX = 4,
    PMW_SACK_RANGE_BYTES = 6, /* start 4 (low 32 bits of an offset), length 2 */
    /* What every path carries, and what a helper takes: 24 + (1 + 4 * 6) + 1280 + 20 = 1349; RESUME with 32 connections
     * is 1072. Larger ones only on a direct path that has proved them (S21). */
    PMW_PAYLOAD_BYTES_BASE = 1280,
    PMW_FRAME_BYTES_BASE = 1352,
    PMW_PAYLOAD_BYTES_MIN = 480,  /* the last resort behind a black hole (S21) */
    PMW_PAYLOAD_BYTES_MAX = 8832, /* 24 + 25 + 8832 + 20 = 8901, in IPv6 of MTU 9000 */
    PMW_FRAME_BYTES_MAX = 8904,
    PMW_WINDOW_SILENT = UINT16_MAX, /* window field: nothing is said of the window */
    PMW_TOKEN_BYTES = 64,
    PMW_RESUME_CONNS_MAX = 32,
    PMW_WINDOW_UNIT_BYTES = 256,

    PMW_OPEN_BYTES = 136,
    PMW_COOKIE_BYTES = 16,
    PMW_OPEN_COOKIE_BYTES = 56,
    PMW_OPEN_ACK_BYTES = 76,
    PMW_REFUSED_BYTES = 44,
    PMW_RESUME_FIXED_BYTES = 48, /* 32 before the list, 16 of MAC after */
    PMW_RESUME_CONN_BYTES = 32,
    PMW_RESUME_ACK_FIXED_BYTES = 52, /* 36 before the list, 16 of MAC after */
    PMW_RESUME_ACK_CONN_BYTES = 28,
    PMW_PROBE_BYTES = 48, /* least; PROBE alone may be longer, zeros before its MAC */
    PMW_PATH_BYTES = 48,  /* PATH_CHALLENGE, PATH_RESPONSE */
    PMW_BUSY_BYTES = 24,
    PMW_STATELESS_RESET_BYTES = 28,
    PMW_PONG_BYTES = 48,
    PMW_ECHO_BYTES = 48,
    PMW_RESET_BYTES = 44,

    PMW_TRUNK_HEADER_BYTES = 32,
    PMW_TRUNK_TAG_BYTES = 8,
    PMW_TRUNK_BYTES_MAX = 1472, /* UDP payload of a 1500-byte IPv4 packet */
    PMW_TRUNK_BYTES_MIN = 40,
    PMW_ENTRY_LONG_V4_BYTES = 9, /* kind 1, length 2, address 4, port 2 */
    PMW_ENTRY_LONG_V6_BYTES = 21,
    PMW_ENTRY_SHORT_BYTES_MAX =
        9, /* before the payload: first 1, index 2, epoch and generation 1, seq 2, ack 2, length 1 */
    PMW_ENTRY_INDEX_MAX = 524287, /* 19 bits; below 2,048 it takes one byte beside the first */
    PMW_ENTRY_BIND_BYTES_MAX = 33,
    PMW_NACK_COUNT_MAX = 256,
    PMW_TRUNK_ENTRIES_MAX = 128,
};
_Static_assert(PMW_TRUNK_HEADER_BYTES + PMW_ENTRY_LONG_V6_BYTES + PMW_FRAME_BYTES_BASE + PMW_TRUNK_TAG_BYTES <= 1452,
               "the largest C-frame fits an IPv6 trunk datagram of MTU 1500");
_Static_assert(PMW_RESUME_FIXED_BYTES + PMW_RESUME_CONNS_MAX * PMW_RESUME_CONN_BYTES <= PMW_FRAME_BYTES_BASE,
               "a full RESUME is a legal C-frame");

/* --- addresses ---------------------------------------------------------------------------- */
struct pmw_addr {
    uint8_t ip[16]; /* network order; IPv4 uses the first four, the rest is zero */
    uint16_t port;  /* host order */
    uint8_t family; /* 4 or 6; 0 = none */
    uint8_t zero;
};
bool pmw_addr_equal(const struct pmw_addr *a, const struct pmw_addr *b);

/* --- C-frames: client <-> helper and client <-> server, byte for byte the same -------------- */
struct pmw_sack {
    uint32_t start; /* low 32 bits of the first offset received out of order */
    uint16_t len;   /* bytes, > 0 */
};

/* DATA, ACK:
 *  0 ver|type 1   1 flags 1   2 epoch low 8   3 tx 1   4 CID 8   12 seq low 32   16 ack low 32
 * 20 window 2 (units of 256 B)   22 payload length 2   24 [SACK count 1, ranges 6 each] payload CRC32C 4
 * tx: high half: how often this offset was sent before (15: 15 or more); low half: the same number of the newest data
 * frame that the ack answers, so that a resent frame gives an RTT sample (C4).
 * With PMW_F_SHORT (W10):
 *  0 ver|type 1   1 flags 1   2 epoch low 4 bits 1   3 zero 1   4 CID 8   12 seq low 16   14 ack low 16   16 payload
 *    CRC32C 4. The payload's length is what the datagram leaves. tx and tx_echo are 0, the window is silent.
 * With PMW_F_SEALED: packet number 4 and tag 16 in place of the CRC32C. Exactly one of PMW_F_CHECK and PMW_F_SEALED. */
struct pmw_frame {
    uint8_t type, flags;
    uint8_t epoch8; /* short: 4 bits */
    uint8_t tx, tx_echo;
    uint64_t cid;
    uint32_t seq, ack; /* short: 16 bits */
    uint16_t window;   /* short: PMW_WINDOW_SILENT */
    uint16_t payload_len;
    uint8_t nb_sacks;
    struct pmw_sack sacks[PMW_SACK_MAX];
    uint32_t packet_number; /* sealed: low 32 bits */
    const uint8_t *payload; /* points into the datagram given to the decoder */
};
/* Bits of seq and ack, and of the epoch, in this frame: what pmw_wlsb wants. */
static inline unsigned pmw_frame_number_bits(const struct pmw_frame *f)
{
    return (f->flags & PMW_F_SHORT) != 0 ? 16 : 32;
}
static inline unsigned pmw_frame_epoch_bits(const struct pmw_frame *f)
{
    return (f->flags & PMW_F_SHORT) != 0 ? 4 : 8;
}

/* What the CRC32C of DATA and ACK is seeded with, beside the bytes of the frame itself (W7): a frame
 * that decodes to another connection, offset or epoch than its sender meant fails the check.
 * check = CRC32C(secret 8 || cid 8 || seq 8 || ack 8 || epoch 4 || first byte 1 || flags & ~URGENT 1
 *                || long frames: bytes 3 (tx) and 20 .. end of SACK || payload).
 * So it does not see whether a short frame travelled as a C-frame or as a short entry (T6). */
struct pmw_check_seed {
    uint64_t secret;        /* of this session and direction */
    uint64_t cid, seq, ack; /* full 64-bit values */
    uint32_t epoch;
};

/* Control frames share:  0 ver|type   1 flags (0)   2 epoch low 8   3 zero   4 id 8   12 epoch 4
 * and end in MAC 16 = SipHash-2-4-128(key of session and direction, all bytes before it), except PONG. BUSY and
 * STATELESS_RESET have only the first byte and the id in common with them: who sends them has no key. */
enum pmw_feature { /* in OPEN: what the client offers; in OPEN_ACK: what the connection has */
                   PMW_FEATURE_AES_256_GCM = 1, /* payload encrypted end to end (W11) */
                   PMW_FEATURE_CHACHA20_POLY1305 = 2,
                   PMW_FEATURE_SHORT = 4, /* short frames (W10) */
};
struct pmw_open { /* 16 nonce 8, 24 server_id 2, 26 shard 1, 27 zero, 28 client_port 2, 30 zero 2,
                     32 rwnd 4, 36 features 4, 40 token 64, 104 cookie 16 (zeros: none), 120 MAC */
    uint64_t session_id, open_nonce;
    uint32_t epoch, rwnd, features;
    uint16_t server_id, client_port;
    uint8_t shard;
    uint8_t token[PMW_TOKEN_BYTES];
    uint8_t cookie[PMW_COOKIE_BYTES];
};
struct pmw_open_cookie { /* 16 nonce 8, 24 cookie 16, 40 MAC */
    uint64_t session_id, open_nonce;
    uint32_t epoch;
    uint8_t cookie[PMW_COOKIE_BYTES];
};
struct pmw_open_ack { /* 16 nonce 8, 24 CID 8, 32 rwnd 4, 36 features 4, 40 max_hold_us 2,
                         42 max_ack_delay_us 2, 44 reset_token 16, 60 MAC */
    uint64_t session_id, open_nonce, cid;
    uint32_t epoch, rwnd, features;
    uint16_t max_hold_us, max_ack_delay_us;
    uint8_t reset_token[16];
};
enum pmw_refusal {
    PMW_REFUSED_TOKEN_EXPIRED = 1,
    PMW_REFUSED_FULL = 2,   /* backlog or connection limit */
    PMW_REFUSED_CLOSED = 3, /* nobody listens any more */
};
struct pmw_refused { /* 16 nonce 8, 24 reason 1, 25 zero 3, 28 MAC */
    uint64_t session_id, open_nonce;
    uint32_t epoch;
    uint8_t reason;
};
struct pmw_resume_conn { /* client's view of one connection */
    uint64_t cid, rcv_nxt, snd_una, snd_nxt;
};
enum pmw_resume_flag {
    PMW_RESUME_PLANNED = 0x01, /* make-before-break (S19) */
};
struct pmw_resume { /* 16 nonce 8, 24 server_id 2, 26 helper_id 2, 28 count 1, 29 shard 1, 30 flags 1, 31 zero 1,
                       32 list, MAC */
    uint64_t session_id, nonce;
    uint32_t epoch;
    uint16_t server_id, helper_id;  /* helper_id 0 = direct path */
    uint8_t shard, nb_conns, flags; /* enum pmw_resume_flag */
    struct pmw_resume_conn conns[PMW_RESUME_CONNS_MAX];
};
#define PMW_WINDOW_GONE UINT32_MAX /* in RESUME_ACK: the server has no such connection */
struct pmw_resume_ack_conn {       /* server's view of one connection */
    uint64_t cid, rcv_nxt, snd_una;
    uint32_t window; /* bytes, or PMW_WINDOW_GONE */
};
struct pmw_resume_ack { /* 16 nonce 8, 24 challenge 8, 32 count 1, 33 zero 3, 36 list, MAC */
    uint64_t session_id, nonce, challenge;
    uint32_t epoch;
    uint8_t nb_conns;
    struct pmw_resume_ack_conn conns[PMW_RESUME_CONNS_MAX];
};
struct pmw_path { /* PATH_CHALLENGE, PATH_RESPONSE: 16 challenge 8, 24 server_id 2, 26 helper_id 2, 28 shard 1, 29 zero
                     3, 32 MAC. The response repeats the challenge, by the path that it names. */
    uint64_t session_id, challenge;
    uint32_t epoch;
    uint16_t server_id, helper_id;
    uint8_t shard;
};
struct pmw_busy { /*  0 ver|type 1   1 flags 0   2 zero 2   4 CID 8   12 seq of the frame that was not taken, as it said
                     it 4 16 retry_after_us 4   20 helper_id 2   22 zero 2 */
    uint64_t cid;
    uint32_t seq, retry_after_us;
    uint16_t helper_id;
};
struct pmw_stateless_reset { /* 0 ver|type 1   1 zero 3   4 CID 8   12 reset token 16 (of OPEN_ACK) */
    uint64_t cid;
    uint8_t reset_token[16];
};
struct pmw_probe { /* PROBE and ECHO: 16 nonce 8, 24 server_id 2, 26 helper_id 2, 28 shard 1, 29 zero 1, 30 bytes 2, 32
                      MAC. bytes: whole length of the PROBE; zeros fill it up before the MAC. ECHO repeats it, unpadded.
                      PONG: 16 nonce 8, 24 helper_id 2, 26 state 2 (1 = draining), 28 incarnation 4, 32 zero 16 */
    uint64_t session_id, nonce;
    uint32_t epoch;
    uint16_t server_id, helper_id;
    uint8_t shard;  /* a helper routes PROBE by (server_id, shard), as it does OPEN and RESUME */
    uint16_t bytes; /* PROBE, ECHO: 48 or more */
    uint16_t state;
    uint32_t incarnation;
};
struct pmw_reset { /* 16 offset 8, 24 reason 1, 25 zero 3, 28 MAC */
    uint64_t cid, offset;
    uint32_t epoch;
    uint8_t reason;
};

/* --- what a helper needs to route a C-frame without understanding it (W9) ------------------- */
struct pmw_route {
    uint8_t type, flags;
    uint64_t id;        /* CID or session id */
    bool session_scope; /* true: server_id and shard are in the frame; false: in the encrypted CID */
    uint16_t server_id;
    uint8_t shard;
};

/* --- token (registry -> client, checked by the server) -------------------------------------- */
/* 0 version 1, 1 flags 1, 2 key_id 2, 4 client_id 8, 12 service_id 8, 20 not_before 4 (unix s), 24 lifetime_s 2,
 * 26 max_conns 2, 28 rate_class 2, 30 server_id 2, 32 random 16, 48 MAC 16 = BLAKE2b-128(K_srv, bytes 0..47) */
struct pmw_token {
    uint16_t key_id, lifetime_s, max_conns, rate_class, server_id;
    uint64_t client_id, service_id;
    uint32_t not_before;
    uint8_t random[16], mac[16];
};

/* --- result codes: 0 or a positive length is success, below zero is one of these ------------- */
#define PMW_ERRORS(X)                                                                                                  \
    X(PMW_ERR_SHORT, -1, "truncated")                                                                                  \
    X(PMW_ERR_VERSION, -2, "unknown version")                                                                          \
    X(PMW_ERR_TYPE, -3, "unknown type")                                                                                \
    X(PMW_ERR_FLAGS, -4, "unknown or contradictory flags")                                                             \
    X(PMW_ERR_LENGTH, -5, "length does not match")                                                                     \
    X(PMW_ERR_RESERVED, -6, "reserved bits are set")                                                                   \
    X(PMW_ERR_LIMIT, -7, "a limit is exceeded")                                                                        \
    X(PMW_ERR_ENTRY, -8, "bad trunk entry")                                                                            \
    X(PMW_ERR_SPACE, -9, "output buffer too small")
enum pmw_error {
#define PMW_X(name, value, text) name = value,
    PMW_ERRORS(PMW_X)
#undef PMW_X
};
const char *pmw_error_text(int error);
const char *pmw_type_name(int type); /* "DATA", ...; "UNKNOWN" */

/* --- encode / decode. Decoders take exactly one datagram (or one entry's frame), demand that every byte
 * is accounted for, and never read past len. Encoders write at most cap bytes. The MAC and the CRC are left
 * to the caller's keys: encoders reserve (zero) their room and return the full length; see pmw_*_seal. ---- */
int pmw_type_of(const uint8_t *buf, size_t len); /* type, or an error */
int pmw_route_decode(const uint8_t *buf, size_t len, struct pmw_route *out);

int pmw_frame_encode(uint8_t *buf, size_t cap, const struct pmw_frame *f, const uint8_t *payload);
int pmw_frame_decode(const uint8_t *buf, size_t len, struct pmw_frame *out);
/* Write / verify the check of an encoded DATA or ACK frame of len bytes. */
void pmw_frame_seal(uint8_t *buf, size_t len, const struct pmw_check_seed *seed);
bool pmw_frame_check(const uint8_t *buf, size_t len, const struct pmw_check_seed *seed);

int pmw_open_encode(uint8_t *buf, size_t cap, const struct pmw_open *f);
int pmw_open_decode(const uint8_t *buf, size_t len, struct pmw_open *out);
int pmw_open_ack_encode(uint8_t *buf, size_t cap, const struct pmw_open_ack *f);
int pmw_open_ack_decode(const uint8_t *buf, size_t len, struct pmw_open_ack *out);
int pmw_refused_encode(uint8_t *buf, size_t cap, const struct pmw_refused *f);
int pmw_refused_decode(const uint8_t *buf, size_t len, struct pmw_refused *out);
int pmw_resume_encode(uint8_t *buf, size_t cap, const struct pmw_resume *f);
int pmw_resume_decode(const uint8_t *buf, size_t len, struct pmw_resume *out);
int pmw_resume_ack_encode(uint8_t *buf, size_t cap, const struct pmw_resume_ack *f);
int pmw_resume_ack_decode(const uint8_t *buf, size_t len, struct pmw_resume_ack *out);
int pmw_open_cookie_encode(uint8_t *buf, size_t cap, const struct pmw_open_cookie *f);
int pmw_open_cookie_decode(const uint8_t *buf, size_t len, struct pmw_open_cookie *out);
int pmw_path_encode(uint8_t *buf, size_t cap, uint8_t type, const struct pmw_path *f); /* CHALLENGE, RESPONSE */
int pmw_path_decode(const uint8_t *buf, size_t len, struct pmw_path *out);
int pmw_busy_encode(uint8_t *buf, size_t cap, const struct pmw_busy *f);
int pmw_busy_decode(const uint8_t *buf, size_t len, struct pmw_busy *out);
int pmw_stateless_reset_encode(uint8_t *buf, size_t cap, const struct pmw_stateless_reset *f);
int pmw_stateless_reset_decode(const uint8_t *buf, size_t len, struct pmw_stateless_reset *out);
int pmw_probe_encode(uint8_t *buf, size_t cap, uint8_t type, const struct pmw_probe *f); /* PROBE, ECHO, PONG */
int pmw_probe_decode(const uint8_t *buf, size_t len, struct pmw_probe *out);
int pmw_reset_encode(uint8_t *buf, size_t cap, const struct pmw_reset *f);
int pmw_reset_decode(const uint8_t *buf, size_t len, struct pmw_reset *out);

int pmw_token_decode(const uint8_t buf[PMW_TOKEN_BYTES], struct pmw_token *out);
void pmw_token_encode(uint8_t buf[PMW_TOKEN_BYTES], const struct pmw_token *t); /* mac copied as given */

/* --- truncated numbers: the value congruent to low (mod 2^bits) nearest to ref (W-LSB, RFC 3095 4.5.1) ---------- */
static inline uint64_t pmw_wlsb(uint64_t ref, uint64_t low, unsigned bits)
{
    uint64_t mod = (uint64_t)1 << bits, half = mod >> 1;
    uint64_t v = (ref & ~(mod - 1)) | (low & (mod - 1));
    if (v + half < ref)
        return v + mod;
    if (v > ref + half && v >= mod)
        return v - mod;
    return v;
}

#include "postman/wire_keys.h"
#include "postman/wire_trunk.h"

#ifdef __cplusplus
}
#endif
#endif
