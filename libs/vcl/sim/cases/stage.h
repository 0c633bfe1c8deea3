/* SPDX-License-Identifier: Apache-2.0
 *
 * A stage for scripted tests: real client and server engines and real relays on the simulator's hosts, in virtual time,
 * on a network without any fault but those that the script brings. A case of docs/cases.md reads as its story:
 *
 *     static void case_02_helper_dies_under_requests(void **state)
 *     {
 *         struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
 *         struct stream *k = stage_open(s, 0);            // client 0 opens; the server has accepted it
 *         stage_request(s, k, 300, 5000);                 // 300 bytes go up; the server answers 5,000 when it has them
 *         stage_run(s, 150);                              // 150 us pass
 *         stage_helper_crash(s, 0);
 *         stage_settle(s, 50000);                         // all that was sent is read, within 50 ms, or the test fails
 *         assert_int_equal(stage_path(s, 0), stage_helper_id(1));
 *         stage_free(s);                                  // also checks that nothing leaks
 *     }
 *
 * Hosts are HOST_SERVER, HOST_HELPER + i, HOST_CLIENT + i (hosts.h); HOST_NONE in a rule means any. Rules act on what
 * hosts send, the first that fits:
 *
 *     struct rule_of *r = stage_rule(s, HOST_HELPER, HOST_SERVER, RULE_DROP);   // all that helper 0 sends to the
 * server r->type = PMW_RESUME;      // ... only datagrams that are or hold such a frame (PMW_TRUNK: any batch) r->fits
 * = my_predicate;    // ... and for which this is true r->skip = 1; r->left = 2;  // ... after the first one, and twice
 *     stage_rule_end(r);         // never again
 *
 * What RULE_HOLD keeps leaves at stage_release (in order, or the last one first). RULE_CHANGE calls r->change, which
 * may alter the bytes: stage_reseal makes the tag of an altered batch right again, as a broken helper would. Every byte
 * read is compared with the ledger (I1, I2); a violation fails the running test.
 */
#ifndef SIM_CASES_STAGE_H
#define SIM_CASES_STAGE_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "../engine_host.h"
#include "../helper_host.h"
#include "../ledger.h"
#include "../workload.h"

enum { STAGE_RULES_MAX = 16, STAGE_HELD_MAX = 4096, STAGE_EVENTS = VCL_EV_PATHS_WANTED + 8, TYPE_ANY = -1 };

struct stage;

struct stage_options {
    uint8_t nb_helpers, nb_clients; /* clients: 0 means 1 */
    bool no_direct;                 /* the direct path is no candidate */
    uint8_t ranks[HELPERS_MAX];     /* equal by default: a session stays where it is */
    uint64_t delay_us;              /* one way of each link; 0 means 50 */
    uint32_t streams_max;           /* 0 means 256 */
    uint32_t receive_queue_max;     /* of every host, datagrams; 0: the simulator's 1024 */
    /* Changes the configuration of every engine before it starts; client -1 is the server. */
    void (*configure)(struct vcl_config *config, int client);
    void (*configure_helper)(struct helper_options *options);
};

struct stream {
    struct stage *stage;
    uint32_t number;
    unsigned client;
    struct vcl_conn *conn[SIDES];
    uint64_t to_write[SIDES], written[SIDES], read[SIDES];
    uint64_t reply_at, reply_bytes; /* the server's to_write grows by reply_bytes when it has read reply_at bytes */
    uint64_t last_read_at_us[SIDES];
    bool opened, fin[SIDES], fin_sent[SIDES], eof[SIDES], closed[SIDES];
    bool abandoned; /* the process of one end is gone: nothing is expected of it */
    uint64_t closed_at_us[SIDES];
    bool holds_reading[SIDES]; /* this application does not read now */
    int error[SIDES];          /* of the CLOSED event, or of a read or write */
    uint64_t cid;
};

/* One process with an engine. */
struct actor {
    struct stage *stage;
    int client; /* -1: the server */
    struct engine_host engine;
    struct vcl_session *session;
    struct vcl_peer peer;
    uint32_t events[STAGE_EVENTS]; /* how many of each enum vcl_event_type */
    struct vcl_event last_move;
    uint64_t moved_at_us, died_at_us;
    bool pump_all; /* the script has something for its applications */
};

enum rule_action { RULE_DROP, RULE_TWICE, RULE_DELAY, RULE_HOLD, RULE_CHANGE };
struct rule_of {
    struct stage *stage;
    unsigned from, to;
    enum rule_action action;
    int type; /* enum pmw_type, TYPE_ANY */
    bool (*fits)(struct rule_of *r, const struct datagram *d);
    void (*change)(struct rule_of *r, struct datagram *d);
    void *ctx;
    uint64_t delay_us;   /* RULE_DELAY: this much later than without it */
    uint32_t skip, left; /* UINT32_MAX: no end */
    uint32_t hits;
    bool over;
};

struct stage {
    struct world world;
    struct stage_options options;
    struct helper_host helpers[HELPERS_MAX];
    struct actor server, clients[CLIENTS_MAX];
    struct server_identity_of {
        struct helper_server known;
        uint64_t service_id;
        struct vcl_server_key key;
    } identity;
    struct rng rng;
    struct stream *streams;
    uint32_t nb_streams;
    struct accepted { /* by the server, but its client does not know its id yet */
        struct vcl_conn *conn;
        uint64_t cid;
    } * accepted;
    uint32_t nb_accepted;
    struct rule_of rules[STAGE_RULES_MAX];
    uint32_t nb_rules;
    struct datagram *held[STAGE_HELD_MAX];
    uint32_t nb_held;
    uint64_t sent_from[HOSTS_MAX], bytes_from[HOSTS_MAX]; /* datagrams and bytes that hosts sent */
    bool released; /* what net_send sees now comes from stage_release or stage_inject: no rule looks at it */
};

struct stage *stage_new(const struct stage_options *options);
void stage_free(struct stage *s); /* fails the test when an engine leaks */

/* --- time */
void stage_run(struct stage *s, uint64_t us);
/* Runs until done(s, ctx), and returns how long that took; fails the test when it is not so within limit_us. */
uint64_t stage_until(struct stage *s, bool (*done)(struct stage *s, void *ctx), void *ctx, uint64_t limit_us,
                     const char *what);
/* ... until all that applications wanted to write is read by their peers, ends of streams too. */
uint64_t stage_settle(struct stage *s, uint64_t limit_us);
/* Turns printing of the history on: for the one who writes a test. */
void stage_trace(struct stage *s);

/* --- applications */
struct stream *stage_open(struct stage *s, unsigned client);       /* and runs until both ends have it */
struct stream *stage_open_start(struct stage *s, unsigned client); /* without running */
void stage_write(struct stage *s, struct stream *k, enum side side, uint64_t bytes); /* more, as fast as taken */
void stage_request(struct stage *s, struct stream *k, uint64_t request_bytes, uint64_t reply_bytes);
void stage_shutdown(struct stage *s, struct stream *k, enum side side); /* end of stream after what is to be written */
void stage_read_again(struct stage *s, struct stream *k, enum side side);
void stage_close(struct stage *s, struct stream *k); /* both ends, in order; runs until both say CLOSED with 0 */

/* --- processes */
void stage_helper_crash(struct stage *s, unsigned helper);
void stage_helper_restart(struct stage *s, unsigned helper);
void stage_pause(struct stage *s, unsigned host, uint64_t us);         /* SIGSTOP, SIGCONT after us */
void stage_hint(struct stage *s, unsigned helper, enum vcl_hint hint); /* to every client */
void stage_client_crash(struct stage *s, unsigned client);             /* silently */
void stage_server_crash(struct stage *s);
/* A token of the current server for this client. */
void stage_token(struct stage *s, unsigned client, uint8_t token[PMW_TOKEN_BYTES], uint8_t key[PMW_KEY_BYTES]);
void stage_server_restart(struct stage *s); /* a new process, registered anew: other server id, other secrets */

/* --- the network */
struct rule_of *stage_rule(struct stage *s, unsigned from, unsigned to, enum rule_action action);
void stage_rule_end(struct rule_of *r);
void stage_cut(struct stage *s, unsigned a, unsigned b, uint64_t us); /* both directions, from now */
void stage_release(struct stage *s, bool last_first);
/* Sends bytes as if from that address. */
void stage_inject(struct stage *s, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *bytes,
                  size_t len);
bool stage_holds_frame(const struct datagram *d, int type); /* it is one, or a batch with one */
/* Calls visit for the C-frame, or for each long entry's; visit may alter the bytes. */
void stage_each_frame(struct datagram *d, void (*visit)(void *ctx, uint8_t *frame, size_t len), void *ctx);
void stage_reseal(struct stage *s, struct datagram *d); /* the tag of a batch between helper and server */

/* --- what is there to assert on */
uint16_t stage_helper_id(unsigned helper);
uint16_t stage_path(struct stage *s, unsigned client); /* helper id of its session's path; 0 is the direct one */
uint32_t stage_epoch(struct stage *s, unsigned client);
struct vcl_stats stage_stats(struct stage *s, int client); /* -1: the server's */
struct relay_stats stage_relay_stats(struct stage *s, unsigned helper);

#endif
