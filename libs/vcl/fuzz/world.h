/* SPDX-License-Identifier: Apache-2.0
 *
 * The world of the engine fuzzer: two engines, a relay, datagrams under way, one clock.
 */
#ifndef VCL_FUZZ_WORLD_H
#define VCL_FUZZ_WORLD_H

#include "endpoint.h"
#include "forge.h"
#include "fuzz_input.h"
#include "relay.h"
#include "streams.h"

enum {
    FLIGHT_MAX = 128, /* datagrams under way; more are lost */
    HELPER_ID = 3,
    ALIAS_ID = 4, /* another way to the same relay */
    SERVER_ID = 7,
    SERVICE_ID = 6,
};
static const uint64_t START_US = 1000000, UNIX_OFFSET_US = 1700000000ull * 1000000;
static const struct pmw_addr CLIENT_ADDR = {.ip = {198, 18, 0, 1}, .port = 4000, .family = 4};
static const struct pmw_addr SERVER_ADDR = {.ip = {198, 18, 0, 2}, .port = 9000, .family = 4};
static const struct pmw_addr RELAY_ADDR = {.ip = {198, 18, 0, 3}, .port = 4701, .family = 4};
static const struct pmw_addr ALIAS_ADDR = {.ip = {198, 18, 0, 4}, .port = 4701, .family = 4};
static const struct pmw_addr RELAY_TRUNK_ADDR = {.ip = {198, 18, 0, 3}, .port = 4702, .family = 4};
static const uint8_t CID_KEY[16] = "a fuzzer's cid", K_SRV[PMW_KEY_BYTES] = "k_srv",
                     TRUNK_SECRET[PMW_KEY_BYTES] = "trunk";

struct flight {
    struct pmw_addr from, to;
    uint64_t sent_at;
    size_t len;
    uint8_t bytes[];
};
struct world {
    uint64_t now;
    struct endpoint client, server;
    struct vcl_session *session;
    struct vcl_path paths[3]; /* the relay, the direct path, the alias */
    struct relay *relay;
    bool relay_dead, faithful;
    struct streams streams;
    struct forge forge;
    struct flight *flight[FLIGHT_MAX];
    unsigned nb_flight;
};

/* --- network.c --- */
void relay_begin(struct world *w);
void launch(struct world *w, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *buf, size_t len);
void deliver(struct world *w, unsigned index);
void lose(struct world *w, unsigned index);
void repeat(struct world *w, unsigned index); /* arrives now, and again when its turn comes */
/* A changed copy arrives before the datagram itself. */
void forge_copy(struct world *w, struct input *in, unsigned index);
/* A datagram of the script's own arrives. */
void make_up(struct world *w, struct input *in);

#endif
