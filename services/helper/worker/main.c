/* SPDX-License-Identifier: Apache-2.0
 *
 * postman-helper-worker --config FILE: the DPDK data plane of one helper. Starts its parts in the order of a table,
 * says `ready` on stdout, relays until SIGTERM, SIGINT or the control socket's `quit`, and ends its parts in reverse.
 *
 * Exit status: 0 ended as told, 1 no memory, 2 configuration, 3 permission, 4 device or huge pages, 5 control socket.
 */
#include <errno.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "commands.h"
#include "control.h"
#include "device.h"
#include "doorbell.h"
#include "eal.h"
#include "hugepages.h"
#include "lcore.h"
#include "mempools.h"
#include "output.h"
#include "ports.h"

#define FLOW_IDLE_US   UINT64_C(30000000)
#define NEIGHBOURS_MAX 4096
#define WORKER_INDEX   0 /* one lcore */
/* On a host that it must share, a helper that waits for its time slice looks like a dead one: 10 ms are two timeouts.
 */
#define WORKER_NICE (-10)

enum exit_status { EXIT_OK, EXIT_MEMORY, EXIT_CONFIG, EXIT_PERMISSION, EXIT_DEVICE, EXIT_CONTROL };

static struct worker_config config;
static struct worker worker;
static struct port port;
static char cause[1024];

/* --- process ----------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop;

static void on_stop(int number)
{
    stop = 1;
}

static enum exit_status start_process(void)
{
    struct sigaction action = {.sa_handler = on_stop};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1UL);                   /* ns: a nap of 20 us takes 20 us, not 70 */
    (void)setpriority(PRIO_PROCESS, 0, WORKER_NICE); /* where it is not permitted, all stays as it is */
    return EXIT_OK;
}

/* --- DPDK, port -------------------------------------------------------------------------------------------------- */

static enum exit_status start_eal(void)
{
    switch (device_check(config.device, cause, sizeof(cause))) {
    case DEVICE_NOT_PERMITTED:
        return EXIT_PERMISSION;
    case DEVICE_MISSING:
        return EXIT_DEVICE;
    case DEVICE_OK:
        break;
    }
    uint64_t free_mb = config.hugepages ? hugepages_free_mb("") : UINT64_MAX;
    if (free_mb < config.memory_mb) {
        snprintf(cause, sizeof(cause),
                 "%u MB of huge pages are wanted and %u MB are free: `sysctl vm.nr_hugepages=%u`, or hugepages=no",
                 config.memory_mb, (unsigned)free_mb, config.memory_mb / 2);
        return EXIT_DEVICE;
    }
    return eal_start(&config, cause, sizeof(cause)) < 0 ? EXIT_DEVICE : EXIT_OK;
}

static enum exit_status start_port(void)
{
    char step[256];

    if (ports_find(&port, step, sizeof(step)) < 0)
        goto fail;
    worker.pool = mempools_new(&config, port.rx_slots, port.tx_slots);
    if (!worker.pool) {
        snprintf(cause, sizeof(cause), "no memory for packet buffers: %s: raise memory_mb", rte_strerror(rte_errno));
        return EXIT_MEMORY;
    }
    if (ports_start(&port, worker.pool, config.ip, step, sizeof(step)) < 0)
        goto fail;
    worker.port = port.id;
    worker.doorbell = doorbell_find();
    memcpy(worker.self.mac, port.mac, MAC_BYTES);
    return EXIT_OK;
fail:
    snprintf(cause, sizeof(cause), "device '%s': %s", config.device, step);
    return EXIT_DEVICE;
}

static void end_port(void)
{
    ports_stop(&port);
    rte_mempool_free(worker.pool);
}

/* --- relay, neighbours ------------------------------------------------------------------------------------------- */

static void *zeroed(size_t size)
{
    return rte_zmalloc("postman", size, RTE_CACHE_LINE_SIZE);
}

static enum exit_status start_relay(void)
{
    struct relay_config relay = {
        .helper_id = (uint16_t)config.helper_id,
        .worker = WORKER_INDEX,
        .incarnation = config.incarnation,
        .flows_max = config.flows_max,
        .servers_max = config.servers_max,
        .flow_idle_us = FLOW_IDLE_US,
        .trunk_bytes_max = config.trunk_bytes_max,
        .hold_us_max = config.hold_us_max,
        .batch_entries_max = PMW_TRUNK_ENTRIES_MAX,
        .sink = output_sink(&worker),
        .alloc = zeroed,
        .free = rte_free,
    };
    const struct neighbours_ports outside = output_neighbours_ports(&worker);

    memcpy(relay.cid_key, config.cid_key, sizeof(relay.cid_key));
    void *cells = zeroed(neighbours_bytes(NEIGHBOURS_MAX));
    if (!cells || relay_new(&worker.relay, &relay) < 0) {
        snprintf(cause, sizeof(cause), "no memory for %u flows: raise memory_mb or lower flows_max", config.flows_max);
        return EXIT_MEMORY;
    }
    neighbours_init(&worker.neighbours, cells, NEIGHBOURS_MAX, &outside);
    worker.config = &config;
    worker.self.ip = config.ip;
    worker.self.mask = ip_mask(config.prefix_len);
    worker.self.gateway = config.gateway;
    worker.self.client_port = (uint16_t)config.client_port;
    worker.self.trunk_port = (uint16_t)config.trunk_port;
    return EXIT_OK;
}

static void end_relay(void)
{
    relay_free(worker.relay);
    rte_free(worker.neighbours.cells);
}

/* --- control socket ---------------------------------------------------------------------------------------------- */

static enum exit_status start_control(void)
{
    int result = control_open(&worker.control, config.control_socket, commands_execute, &worker);

    if (result == 0)
        return EXIT_OK;
    snprintf(cause, sizeof(cause), "control socket %s: %s%s", config.control_socket, strerror(-result),
             result == -EADDRINUSE ? ": another worker runs with it" : "");
    return EXIT_CONTROL;
}

static void end_control(void)
{
    control_close(worker.control);
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static const struct part {
    enum exit_status (*start)(void); /* not EXIT_OK: cause says why */
    void (*end)(void);
} PARTS[] = {
    {start_process, NULL},    {start_eal, eal_stop},        {start_port, end_port},
    {start_relay, end_relay}, {start_control, end_control},
};
enum { NB_PARTS = sizeof(PARTS) / sizeof(PARTS[0]) };

static void say_ready(void)
{
    const uint8_t *mac = port.mac;
    char address[IP_TEXT_BYTES];

    printf("{\"event\":\"ready\",\"pid\":%d,\"helper_id\":%u,\"incarnation\":%u,"
           "\"address\":\"%s\",\"client_port\":%u,\"trunk_port\":%u,"
           "\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\",\"driver\":\"%s\",\"doorbell\":%s}\n",
           (int)getpid(), config.helper_id, config.incarnation, ip_text(config.ip, address), config.client_port,
           config.trunk_port, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], port.driver,
           worker.doorbell == DOORBELL_NONE ? "false" : "true");
    fflush(stdout);
}

static enum exit_status run(void)
{
    enum exit_status status = EXIT_OK;
    int nb_started = 0;

    while (status == EXIT_OK && nb_started < NB_PARTS) {
        status = PARTS[nb_started].start();
        if (status == EXIT_OK)
            nb_started++;
    }
    if (status == EXIT_OK) {
        say_ready();
        lcore_run(&worker, &stop);
    }
    while (nb_started-- > 0)
        if (PARTS[nb_started].end)
            PARTS[nb_started].end();
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--config") != 0) {
        fprintf(stderr, "usage: postman-helper-worker --config FILE\n");
        return EXIT_CONFIG;
    }
    enum exit_status status = config_load(&config, argv[2], cause, sizeof(cause)) < 0 ? EXIT_CONFIG : run();
    if (status != EXIT_OK)
        fprintf(stderr, "postman-helper-worker: %s\n", cause);
    return (int)status;
}
