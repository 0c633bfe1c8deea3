/* SPDX-License-Identifier: Apache-2.0
 *
 * See bulk.h. The sender begins with the length, 8 bytes big-endian; the receiver ends with the same 8 bytes. Each
 * chunk is filled from a pattern that depends on its place and checked at its first and last bytes: a transfer that
 * lost its place does not count. */
#include "bulk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NUMBER_BYTES = 8, MARK_BYTES = 8 };

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void put_number(uint8_t *out, uint64_t v)
{
    for (int i = 0; i < NUMBER_BYTES; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static uint64_t number(const uint8_t *in)
{
    uint64_t v = 0;
    for (int i = 0; i < NUMBER_BYTES; i++)
        v = v << 8 | in[i];
    return v;
}

static int send_all(const struct bulk_stream *s, const uint8_t *buf, size_t len)
{
    while (len > 0) {
        int64_t n = s->send(s->handle, buf, len);
        if (n <= 0)
            return n < 0 ? (int)n : -EPIPE;
        buf += n;
        len -= (size_t)n;
    }
    return 0;
}

static int recv_all(const struct bulk_stream *s, uint8_t *buf, size_t len)
{
    while (len > 0) {
        int64_t n = s->recv(s->handle, buf, len);
        if (n <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        buf += n;
        len -= (size_t)n;
    }
    return 0;
}

int bulk_send(const struct bulk_stream *s, uint64_t bytes, size_t chunk_bytes, struct bulk_result *out)
{
    uint8_t head[NUMBER_BYTES], word[NUMBER_BYTES], *chunk = calloc(1, chunk_bytes);
    uint64_t begun = vcl_clock_us(), sent = 0;
    double cpu = cpu_seconds();
    put_number(head, bytes);
    int rc = chunk == NULL ? -ENOMEM : send_all(s, head, sizeof(head));
    while (rc == 0 && sent < bytes) {
        size_t len = bytes - sent < chunk_bytes ? (size_t)(bytes - sent) : chunk_bytes;
        if (len >= MARK_BYTES)
            put_number(chunk, sent);
        rc = send_all(s, chunk, len);
        sent += len;
    }
    if (rc == 0)
        rc = recv_all(s, word, sizeof(word));
    if (rc == 0 && number(word) != bytes)
        rc = -EPROTO;
    *out = (struct bulk_result){.seconds = (double)(vcl_clock_us() - begun) / 1e6, .cpu_seconds = cpu_seconds() - cpu};
    free(chunk);
    return rc;
}

/* Takes what there is, as an application does that only wants the bytes; the marks show that none is missing. */
static int take(const struct bulk_stream *s, uint8_t *buf, size_t chunk_bytes, uint64_t bytes)
{
    uint64_t done = 0;
    while (done < bytes) {
        uint64_t left_of_chunk = chunk_bytes - done % chunk_bytes, left = bytes - done;
        size_t want = (size_t)(left < left_of_chunk ? left : left_of_chunk);
        bool at_mark = done % chunk_bytes == 0 && want >= MARK_BYTES;
        int64_t n = at_mark ? recv_all(s, buf, MARK_BYTES) : s->recv(s->handle, buf, want);
        if (at_mark) {
            if (n < 0)
                return (int)n;
            if (number(buf) != done)
                return -EPROTO;
            done += MARK_BYTES;
        } else if (n <= 0) {
            return n < 0 ? (int)n : -ECONNRESET;
        } else {
            done += (uint64_t)n;
        }
    }
    return 0;
}

int bulk_receive(const struct bulk_stream *s, size_t chunk_bytes)
{
    uint8_t head[NUMBER_BYTES], *buf = malloc(chunk_bytes);
    int rc = buf == NULL ? -ENOMEM : recv_all(s, head, sizeof(head));
    if (rc == 0)
        rc = take(s, buf, chunk_bytes, number(head));
    if (rc == 0)
        rc = send_all(s, head, sizeof(head));
    free(buf);
    return rc;
}

static int64_t tcp_send(void *handle, const void *buf, size_t len)
{
    ssize_t n = write(*(int *)handle, buf, len);
    return n < 0 ? -errno : n;
}

static int64_t tcp_recv(void *handle, void *buf, size_t len)
{
    ssize_t n = read(*(int *)handle, buf, len);
    return n < 0 ? -errno : n;
}

struct bulk_stream bulk_over_tcp(int *fd)
{
    return (struct bulk_stream){.send = tcp_send, .recv = tcp_recv, .handle = fd};
}

static int64_t vcl_send(void *handle, const void *buf, size_t len)
{
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};
    return vcl_sock_send(handle, &iov, 1, 0, vcl_clock_us() + BULK_PATIENCE_US);
}

static int64_t vcl_recv(void *handle, void *buf, size_t len)
{
    return vcl_sock_recv(handle, buf, len, 0, vcl_clock_us() + BULK_PATIENCE_US);
}

struct bulk_stream bulk_over_vcl(struct vcl_sock *s)
{
    return (struct bulk_stream){.send = vcl_send, .recv = vcl_recv, .handle = s};
}
