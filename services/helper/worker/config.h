/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker is told when it starts: a file of key=value lines, given with --config FILE. It holds cid_key, so it
 * must not be readable by others (mode 0600). Blank lines and lines that begin with # are skipped; an unknown, repeated
 * or missing key, or a value beyond its limit, is an error that names the line and the limit.
 */
#ifndef POSTMAN_CONFIG_H
#define POSTMAN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ip.h"

/*  kind, key,           field,           least, most,      default (NULL: required), what it is */
#define CONFIG_OPTIONS(X)                                                                                              \
    X(NUMBER, "helper_id", helper_id, 1, 65535, NULL, "given by the registry")                                         \
    X(NUMBER, "incarnation", incarnation, 1, UINT32_MAX, NULL, "given by the registry, grows with each start")         \
    X(KEY, "cid_key", cid_key, 32, 32, NULL, "32 hex digits, given by the registry")                                   \
    X(PREFIX, "data_address", ip, 8, 126, NULL, "our own address and prefix length: 198.18.0.10/24, fd00::10/64")      \
    X(ADDRESS, "gateway", gateway, 0, 0, "", "address of the next hop off the link; empty: none")                      \
    X(NUMBER, "client_port", client_port, 1, 65535, "4701", "UDP port for C-frames of clients")                        \
    X(NUMBER, "trunk_port", trunk_port, 1, 65535, "4702", "UDP port for trunk batches of servers")                     \
    X(TEXT, "device", device, 1, 255, NULL, "DPDK device: net_af_packet0,iface=eth1 or a PCI address")                 \
    X(SWITCH, "hugepages", hugepages, 0, 1, "no", "yes or no")                                                         \
    X(NUMBER, "memory_mb", memory_mb, 64, 65536, "128", "memory that DPDK takes")                                      \
    X(NUMBER, "hold_us_max", hold_us_max, 0, 10000, "100", "bound of the delay that batching adds")                    \
    X(NUMBER, "trunk_bytes_max", trunk_bytes_max, 1413, 1472, "1440", "UDP payload of a full trunk batch")             \
    X(NUMBER, "flows_max", flows_max, 1024, 1 << 24, "131072", "flow cache entries, a power of two")                   \
    X(NUMBER, "servers_max", servers_max, 1, 4096, "1024", "server shards")                                            \
    X(TEXT, "control_socket", control_socket, 1, 107, NULL, "path of the control socket")                              \
    X(WORD, "idle", idle, 0, 1, "sleep", "sleep or spin: what a lcore without work does")                              \
    X(CPU, "cpu", cpu, 0, 1023, "any", "CPU number that the worker is pinned to, or any")                              \
    X(NUMBER, "dpdk_log_level", dpdk_log_level, 1, 8, "3", "DPDK's own messages on stderr: 1 none ... 8 debug")

enum config_idle { CONFIG_IDLE_SLEEP, CONFIG_IDLE_SPIN };
#define CONFIG_CPU_ANY UINT32_MAX

struct worker_config {
    uint32_t helper_id, incarnation;
    uint8_t cid_key[16];
    struct ip_addr ip;
    uint32_t prefix_len;    /* bits of struct ip_addr: IPv4 counts 96 more than it says */
    struct ip_addr gateway; /* or none */
    uint32_t client_port, trunk_port;
    char device[256];
    uint32_t hugepages; /* 0 or 1 */
    uint32_t memory_mb;
    uint32_t hold_us_max, trunk_bytes_max;
    uint32_t flows_max, servers_max;
    char control_socket[108];
    uint32_t idle; /* enum config_idle */
    uint32_t cpu;
    uint32_t dpdk_log_level;
};

/* Reads the text of a file. 0, or -1 with a one-line cause in error. */
int config_parse(struct worker_config *out, const char *text, char *error, size_t error_cap);
/* Reads the file at path, which must be ours and private. */
int config_load(struct worker_config *out, const char *path, char *error, size_t error_cap);

#endif
