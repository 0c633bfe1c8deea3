/* SPDX-License-Identifier: Apache-2.0
 *
 * The two halves of the load generator. */
#ifndef VCL_BENCH_LOAD_H
#define VCL_BENCH_LOAD_H

int load_client(const char *history_path, const char *replies_path);
int load_server(const char *history_path);

#endif
