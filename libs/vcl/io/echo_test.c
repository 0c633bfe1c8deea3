/* SPDX-License-Identifier: Apache-2.0
 *
 * Many threads on two drivers: each client thread opens connections one after the other and checks every byte that the
 * server's threads echo. Under TSan and ASan this is the test of the driver's locking. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pair.h"

enum { CLIENTS = 16, ACCEPTORS = 4, CONNECTIONS = 8, ROUNDS = 50, MESSAGE_BYTES_MAX = 6000 };

static struct pair pair;

static void fail(const char *what, long long rc)
{
    fprintf(stderr, "%s: %lld (%s)\n", what, rc, strerror((int)-rc));
    abort();
}

static void send_all(struct vcl_sock *s, const void *bytes, size_t len)
{
    int64_t n = put(s, bytes, len, VCL_SOCK_WAIT_ALL, in_seconds(60));
    if (n != (int64_t)len)
        fail("send", n);
}

static void *echo_one(void *arg)
{
    struct vcl_sock *s = arg;
    char buf[4096];
    int64_t n;
    while ((n = vcl_sock_recv(s, buf, sizeof(buf), 0, in_seconds(60))) > 0)
        send_all(s, buf, (size_t)n);
    if (n < 0)
        fail("server recv", n);
    vcl_sock_free(s);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct vcl_sock *s;
    int rc;
    while ((rc = vcl_sock_accept(pair.server, &s, VCL_NEVER)) == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, echo_one, s) != 0 || pthread_detach(thread) != 0)
            fail("thread", -errno);
    }
    if (rc != -EBADF)
        fail("accept", rc);
    return NULL;
}

static void talk(struct vcl_sock *s, unsigned *seed)
{
    static _Thread_local unsigned char out[MESSAGE_BYTES_MAX], in[MESSAGE_BYTES_MAX];
    for (int round = 0; round < ROUNDS; round++) {
        size_t len = 1 + (size_t)rand_r(seed) % (round % 10 == 9 ? MESSAGE_BYTES_MAX : 100);
        for (size_t i = 0; i < len; i++)
            out[i] = (unsigned char)rand_r(seed);
        send_all(s, out, len);
        int64_t n = vcl_sock_recv(s, in, len, VCL_SOCK_WAIT_ALL, in_seconds(60));
        if (n != (int64_t)len || memcmp(in, out, len) != 0)
            fail("echo differs", n);
    }
    vcl_sock_shutdown(s, SHUT_WR);
    int64_t n = vcl_sock_recv(s, in, 1, 0, in_seconds(60));
    if (n != 0)
        fail("end of stream", n);
}

static void *client(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct vcl_sock *s;
        int rc = vcl_sock_connect(pair.client, pair.session, &s);
        if (rc == 0)
            rc = vcl_sock_connected(s, in_seconds(60));
        if (rc < 0)
            fail("connect", rc);
        talk(s, &seed);
        vcl_sock_free(s);
    }
    return NULL;
}

int main(void)
{
    pthread_t clients[CLIENTS], acceptors[ACCEPTORS];
    pair_open(&pair, NULL);
    for (size_t i = 0; i < ACCEPTORS; i++)
        pthread_create(&acceptors[i], NULL, accept_all, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, client, (void *)(i + 1));
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    uint64_t deadline = in_seconds(10); /* the echo threads end when they have read the end of the stream */
    while (vcl_driver_socks(pair.server) > 0 && vcl_clock_us() < deadline)
        sched_yield();
    struct vcl_stats engine;
    struct vcl_io_stats io;
    vcl_driver_stats(pair.server, &engine, &io);
    printf("accepted %llu, datagrams in %llu out %llu, resent %llu, wakes %llu, timers %llu\n",
           (unsigned long long)engine.accepts, (unsigned long long)engine.datagrams_in,
           (unsigned long long)engine.datagrams_out, (unsigned long long)engine.frames_resent,
           (unsigned long long)io.wakes, (unsigned long long)io.timers);
    vcl_driver_stop_listening(pair.server);
    for (size_t i = 0; i < ACCEPTORS; i++)
        pthread_join(acceptors[i], NULL);
    bool all = engine.accepts == CLIENTS * CONNECTIONS && vcl_driver_socks(pair.server) == 0;
    pair_close(&pair);
    return all ? 0 : 1;
}
