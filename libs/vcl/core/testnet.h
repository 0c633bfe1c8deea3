/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the engine: a client and a server engine in one process and one virtual time, joined by links of a fixed
 * delay. A test sees every datagram before it is delivered and may drop, repeat, delay or alter it.
 */
#ifndef VCL_CORE_TESTNET_H
#define VCL_CORE_TESTNET_H

#include "vcl/engine.h"

enum { TESTNET_DELAY_US = 100, TESTNET_SERVER_ID = 7, TESTNET_FLIGHT_MAX = 8192 };

struct flight { /* a datagram on its way */
    uint64_t at, number;
    struct pmw_addr from, to;
    size_t len;
    uint8_t bytes[PMW_FRAME_BYTES_MAX];
};

struct testnet;
enum verdict { DELIVER, DROP, TWICE };
/* Called as a datagram is sent; may change it, its `at` too. number counts all datagrams from 0. */
typedef enum verdict (*testnet_filter)(struct testnet *n, struct flight *f);

struct testnet_relay { /* a helper: forwards addresses, batches one frame per trunk datagram */
    struct pmw_addr addr;
    uint16_t helper_id;
    uint32_t incarnation;
    uint64_t seq_out;
    bool dead, dead_to_server, dead_to_client;
};

struct testnet {
    uint64_t now, number, random_state, lag_us;
    struct vcl_engine *client, *server;
    struct vcl_session *session;
    struct pmw_addr client_addr, server_addr;
    struct testnet_relay relays[2];
    struct vcl_config server_config, client_config;
    struct vcl_peer peer;
    uint64_t client_asleep_until, server_asleep_until; /* hosts that do not run: no timers, nothing sent; the test holds
                                                          back what would arrive */
    testnet_filter filter;
    void *filter_ctx;
    uint64_t allocated;
    uint64_t alloc_fails_at; /* that many allocations from now, one fails; 0: none */
    struct flight *flights;
    uint32_t nb_flights, flights_cap;
    struct vcl_event client_events[256], server_events[256]; /* all so far */
    uint32_t nb_client_events, nb_server_events;
};

/* Configurations and peer are filled; change them, then start. nb_relays candidate helpers before the direct path. */
void testnet_init(struct testnet *n, int nb_relays);
void testnet_start(struct testnet *n);
void testnet_stop(struct testnet *n); /* also checks that everything was freed */
/* Sends what both engines have to send; then delivers and fires timers in order of time until `until`. */
void testnet_run(struct testnet *n, uint64_t until);
void testnet_flush(struct testnet *n); /* sends only */
/* Runs until `done` says so, or fails the test at `until`. */
void testnet_run_until(struct testnet *n, bool (*done)(struct testnet *n), uint64_t until);
/* Opens and accepts one connection. */
void testnet_open(struct testnet *n, struct vcl_conn **client, struct vcl_conn **server);
int testnet_count(const struct vcl_event *events, uint32_t nb, enum vcl_event_type type);
void testnet_token(struct testnet *n, uint32_t not_before, uint16_t lifetime_s, uint8_t token[PMW_TOKEN_BYTES],
                   uint8_t token_key[PMW_KEY_BYTES]);

/* A stream whose every byte tells its offset, so that loss, repetition and disorder all show. */
uint8_t testnet_byte(uint64_t offset, uint8_t salt);
/* Writes up to len bytes from offset on; returns how many were taken. */
uint64_t testnet_write(struct testnet *n, struct vcl_conn *c, uint64_t offset, uint64_t len, uint8_t salt);
/* Reads all there is and checks it; returns how many. */
uint64_t testnet_read(struct testnet *n, struct vcl_conn *c, uint64_t offset, uint8_t salt);

#endif
