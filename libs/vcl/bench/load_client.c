/* SPDX-License-Identifier: Apache-2.0
 *
 * The client: one driver, one session, many connections in one thread. Orders:
 *     peer server_id= shard= token= token_key= path=HELPER,ADDRESS,PORT,RANK path=...
 *     token token= token_key=;  paths path=...;  hint helper= state=down|drain|up;  stats
 *     connect count=            opens so many, and says so when all are open
 *     phase name= kind=closed|open|churn depth= think_us= rate= requests= seconds=    (load_client.h)
 *     stream bytes_per_s= seconds=   one connection that sends so many bytes (0: what goes); no other order is needed
 *     finish                    sends no more, waits for what is outstanding, writes the history, ends */
#include "load_client.h"
#include "load.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BURST = 256, TICK_US = 2000, PROGRESS_US = 200000, DRAIN_US = 60000000, CONNECTIONS_MAX = 262144 };

struct load load = {.random = 88172645463325252u};
static _Atomic(struct vcl_session *) session; /* load.session, for the thread that reads orders */
static uint32_t nb_opening;

/* --- orders that are carried out at once -------------------------------------------------------------- */
static bool attach(const struct order *o)
{
    struct vcl_peer peer = {.server_id = (uint16_t)order_number(o, "server_id", 0),
                            .shard = (uint8_t)order_number(o, "shard", 0)};
    struct vcl_session *made;
    peer.nb_paths = order_paths(o, peer.paths);
    int rc = order_bytes(o, "token", peer.token, PMW_TOKEN_BYTES) &&
                     order_bytes(o, "token_key", peer.token_key, PMW_KEY_BYTES) && peer.nb_paths > 0
                 ? vcl_session_attach(load.driver, &peer, &made)
                 : -EINVAL;
    if (rc == 0)
        session = made;
    say("{\"attached\":%s,\"error\":\"%s\"}", rc == 0 ? "true" : "false", rc == 0 ? "" : strerror(-rc));
    return true;
}

static void renew(const struct order *o)
{
    uint8_t token[PMW_TOKEN_BYTES], key[PMW_KEY_BYTES];
    if (order_bytes(o, "token", token, sizeof(token)) && order_bytes(o, "token_key", key, sizeof(key)))
        (void)vcl_session_renew(load.driver, session, token, key);
}

static void repath(const struct order *o)
{
    struct vcl_path paths[VCL_PATHS_MAX];
    uint8_t n = order_paths(o, paths);
    if (n > 0)
        (void)vcl_session_repath(load.driver, session, paths, n);
}

static void advise(const struct order *o)
{
    const char *word = order_text(o, "state");
    enum vcl_hint hint = word == NULL                 ? 0
                         : strcmp(word, "down") == 0  ? VCL_HINT_DOWN
                         : strcmp(word, "drain") == 0 ? VCL_HINT_DRAIN
                         : strcmp(word, "up") == 0    ? VCL_HINT_UP
                                                      : 0;
    if (hint != 0)
        (void)vcl_session_advise(load.driver, session, (uint16_t)order_number(o, "helper", 0), hint);
}

static bool at_once(const struct order *o)
{
    if (strcmp(o->word, "stats") == 0) {
        say_counters(load.driver);
        return true;
    }
    if (session == NULL)
        return strcmp(o->word, "peer") == 0 && attach(o);
    if (strcmp(o->word, "token") == 0)
        renew(o);
    else if (strcmp(o->word, "paths") == 0)
        repath(o);
    else if (strcmp(o->word, "hint") == 0)
        advise(o);
    else if (strcmp(o->word, "stream") == 0)
        stream_begin(o, session);
    else
        return false;
    return true;
}

static void *tell_notices(void *arg)
{
    static const char *const names[] = {[VCL_EV_TOKEN_WANTED] = "token_wanted",
                                        [VCL_EV_PATH_SUSPECT] = "path_suspect",
                                        [VCL_EV_PATH_MOVED] = "path_moved",
                                        [VCL_EV_PATHS_WANTED] = "paths_wanted"};
    struct vcl_notice list[16];
    uint64_t seen = 0;
    while (vcl_notices_wait(load.driver, seen, VCL_NEVER) == 0) {
        int n = vcl_notices_read(load.driver, seen, list, 16);
        for (int i = 0; i < n; i++) {
            seen = list[i].seq;
            say("{\"notice\":{\"seq\":%llu,\"type\":\"%s\",\"session_id\":%llu,\"server_id\":%u,\"from_helper_id\":%u,"
                "\"to_helper_id\":%u,\"epoch\":%u,\"connections\":%u,\"at_us\":%llu,\"silent_since_us\":%llu}}",
                (unsigned long long)list[i].seq, names[list[i].type], (unsigned long long)list[i].session_id,
                list[i].server_id, list[i].from_helper_id, list[i].helper_id, list[i].epoch, list[i].nb_conns,
                (unsigned long long)list[i].at_us, (unsigned long long)list[i].silent_since_us);
        }
    }
    return NULL;
}

/* --- connections --------------------------------------------------------------------------------------- */
int open_connection(struct connection *c)
{
    c->number = load.next_number++;
    c->opened = false;
    c->sent = c->received = 0;
    c->in_bytes = 0;
    int rc = vcl_sock_connect(load.driver, load.session, &c->sock);
    if (rc < 0) {
        c->sock = NULL;
        return rc;
    }
    vcl_sock_set_user(c->sock, c);
    return 0;
}

void fail_connection(struct connection *c, int error)
{
    load.errors++;
    load.nb_failed++;
    if (load.errors <= 100)
        say("{\"error\":\"connection %u: %s\"}", c->number, strerror(error));
    vcl_sock_free(c->sock);
    c->sock = NULL;
}

void finish_connection(struct connection *c)
{
    if (c->replies.nb > 0 || c->replies.corrupted > 0 || c->received != c->sent)
        load.errors++;
    runs_clear(&c->replies);
    c->sent = c->received = 0; /* it is in no history: the server counts it */
    vcl_sock_free(c->sock);
    c->sock = NULL;
}

bool send_request(struct connection *c, uint64_t due_us)
{
    uint8_t out[MESSAGE_BYTES];
    struct iovec iov = {out, sizeof(out)};
    message_make(out, MESSAGE_REQUEST, c->number, c->sent);
    int64_t n = vcl_sock_send(c->sock, &iov, 1, 0, 0);
    if (n != (int64_t)sizeof(out)) { /* a send buffer holds thousands of them, and DEPTH_MAX may be outstanding */
        fail_connection(c, n < 0 ? (int)-n : EMSGSIZE);
        return false;
    }
    c->due_us[c->sent++ % DEPTH_MAX] = due_us;
    load.sent++;
    load.phase.sent++;
    return true;
}

static void take_reply(struct connection *c, const uint8_t *message, uint64_t now)
{
    uint32_t connection;
    uint64_t number;
    if (!message_read(message, MESSAGE_REPLY, &connection, &number) || connection != c->number) {
        c->replies.corrupted++;
        return;
    }
    runs_add(&c->replies, number);
    if (number < c->sent)
        reply_log(load.replies_log, c->number, c->due_us[number % DEPTH_MAX], now);
    c->received++;
    load.received++;
    load.phase.replies++;
    phase_on_reply(c, now);
}

static void read_replies(struct connection *c, uint64_t now)
{
    for (size_t wanted = 0, got = 0; c->sock != NULL && got == wanted;) {
        wanted = sizeof(c->in) - c->in_bytes;
        int64_t n = vcl_sock_recv(c->sock, c->in + c->in_bytes, wanted, 0, 0);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            fail_connection(c, n == 0 ? ECONNRESET : (int)-n);
            return;
        }
        got = (size_t)n; /* less than wanted: there is no more */
        c->in_bytes += got;
        size_t whole = c->in_bytes / MESSAGE_BYTES * MESSAGE_BYTES;
        for (size_t at = 0; at < whole && c->sock != NULL; at += MESSAGE_BYTES)
            take_reply(c, c->in + at, now);
        if (c->sock == NULL)
            return;
        c->in_bytes -= c->in_bytes >= whole ? whole : 0;
        memmove(c->in, c->in + whole, c->in_bytes);
    }
}

static void on_news(struct connection *c, uint64_t now)
{
    if (c == NULL || c->sock == NULL)
        return;
    if (!c->opened) {
        int rc = vcl_sock_connected(c->sock, 0);
        if (rc == -EAGAIN)
            return;
        nb_opening -= nb_opening > 0;
        if (rc < 0) {
            fail_connection(c, -rc);
            return;
        }
        c->opened = true;
        phase_on_opened(c);
    }
    read_replies(c, now);
}

static void connect_all(uint32_t count)
{
    load.session = session;
    load.connections = calloc(count, sizeof(*load.connections));
    if (load.connections == NULL || load.session == NULL)
        abort();
    load.nb = count;
}

/* A few at a time, so that the server's backlog has room for them. */
static void connect_more(uint32_t *at, uint32_t at_a_time)
{
    for (; *at < load.nb && nb_opening < at_a_time; (*at)++, nb_opening++)
        if (open_connection(&load.connections[*at]) < 0)
            abort();
}

static void say_progress(void)
{
    struct vcl_session_info i = {.id = 0};
    static const char *const states[] = {"down", "active", "resuming", "stalled", "dead"};
    if (load.session != NULL)
        (void)vcl_session_query(load.driver, load.session, &i);
    say("{\"replies\":%llu,\"sent\":%llu,\"helper_id\":%u,\"epoch\":%u,\"moves\":%u,\"state\":\"%s\",\"srtt_us\":%llu,"
        "\"failed\":%u,\"opened\":%llu}",
        (unsigned long long)load.received, (unsigned long long)load.sent, i.active_helper_id, i.epoch, i.moves,
        i.state < 5 ? states[i.state] : "?", (unsigned long long)i.srtt_us, load.nb_failed,
        (unsigned long long)load.phase.opened);
}

static bool outstanding(void)
{
    for (uint32_t i = 0; i < load.nb; i++)
        if (load.connections[i].sock != NULL && load.connections[i].received < load.connections[i].sent)
            return true;
    return false;
}

static int write_history(const char *path)
{
    FILE *out = fopen(path, "wb");
    bool ok = out != NULL;
    for (uint32_t i = 0; ok && i < load.nb; i++) {
        const struct connection *c = &load.connections[i];
        struct runs sent = {.last = {0, c->sent}};
        ok = runs_write(&sent, out, c->number, HISTORY_REQUEST_SENT) &&
             runs_write(&c->replies, out, c->number, HISTORY_REPLY_RECEIVED);
    }
    if (out == NULL || fclose(out) != 0 || !ok || (load.replies_log != NULL && fclose(load.replies_log) != 0)) {
        say("{\"error\":\"cannot write %s: %s\"}", path, strerror(errno));
        return 1;
    }
    return 0;
}

static void run(void)
{
    struct vcl_sock *told[BURST];
    struct order o;
    uint64_t finish_us = VCL_NEVER, progress_us = 0;
    uint32_t connecting_at = 0, at_a_time = 0;
    for (;;) {
        uint64_t now = vcl_clock_us(), due = phase_step(now);
        connect_more(&connecting_at, at_a_time);
        if (now >= progress_us) {
            say_progress();
            progress_us = now + PROGRESS_US;
        }
        if (at_a_time > 0 && connecting_at == load.nb && nb_opening == 0) {
            at_a_time = 0;
            say("{\"connected\":%u,\"failed\":%u}", load.nb, load.nb_failed);
        }
        while (control_next(&o)) {
            if (strcmp(o.word, "connect") == 0 && load.connections == NULL) {
                connect_all((uint32_t)order_number(&o, "count", 1));
                at_a_time = (uint32_t)order_number(&o, "at_a_time", 64);
            } else if (strcmp(o.word, "phase") == 0) {
                phase_begin(&o);
            } else if (strcmp(o.word, "finish") == 0 && finish_us == VCL_NEVER) {
                load.phase.over = true;
                finish_us = vcl_clock_us() + DRAIN_US;
            }
        }
        if (finish_us != VCL_NEVER && (now >= finish_us || !outstanding()))
            return;
        uint64_t tick = now + TICK_US;
        int n = vcl_driver_ready(load.driver, told, BURST, due < tick ? due : tick);
        now = vcl_clock_us();
        for (int i = 0; i < n; i++)
            on_news(vcl_sock_user(told[i]), now);
    }
}

int load_client(const char *history_path, const char *replies_path)
{
    struct vcl_driver_config c;
    pthread_t thread;
    vcl_driver_config_defaults(&c);
    c.engine.conns_max = CONNECTIONS_MAX;
    c.udp_fd = vcl_udp_open(&(struct pmw_addr){.port = 0});
    int rc = c.udp_fd < 0 ? c.udp_fd : vcl_driver_open(&load.driver, &c);
    if (rc == 0 && replies_path != NULL && (load.replies_log = fopen(replies_path, "wb")) == NULL)
        rc = -errno;
    if (rc < 0) {
        say("{\"error\":\"%s\"}", strerror(-rc));
        return 1;
    }
    if (pthread_create(&thread, NULL, tell_notices, NULL) != 0)
        abort();
    control_start(at_once);
    run();
    say_counters(load.driver);
    int status = write_history(history_path);
    for (uint32_t i = 0; i < load.nb; i++)
        if (load.connections[i].sock != NULL)
            vcl_sock_free(load.connections[i].sock);
    vcl_driver_close(load.driver, VCL_LINGER_US);
    (void)vcl_driver_join(load.driver, vcl_clock_us() + 2 * VCL_LINGER_US);
    (void)pthread_join(thread, NULL);
    say("{\"done\":true,\"sent\":%llu,\"replies\":%llu,\"errors\":%llu}", (unsigned long long)load.sent,
        (unsigned long long)load.received, (unsigned long long)load.errors);
    return status;
}
