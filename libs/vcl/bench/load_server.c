/* SPDX-License-Identifier: Apache-2.0
 *
 * The server: answers each request with its reply, after work_us of computing. Orders:
 *     grant server_id= shard= service_id= incarnation= cid_key= trunk_secret= address= port= nb_keys= id0= key0= ...
 *     keys nb_keys= id0= key0= ...
 *     work us=          computing time of each request from now on
 *     stats             counters
 *     fold              a connection that ended without a fault is only counted from now on
 *     streams           bytes of streams so far, and how many ended before a wrong byte
 *     finish            writes the history and ends */
#include "control.h"
#include "history.h"
#include "load.h"
#include "message.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BURST = 64,
    READ_MESSAGES = 16,
    CONNECTIONS_MAX = 262144,
    TICK_US = 20000,
    GROW = 1024,
    STREAM_READ_BYTES = 65536
};

struct client_end {
    struct vcl_sock *sock; /* NULL: it has ended */
    size_t at;             /* its place in the list */
    bool known, stream;
    uint64_t stream_bytes;
    uint32_t number; /* as its first request says */
    struct runs received, replied;
    uint8_t in[READ_MESSAGES * MESSAGE_BYTES];
    size_t in_bytes;
};

static struct {
    _Atomic(struct vcl_driver *) driver;
    _Atomic uint64_t work_us;
    struct client_end **ends;
    size_t nb_ends, room;
    _Atomic uint64_t stream_bytes, stream_faults;
    uint64_t requests, errors, folded_connections, folded_requests;
    struct client_end *unfinished[BURST]; /* streams with more to read */
    unsigned nb_unfinished;
    bool fold;
} server;

static uint8_t keys_of(const struct order *o, struct vcl_server_key keys[VCL_KEYS_MAX])
{
    uint64_t n = order_number(o, "nb_keys", 0);
    if (n > VCL_KEYS_MAX)
        n = VCL_KEYS_MAX;
    for (uint64_t i = 0; i < n; i++) {
        char id[16], key[16];
        snprintf(id, sizeof(id), "id%u", (unsigned)i);
        snprintf(key, sizeof(key), "key%u", (unsigned)i);
        keys[i].key_id = (uint16_t)order_number(o, id, 0);
        if (!order_bytes(o, key, keys[i].key, PMW_KEY_BYTES))
            return 0;
    }
    return (uint8_t)n;
}

static int open_driver(const struct order *o)
{
    struct vcl_driver_config c;
    struct vcl_driver *d;
    struct pmw_addr addr;
    vcl_driver_config_defaults(&c);
    c.engine.server_id = (uint16_t)order_number(o, "server_id", 0);
    c.engine.shard = (uint8_t)order_number(o, "shard", 0);
    c.engine.service_id = order_number(o, "service_id", 0);
    c.engine.incarnation = (uint32_t)order_number(o, "incarnation", 0);
    c.engine.nb_keys = keys_of(o, c.engine.keys);
    c.engine.conns_max = c.engine.backlog_max = CONNECTIONS_MAX;
    if (c.engine.nb_keys == 0 || !order_bytes(o, "cid_key", c.engine.cid_key, sizeof(c.engine.cid_key)) ||
        !order_bytes(o, "trunk_secret", c.engine.trunk_secret, sizeof(c.engine.trunk_secret)) ||
        order_text(o, "address") == NULL ||
        !parse_addr(order_text(o, "address"), (uint16_t)order_number(o, "port", 0), &addr))
        return -EINVAL;
    c.udp_fd = vcl_udp_open(&addr);
    if (c.udp_fd < 0)
        return c.udp_fd;
    int rc = vcl_driver_open(&d, &c);
    if (rc == 0)
        server.driver = d;
    return rc;
}

static bool at_once(const struct order *o)
{
    if (strcmp(o->word, "grant") == 0) {
        int rc = server.driver == NULL ? open_driver(o) : -EALREADY;
        say("{\"serving\":%s,\"error\":\"%s\"}", rc == 0 ? "true" : "false", rc == 0 ? "" : strerror(-rc));
    } else if (strcmp(o->word, "keys") == 0 && server.driver != NULL) {
        struct vcl_server_key keys[VCL_KEYS_MAX];
        uint8_t n = keys_of(o, keys);
        if (n > 0)
            (void)vcl_driver_set_keys(server.driver, keys, n);
    } else if (strcmp(o->word, "work") == 0) {
        server.work_us = order_number(o, "us", 0);
    } else if (strcmp(o->word, "streams") == 0) {
        say("{\"stream_bytes\":%llu,\"stream_faults\":%llu,\"at_us\":%llu}", (unsigned long long)server.stream_bytes,
            (unsigned long long)server.stream_faults, (unsigned long long)vcl_clock_us());
    } else if (strcmp(o->word, "stats") == 0 && server.driver != NULL) {
        say_counters(server.driver);
    } else {
        return false;
    }
    return true;
}

/* The application's own computing: a fixed time by the clock, whatever the machine. */
static void work(void)
{
    uint64_t us = server.work_us;
    if (us == 0)
        return;
    for (uint64_t end = vcl_clock_us() + us; vcl_clock_us() < end;)
        ;
}

static void end_connection(struct client_end *c, int error)
{
    if (error != 0) {
        server.errors++;
        say("{\"error\":\"connection %u: %s\"}", c->number, strerror(error));
    }
    vcl_sock_free(c->sock);
    c->sock = NULL;
    const struct runs *r = &c->received;
    if (server.fold && !c->stream && error == 0 && r->nb == 0 && r->last.first == 0 && r->corrupted == 0 &&
        c->in_bytes == 0) {
        server.folded_connections++;
        server.folded_requests += r->last.count;
        runs_clear(&c->received);
        runs_clear(&c->replied);
        server.ends[c->at] = server.ends[--server.nb_ends];
        server.ends[c->at]->at = c->at;
        free(c);
    }
}

static bool reply_to(struct client_end *c, size_t messages)
{
    uint8_t out[READ_MESSAGES * MESSAGE_BYTES];
    size_t bytes = 0;
    for (size_t i = 0; i < messages; i++) {
        uint32_t connection;
        uint64_t number;
        bool good = message_read(c->in + i * MESSAGE_BYTES, MESSAGE_REQUEST, &connection, &number);
        if (good && !c->known) {
            c->known = true;
            c->number = connection;
        }
        if (!good || connection != c->number) {
            c->received.corrupted++;
            continue;
        }
        runs_add(&c->received, number);
        server.requests++;
        work();
        message_make(out + bytes, MESSAGE_REPLY, connection, number);
        runs_add(&c->replied, number);
        bytes += MESSAGE_BYTES;
    }
    struct iovec iov = {out, bytes};
    return bytes == 0 || vcl_sock_send(c->sock, &iov, 1, VCL_SOCK_WAIT_ALL, VCL_NEVER) == (int64_t)bytes;
}

/* One read at a time, so that a stream does not keep the others waiting. */
static void sink(struct client_end *c)
{
    static uint8_t buf[STREAM_READ_BYTES];
    int64_t n = vcl_sock_recv(c->sock, buf, sizeof(buf), 0, 0);
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        end_connection(c, (int)-n);
        return;
    }
    if (stream_check(buf, (size_t)n, c->stream_bytes) != (size_t)n)
        server.stream_faults++;
    c->stream_bytes += (uint64_t)n;
    server.stream_bytes += (uint64_t)n;
    if (n == (int64_t)sizeof(buf))
        server.unfinished[server.nb_unfinished++ % BURST] = c;
}

static bool begins_stream(struct client_end *c)
{
    uint64_t number;
    if (c->known || c->in_bytes < MESSAGE_BYTES || !message_read(c->in, MESSAGE_STREAM, &c->number, &number))
        return false;
    c->known = c->stream = true;
    size_t len = c->in_bytes - MESSAGE_BYTES;
    if (stream_check(c->in + MESSAGE_BYTES, len, 0) != len)
        server.stream_faults++;
    c->stream_bytes = len;
    c->in_bytes = 0;
    return true;
}

static void serve(struct client_end *c)
{
    while (!c->stream) {
        int64_t n = vcl_sock_recv(c->sock, c->in + c->in_bytes, sizeof(c->in) - c->in_bytes, 0, 0);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            end_connection(c, (int)-n);
            return;
        }
        c->in_bytes += (size_t)n;
        if (begins_stream(c))
            break;
        size_t whole = c->in_bytes / MESSAGE_BYTES;
        if (!reply_to(c, whole)) {
            end_connection(c, EPIPE);
            return;
        }
        c->in_bytes -= whole * MESSAGE_BYTES;
        memmove(c->in, c->in + whole * MESSAGE_BYTES, c->in_bytes);
    }
    sink(c);
}

/* Streams that had more to read. */
static void serve_unfinished(void)
{
    struct client_end *list[BURST];
    unsigned n = server.nb_unfinished < BURST ? server.nb_unfinished : BURST;
    memcpy(list, server.unfinished, n * sizeof(list[0]));
    server.nb_unfinished = 0;
    for (unsigned i = 0; i < n; i++)
        if (list[i]->sock != NULL)
            sink(list[i]);
}

static void nap(void)
{
    const struct timespec tick = {.tv_nsec = TICK_US * 1000};
    nanosleep(&tick, NULL);
}

static void accept_all(void)
{
    struct vcl_sock *sock;
    while (vcl_sock_accept(server.driver, &sock, 0) == 0) {
        struct client_end *c = calloc(1, sizeof(*c));
        if (c == NULL || (server.nb_ends == server.room &&
                          (server.ends = realloc(server.ends, (server.room += GROW) * sizeof(*server.ends))) == NULL))
            abort();
        c->sock = sock;
        c->at = server.nb_ends;
        server.ends[server.nb_ends++] = c;
        vcl_sock_set_user(sock, c);
    }
}

static int write_history(const char *path)
{
    FILE *out = fopen(path, "wb");
    bool ok = out != NULL;
    for (size_t i = 0; ok && i < server.nb_ends; i++) {
        const struct client_end *c = server.ends[i];
        ok = runs_write(&c->received, out, c->number, HISTORY_REQUEST_RECEIVED) &&
             runs_write(&c->replied, out, c->number, HISTORY_REPLY_SENT);
    }
    if (out == NULL || fclose(out) != 0 || !ok) {
        say("{\"error\":\"cannot write %s: %s\"}", path, strerror(errno));
        return 1;
    }
    return 0;
}

int load_server(const char *history_path)
{
    struct order o;
    struct vcl_sock *told[BURST];
    control_start(at_once);
    for (bool finish = false; !finish;) {
        int n =
            server.driver == NULL ? -EAGAIN : vcl_driver_ready(server.driver, told, BURST, vcl_clock_us() + TICK_US);
        if (server.driver == NULL)
            nap();
        else
            accept_all();
        for (int i = 0; i < n; i++)
            if (vcl_sock_user(told[i]) != NULL)
                serve(vcl_sock_user(told[i]));
        serve_unfinished();
        while (control_next(&o)) {
            finish |= strcmp(o.word, "finish") == 0;
            server.fold |= strcmp(o.word, "fold") == 0;
        }
    }
    if (server.driver != NULL) {
        say_counters(server.driver);
        vcl_driver_close(server.driver, VCL_LINGER_US);
        (void)vcl_driver_join(server.driver, vcl_clock_us() + 2 * VCL_LINGER_US);
    }
    int status = write_history(history_path);
    say("{\"done\":true,\"requests\":%llu,\"errors\":%llu,\"folded_connections\":%llu,\"folded_requests\":%llu}",
        (unsigned long long)server.requests, (unsigned long long)server.errors,
        (unsigned long long)server.folded_connections, (unsigned long long)server.folded_requests);
    return status;
}
