/* SPDX-License-Identifier: Apache-2.0
 *
 * EAL's arguments from the configuration. See eal.h.
 */
#include "eal.h"

#include <libgen.h>
#include <limits.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"

enum { ARGS_MAX = 20, TEXT_MAX = 8192 };

struct args {
    char *argv[ARGS_MAX];
    int argc;
    char text[TEXT_MAX];
    size_t at;
};

/* EAL may change what it is given, so each argument is a copy. */
static void add(struct args *a, const char *arg)
{
    size_t len = strlen(arg) + 1;

    if (a->argc == ARGS_MAX - 1 || a->at + len > TEXT_MAX) /* cannot be: every option of ours has its limit */
        return;
    memcpy(a->text + a->at, arg, len);
    a->argv[a->argc++] = a->text + a->at;
    a->at += len;
}

static void add_pair(struct args *a, const char *option, const char *value)
{
    add(a, option);
    add(a, value);
}

/* Lcore 0 on one CPU, or on every CPU that this process may use. */
static void add_lcores(struct args *a, uint32_t cpu)
{
    char text[4096] = "0@(";
    size_t len = strlen(text);
    cpu_set_t allowed;

    CPU_ZERO(&allowed);
    if (cpu != CONFIG_CPU_ANY)
        CPU_SET(cpu, &allowed);
    else
        sched_getaffinity(0, sizeof(allowed), &allowed);
    for (int i = 0; i < CPU_SETSIZE && len < sizeof(text) - 8; i++)
        if (CPU_ISSET(i, &allowed))
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%d,", i);
    text[len - 1] = ')';
    add_pair(a, "--lcores", text);
}

static void add_all(struct args *a, const struct worker_config *c)
{
    char text[64];

    add(a, "postman-helper-worker");
    add_lcores(a, c->cpu);
    add(a, c->hugepages ? "--in-memory" : "--no-huge");
    if (!c->hugepages)
        add(a, "--no-shconf"); /* part of --in-memory */
    snprintf(text, sizeof(text), "%u", c->memory_mb);
    add_pair(a, "-m", text);
    snprintf(text, sizeof(text), "postman-helper-%u", c->helper_id);
    add_pair(a, "--file-prefix", text);
    add(a, "--no-telemetry");
    snprintf(text, sizeof(text), "*:%u", c->dpdk_log_level);
    add_pair(a, "--log-level", text);
    if (device_is_virtual(c->device))
        add(a, "--no-pci");
    add_pair(a, device_is_virtual(c->device) ? "--vdev" : "-a", c->device);
}

/* EAL makes dpdk/<prefix> in its run-time directory even when it shares nothing. Beside the control socket it is out of
 * the machine's way, and the next worker finds it there when this one was killed. systemd's choice comes first. */
static void choose_runtime_directory(const char *control_socket)
{
    char path[sizeof(((struct worker_config *)0)->control_socket)];

    snprintf(path, sizeof(path), "%s", control_socket);
    setenv("RUNTIME_DIRECTORY", dirname(path), 0);
}

static void remove_runtime_directory(void)
{
    char directory[PATH_MAX];

    snprintf(directory, sizeof(directory), "%s", rte_eal_get_runtime_dir());
    if (rmdir(directory) == 0)
        rmdir(dirname(directory)); /* stays when another worker's is in it */
}

int eal_start(const struct worker_config *config, char *error, size_t error_cap)
{
    struct args args = {.argc = 0};

    add_all(&args, config);
    choose_runtime_directory(config->control_socket);
    rte_log_set_global_level(config->dpdk_log_level); /* also before EAL has read its arguments */
    rte_openlog_stream(stderr);
    if (rte_eal_init(args.argc, args.argv) >= 0)
        return 0;
    snprintf(error, error_cap,
             "DPDK does not start with device '%s' and %u MB of memory%s: %s. dpdk_log_level=8 tells more",
             config->device, config->memory_mb, config->hugepages ? " in huge pages" : "", rte_strerror(rte_errno));
    remove_runtime_directory();
    return -1;
}

void eal_stop(void)
{
    rte_eal_cleanup();
    remove_runtime_directory();
}
