/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of paths share: one session, its state, its streams, and what kind of frame a datagram carries.
 */
#ifndef VCL_CORE_PATHS_KIT_H
#define VCL_CORE_PATHS_KIT_H

#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000, RECOVERY_US_MAX = 50 * MS };

static inline struct vcl_session_info info_of(const struct vcl_session *s)
{
    struct vcl_session_info i;
    vcl_session_info(s, &i);
    return i;
}

static inline struct vcl_stats stats_of(const struct vcl_engine *e)
{
    struct vcl_stats st;
    vcl_engine_stats(e, &st);
    return st;
}

static inline void start(struct testnet *n, int nb_relays, struct vcl_conn **c, struct vcl_conn **s)
{
    testnet_init(n, nb_relays);
    testnet_start(n);
    testnet_open(n, c, s);
}

/* Runs until `to` has read len bytes from offset; returns when. */
static inline uint64_t read_until(struct testnet *n, struct vcl_conn *to, uint64_t offset, uint64_t len, uint8_t salt)
{
    uint64_t got = 0, until = n->now + 100 * (uint64_t)SECOND;
    while (got < len) {
        assert_true(n->now < until);
        testnet_run(n, n->now + 100);
        got += testnet_read(n, to, offset + got, salt);
    }
    assert_int_equal(got, len);
    return n->now;
}

/* Both directions, offset by offset; the first exchange proves the first path (S18). */
static inline void exchange(struct testnet *n, struct vcl_conn *c, struct vcl_conn *s, uint64_t offset, uint64_t len)
{
    testnet_write(n, c, offset, len, 1);
    testnet_write(n, s, offset, len, 2);
    read_until(n, s, offset, len, 1);
    read_until(n, c, offset, len, 2);
}

static inline int type_of(const struct flight *f)
{
    int type = pmw_type_of(f->bytes, f->len);
    struct pmw_any_entry entry;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    if (type != PMW_TRUNK || pmw_entry_next(f->bytes, f->len - PMW_TRUNK_TAG_BYTES, &at, &entry) <= 0 ||
        (entry.kind != PMW_ENTRY_LONG_V4 && entry.kind != PMW_ENTRY_LONG_V6))
        return type;
    return pmw_type_of(entry.as_long.frame, entry.as_long.frame_len);
}

#endif
