/* SPDX-License-Identifier: Apache-2.0
 *
 * See forge.h. Offsets are those of wire.h: a changed control frame need not decode.
 */
#include "forge.h"

#include <string.h>

enum { TOKEN_AT = 40, TOKEN_MAC_AT = TOKEN_AT + 48, CID_AT = 4 };

static uint64_t number(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

void forge_observe(struct forge *f, const uint8_t *buf, size_t len)
{
    if (pmw_type_of(buf, len) == PMW_OPEN && len == PMW_OPEN_BYTES)
        f->session_id = number(buf + CID_AT, 8);
}

/* The script's offsets and epochs stay small enough for the truncated numbers to be the full ones; a short frame's are
 * taken as they are too. What does not decode has no place for a check. */
static void seal_data(uint8_t *buf, size_t len, uint64_t secret)
{
    struct pmw_frame f;
    if (pmw_frame_decode(buf, len, &f) != 0 || (f.flags & PMW_F_SEALED) != 0)
        return;
    const struct pmw_check_seed seed = {.secret = secret, .cid = f.cid, .seq = f.seq, .ack = f.ack, .epoch = f.epoch8};
    pmw_frame_seal(buf, len, &seed);
}

static void seal_control(const struct forge *f, uint8_t *buf, size_t len, int type, bool to_server)
{
    struct pmw_session_keys keys;
    uint8_t token_key[PMW_KEY_BYTES];
    if (len < PMW_CONTROL_HEADER_BYTES + PMW_MAC_BYTES || type == PMW_PONG)
        return;
    memcpy(token_key, f->token_key, sizeof(token_key));
    if (type == PMW_OPEN && len == PMW_OPEN_BYTES) {
        pmw_token_mac(buf + TOKEN_MAC_AT, f->k_srv, buf + TOKEN_AT);
        pmw_token_key(token_key, f->k_srv, buf + TOKEN_AT);
    }
    pmw_session_keys_derive(&keys, token_key, type == PMW_RESET ? f->session_id : number(buf + CID_AT, 8));
    buf[2] = buf[15]; /* epoch8 repeats the epoch */
    pmw_control_seal(buf, len, to_server ? keys.mac_c2s : keys.mac_s2c);
}

/* The entries first, each with its own seal, then the batch. */
static void seal_batch(const struct forge *f, uint8_t *buf, size_t len, bool to_server)
{
    struct pmw_trunk_keys keys;
    struct pmw_any_entry e;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    if (len < PMW_TRUNK_BYTES_MIN || len > PMW_TRUNK_BYTES_MAX)
        return;
    while (pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &e) == 1) {
        bool is_long = e.kind == PMW_ENTRY_LONG_V4 || e.kind == PMW_ENTRY_LONG_V6;
        if (is_long && pmw_type_of(e.as_long.frame, e.as_long.frame_len) != PMW_TRUNK)
            forge_seal(f, buf + (e.as_long.frame - buf), e.as_long.frame_len, to_server);
    }
    uint16_t helper_id = to_server ? (uint16_t)number(buf + 4, 2) : f->helper_id;
    uint32_t incarnation = to_server ? (uint32_t)number(buf + 8, 4) : f->helper_incarnation;
    pmw_trunk_keys_derive(&keys, f->trunk_secret, helper_id, incarnation);
    pmw_trunk_seal(buf, len, to_server ? keys.to_server : keys.to_helper, 0);
}

void forge_seal(const struct forge *f, uint8_t *buf, size_t len, bool to_server)
{
    struct pmw_session_keys keys;
    int type = pmw_type_of(buf, len);
    if (type == PMW_DATA || type == PMW_ACK) {
        pmw_session_keys_derive(&keys, f->token_key, f->session_id);
        seal_data(buf, len, to_server ? keys.check_c2s : keys.check_s2c);
    } else if (type == PMW_TRUNK) {
        seal_batch(f, buf, len, to_server);
    } else if (type > 0) {
        seal_control(f, buf, len, type, to_server);
    }
}
