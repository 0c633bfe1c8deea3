/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream of many bytes beside the small messages, at a given rate, on a thread of its own. */
#include "load_client.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { CHUNK_BYTES = 65536, CONNECT_US = 10000000 };

static struct {
    uint64_t bytes_per_s, ends_us, sent;
    struct vcl_sock *sock;
} stream;

static void sleep_until(uint64_t us)
{
    const struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static int64_t put(const void *bytes, size_t len)
{
    struct iovec iov = {(void *)bytes, len};
    return vcl_sock_send(stream.sock, &iov, 1, VCL_SOCK_WAIT_ALL, VCL_NEVER);
}

static int64_t send_all(void)
{
    static uint8_t chunk[CHUNK_BYTES];
    uint64_t began_us = vcl_clock_us();
    message_make(chunk, MESSAGE_STREAM, UINT32_MAX, 0);
    int64_t n = put(chunk, MESSAGE_BYTES);
    while (n > 0 && vcl_clock_us() < stream.ends_us) {
        stream_fill(chunk, sizeof(chunk), stream.sent);
        n = put(chunk, sizeof(chunk));
        stream.sent += n > 0 ? (uint64_t)n : 0;
        if (stream.bytes_per_s > 0)
            sleep_until(began_us + stream.sent * 1000000 / stream.bytes_per_s);
    }
    return n;
}

static void *run(void *arg)
{
    int64_t rc = vcl_sock_connect(load.driver, arg, &stream.sock);
    if (rc == 0)
        rc = vcl_sock_connected(stream.sock, vcl_clock_us() + CONNECT_US);
    if (rc == 0)
        rc = send_all();
    if (rc >= 0)
        rc = vcl_sock_linger(stream.sock, vcl_clock_us() + CONNECT_US);
    say("{\"streamed\":%llu,\"error\":\"%s\"}", (unsigned long long)stream.sent, rc < 0 ? strerror((int)-rc) : "");
    if (stream.sock != NULL)
        vcl_sock_free(stream.sock);
    stream.sock = NULL;
    return NULL;
}

void stream_begin(const struct order *o, struct vcl_session *session)
{
    pthread_t thread;
    stream.bytes_per_s = order_number(o, "bytes_per_s", 0);
    stream.ends_us = vcl_clock_us() + order_number(o, "seconds", 1) * 1000000;
    stream.sent = 0;
    if (session == NULL || pthread_create(&thread, NULL, run, session) != 0) {
        say("{\"streamed\":0,\"error\":\"%s\"}", strerror(session == NULL ? ENOTCONN : EAGAIN));
        return;
    }
    pthread_detach(thread);
}
