/* SPDX-License-Identifier: Apache-2.0
 *
 * A large transfer over a stream, whatever carries it: `./postman bench bulk` compares a virtual connection with one of
 * the kernel's TCP, in the same run, on the same link, with the same calls. */
#ifndef VCL_BENCH_BULK_H
#define VCL_BENCH_BULK_H

#include "vcl/io.h"

#include <stdint.h>

enum { BULK_PATIENCE_US = 60000000 };

struct bulk_stream { /* one connection; the functions return a count or -errno, and block */
    int64_t (*send)(void *handle, const void *buf, size_t len);
    int64_t (*recv)(void *handle, void *buf, size_t len);
    void *handle;
};

struct bulk_result {
    double seconds;     /* from the first call until the receiver has said that it has everything */
    double cpu_seconds; /* of this process meanwhile */
};

/* Sends `bytes` in chunks, waits for the receiver's word. 0 or -errno. */
int bulk_send(const struct bulk_stream *s, uint64_t bytes, size_t chunk_bytes, struct bulk_result *out);
/* Receives one transfer and says so. 0 or -errno. */
int bulk_receive(const struct bulk_stream *s, size_t chunk_bytes);

struct bulk_stream bulk_over_tcp(int *fd);
struct bulk_stream bulk_over_vcl(struct vcl_sock *s);

#endif
