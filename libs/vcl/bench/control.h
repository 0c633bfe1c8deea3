/* SPDX-License-Identifier: Apache-2.0
 *
 * How the Python front end (postman_cli/bench/load_front.py), which speaks with the control plane, drives the program:
 * one order a line on standard input, `word key=value key=value`; one JSON object a line on standard output. Orders
 * that concern sessions and keys are carried out at once, on the thread that reads them; the others wait in a queue. */
#ifndef VCL_BENCH_CONTROL_H
#define VCL_BENCH_CONTROL_H

#include "vcl/io.h"

enum { ORDER_BYTES_MAX = 8192 };

struct order {
    char word[16];
    char pairs[ORDER_BYTES_MAX]; /* "key=value" strings one after the other, ended by an empty one */
};

const char *order_text(const struct order *o, const char *key); /* NULL: not there */
uint64_t order_number(const struct order *o, const char *key, uint64_t otherwise);
/* Exactly len bytes of hexadecimal; false when they are not there. */
bool order_bytes(const struct order *o, const char *key, uint8_t *out, size_t len);
/* All values of "path": helper id,address,port,rank. Their number. */
uint8_t order_paths(const struct order *o, struct vcl_path out[VCL_PATHS_MAX]);
bool parse_addr(const char *address, uint16_t port, struct pmw_addr *out);

/* Starts the reader. `at_once` returns true for an order that it has carried out. */
void control_start(bool (*at_once)(const struct order *o));
/* The next queued order, or false. At the end of standard input an order "finish" comes by itself. */
bool control_next(struct order *out);

/* One line of JSON, flushed. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_counters(struct vcl_driver *d);

#endif
