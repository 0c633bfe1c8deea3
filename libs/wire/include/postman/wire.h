/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole Postman wire format, version 1: every layout and every limit, and nothing else.
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

/* Numbers 3, 7, 8, 11, 12, 15 are reserved for OPEN_COOKIE, PATH_CHALLENGE, PATH_RESPONSE, MIGRATE,
 * BUSY and WINDOW; a version 1 receiver drops them as unknown. */
enum pmw_type {
    PMW_DATA = 0,       /* connection scope, CRC32C check */
    PMW_ACK = 1,        /* connection scope, CRC32C check, no payload */
    PMW_OPEN = 2,       /* session scope, MAC: client -> server */
    PMW_OPEN_ACK = 4,   /* session scope, MAC: server -> client */
    PMW_RESUME = 5,     /* session scope, MAC: client -> server */
    PMW_RESUME_ACK = 6, /* session scope, MAC: server -> client */
    PMW_PROBE = 9,      /* session scope, MAC: client -> helper and server */
    PMW_PONG = 10,      /* session scope, no MAC: helper -> client, echoes the nonce */
    PMW_RESET = 14,     /* connection scope, MAC: either way; aborts one connection */
    PMW_ECHO = 16,      /* session scope, MAC: server -> client, answers PROBE */
    PMW_REFUSED = 17,   /* session scope, MAC: server -> client, answers OPEN */
    PMW_TRUNK = 31,     /* trunk batch between a helper worker and a server shard */
};

enum pmw_flag {
    PMW_F_CHECK = 0x80,  /* CRC32C follows the payload; always set in version 1 DATA and ACK */
    PMW_F_SACK = 0x20,   /* SACK ranges precede the payload */
    PMW_F_FIN = 0x10,    /* the stream ends after this payload; the FIN takes one offset */
    PMW_F_RESEND = 0x08, /* this offset was sent before */
    PMW_F_URGENT = 0x04, /* a helper must not hold this frame */
};
#define PMW_FLAGS_KNOWN (PMW_F_CHECK | PMW_F_SACK | PMW_F_FIN | PMW_F_RESEND | PMW_F_URGENT)

/* --- limits ------------------------------------------------------------------------------- */
enum {
    PMW_FRAME_HEADER_BYTES = 24,   /* DATA and ACK, before SACK */
    PMW_CONTROL_HEADER_BYTES = 16, /* first byte, flags, epoch8, zero, id 8, epoch 4 */
    PMW_CHECK_BYTES = 4,
    PMW_MAC_BYTES = 16,
    PMW_SACK_MAX = 4,
    PMW_SACK_RANGE_BYTES = 6, /* start 4 (low 32 bits of an offset), length 2 */
    PMW_PAYLOAD_BYTES_MAX = 1280,
    /* 24 + (1 + 4 * 6) + 1280 + 4 = 1333; RESUME with 32 connections is 1072. */
    PMW_FRAME_BYTES_MAX = 1336,
    PMW_TOKEN_BYTES = 64,
    PMW_RESUME_CONNS_MAX = 32,
    PMW_WINDOW_UNIT_BYTES = 256,

    PMW_OPEN_BYTES = 120,
    PMW_OPEN_ACK_BYTES = 76,
    PMW_REFUSED_BYTES = 44,
    PMW_RESUME_FIXED_BYTES = 48, /* 32 before the list, 16 of MAC after */
    PMW_RESUME_CONN_BYTES = 32,
    PMW_RESUME_ACK_FIXED_BYTES = 52, /* 36 before the list, 16 of MAC after */
    PMW_RESUME_ACK_CONN_BYTES = 28,
    PMW_PROBE_BYTES = 48,
    PMW_PONG_BYTES = 48,
    PMW_ECHO_BYTES = 48,
    PMW_RESET_BYTES = 44,

    PMW_TRUNK_HEADER_BYTES = 32,
    PMW_TRUNK_TAG_BYTES = 8,
    PMW_TRUNK_BYTES_MAX = 1472, /* UDP payload of a 1500-byte IPv4 packet */
    PMW_TRUNK_BYTES_MIN = 40,
    PMW_ENTRY_LONG_V4_BYTES = 9, /* kind 1, length 2, address 4, port 2 */
    PMW_ENTRY_LONG_V6_BYTES = 21,
    PMW_TRUNK_ENTRIES_MAX = 128,
};
_Static_assert(PMW_TRUNK_HEADER_BYTES + PMW_ENTRY_LONG_V6_BYTES + PMW_FRAME_BYTES_MAX + PMW_TRUNK_TAG_BYTES <= 1452,
               "the largest C-frame fits an IPv6 trunk datagram of MTU 1500");
_Static_assert(PMW_RESUME_FIXED_BYTES + PMW_RESUME_CONNS_MAX * PMW_RESUME_CONN_BYTES <= PMW_FRAME_BYTES_MAX,
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
 */
struct pmw_frame {
    uint8_t type, flags, epoch8, tx;
    uint64_t cid;
    uint32_t seq, ack;
    uint16_t window;
    uint16_t payload_len;
    uint8_t nb_sacks;
    struct pmw_sack sacks[PMW_SACK_MAX];
    const uint8_t *payload; /* points into the datagram given to the decoder */
};

/* What the CRC32C of DATA and ACK is seeded with, beside the bytes of the frame itself (W7): a frame
 * that decodes to another connection, offset or epoch than its sender meant fails the check.
 * check = CRC32C(secret 8 || cid 8 || seq 8 || ack 8 || epoch 4 || frame without its check). */
struct pmw_check_seed {
    uint64_t secret;        /* of this session and direction */
    uint64_t cid, seq, ack; /* full 64-bit values */
    uint32_t epoch;
};

/* Control frames share:  0 ver|type   1 flags (0)   2 epoch low 8   3 zero   4 id 8   12 epoch 4
 * and end in MAC 16 = SipHash-2-4-128(key of session and direction, all bytes before it), except PONG. */
struct pmw_open { /* 16 nonce 8, 24 server_id 2, 26 shard 1, 27 zero, 28 client_port 2, 30 zero 2,
                     32 rwnd 4, 36 features 4, 40 token 64, 104 MAC */
    uint64_t session_id, open_nonce;
    uint32_t epoch, rwnd, features;
    uint16_t server_id, client_port;
    uint8_t shard;
    uint8_t token[PMW_TOKEN_BYTES];
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
struct pmw_resume { /* 16 nonce 8, 24 server_id 2, 26 helper_id 2, 28 count 1, 29 shard 1, 30 zero 2, 32 list, MAC */
    uint64_t session_id, nonce;
    uint32_t epoch;
    uint16_t server_id, helper_id; /* helper_id 0 = direct path */
    uint8_t shard, nb_conns;
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
struct pmw_probe { /* PROBE and ECHO: 16 nonce 8, 24 server_id 2, 26 helper_id 2, 28 shard 1, 29 zero 3, 32 MAC.
                      PONG: 16 nonce 8, 24 helper_id 2, 26 state 2 (1 = draining), 28 incarnation 4, 32 zero 16 */
    uint64_t session_id, nonce;
    uint32_t epoch;
    uint16_t server_id, helper_id;
    uint8_t shard; /* a helper routes PROBE by (server_id, shard), as it does OPEN and RESUME */
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

/* --- trunk batches ------------------------------------------------------------------------ */
/*  0 ver|type   1 flags (0)   2 entry count 2   4 helper_id 2   6 worker 1   7 shard 1
 *  8 sender incarnation 4   12 batch_seq 4   16 zero 8 (ack_batch, ack_bits)   24 zero 4 (credit, demand)
 * 28 hold_us 2 (mean hold of this batch; helper -> server)   30 zero 2   32 entries ... [PAD]   tag 8
 * Long entry: kind (0x40 | family) 1, frame length 2, client address 4|16, client port 2, C-frame.
 * PAD: kind 0x00, zeros up to the tag. */
struct pmw_trunk {
    uint16_t nb_entries;
    uint16_t helper_id;
    uint8_t worker, shard;
    uint32_t incarnation; /* of the sender */
    uint32_t batch_seq;   /* low 32 bits */
    uint16_t hold_us;
};
enum pmw_entry_kind { PMW_ENTRY_PAD = 0x00, PMW_ENTRY_LONG_V4 = 0x44, PMW_ENTRY_LONG_V6 = 0x46 };
struct pmw_entry {
    struct pmw_addr client; /* where the frame came from, or goes to */
    const uint8_t *frame;
    uint16_t frame_len;
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
int pmw_probe_encode(uint8_t *buf, size_t cap, uint8_t type, const struct pmw_probe *f); /* PROBE, ECHO, PONG */
int pmw_probe_decode(const uint8_t *buf, size_t len, struct pmw_probe *out);
int pmw_reset_encode(uint8_t *buf, size_t cap, const struct pmw_reset *f);
int pmw_reset_decode(const uint8_t *buf, size_t len, struct pmw_reset *out);

int pmw_token_decode(const uint8_t buf[PMW_TOKEN_BYTES], struct pmw_token *out);
void pmw_token_encode(uint8_t buf[PMW_TOKEN_BYTES], const struct pmw_token *t); /* mac copied as given */

int pmw_trunk_encode(uint8_t *buf, size_t cap, const struct pmw_trunk *h);   /* header only: 32 */
int pmw_trunk_decode(const uint8_t *buf, size_t len, struct pmw_trunk *out); /* header; len includes the tag */
int pmw_entry_encode(uint8_t *buf, size_t cap, const struct pmw_entry *e);
/* Walk: *at starts at PMW_TRUNK_HEADER_BYTES; end = len - PMW_TRUNK_TAG_BYTES. Returns 1 with an entry, 0 at
 * the end or at PAD (whose bytes must be zero), or an error. The caller compares the number of entries with the
 * header's. */
int pmw_entry_next(const uint8_t *buf, size_t end, size_t *at, struct pmw_entry *out);

/* --- CRC32C (Castagnoli, RFC 3720 appendix B.4), hardware when the CPU has it. Start with crc 0; giving the result of
 * one call to the next continues it: crc(crc(0, a), b) = crc(0, a || b). --------------------------------------------
 */
uint32_t pmw_crc32c(uint32_t crc, const void *data, size_t len);

/* --- keyed functions (libsodium): seal.c ------------------------------------------------------ */
#define PMW_KEY_BYTES 32
struct pmw_session_keys {
    uint8_t mac_c2s[16], mac_s2c[16]; /* SipHash-2-4-128 keys of control frames */
    uint64_t check_c2s, check_s2c;    /* secrets of the CRC seed */
    uint8_t reset_key[16];
};
/* token key = BLAKE2b-256(K_srv, "postman token" || token 64): what the registry hands to the client beside the token.
 */
void pmw_token_key(uint8_t out[PMW_KEY_BYTES], const uint8_t k_srv[PMW_KEY_BYTES],
                   const uint8_t token[PMW_TOKEN_BYTES]);
void pmw_token_mac(uint8_t out[16], const uint8_t k_srv[PMW_KEY_BYTES], const uint8_t token[PMW_TOKEN_BYTES]);
/* 64 bytes = BLAKE2b-512(token key, "postman session" || session_id 8), split in the order of the struct:
 * mac_c2s 16, mac_s2c 16, check_c2s 8, check_s2c 8 (big-endian), reset_key 16. */
void pmw_session_keys_derive(struct pmw_session_keys *out, const uint8_t token_key[PMW_KEY_BYTES], uint64_t session_id);
/* reset_token of OPEN_ACK = SipHash-2-4-128(reset_key, CID 8). */
void pmw_reset_token(uint8_t out[16], const uint8_t reset_key[16], uint64_t cid);
void pmw_control_seal(uint8_t *buf, size_t len, const uint8_t key[16]);        /* MAC into the last 16 bytes */
bool pmw_control_check(const uint8_t *buf, size_t len, const uint8_t key[16]); /* constant time */
/* trunk key pair = BLAKE2b-256(trunk_secret of the server, "postman trunk" || helper_id 2 || incarnation 4 of the
 * helper): first 16 bytes helper -> server, last 16 server -> helper. */
struct pmw_trunk_keys {
    uint8_t to_server[16], to_helper[16];
};
void pmw_trunk_keys_derive(struct pmw_trunk_keys *out, const uint8_t trunk_secret[PMW_KEY_BYTES], uint16_t helper_id,
                           uint32_t incarnation);
/* tag = SipHash-2-4-64(key, datagram without tag || high 32 bits of batch_seq) */
void pmw_trunk_seal(uint8_t *buf, size_t len, const uint8_t key[16], uint32_t batch_seq_high);
bool pmw_trunk_check(const uint8_t *buf, size_t len, const uint8_t key[16], uint32_t batch_seq_high);

/* --- connection ids: a 64-bit permutation (4-round Feistel, SipHash-2-4 round function, Luby-Rackoff 1988) of the
 * route, so that any helper holding cid_key routes a flow it has never seen (QUIC-LB's idea), and nobody else can
 * guess a live id. Plain: server_id 16, shard 8, slot 24, generation 16, from the top bit. Round r = 0 ... 3 turns
 * (left, right) into (right, left ^ F), F = first 4 bytes of SipHash-2-4(key, r 1 || right 4).
 * ------------------------------------------- */
struct pmw_cid {
    uint16_t server_id;
    uint8_t shard;
    uint32_t slot; /* 24 bits */
    uint16_t generation;
};
uint64_t pmw_cid_seal(const struct pmw_cid *c, const uint8_t cid_key[16]);
void pmw_cid_open(uint64_t cid, const uint8_t cid_key[16], struct pmw_cid *out);

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

#ifdef __cplusplus
}
#endif
#endif
