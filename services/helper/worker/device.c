/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a device before it is opened. See device.h.
 */
#include "device.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

bool device_is_virtual(const char *device)
{
    return starts_with(device, "net_");
}

static bool uses_kernel_interface(const char *device)
{
    return starts_with(device, "net_af_packet") || starts_with(device, "net_af_xdp");
}

/* The value of iface= in the device's arguments. */
static bool interface_of(const char *device, char out[IFNAMSIZ])
{
    const char *at = strstr(device, ",iface=");

    if (!at)
        return false;
    at += strlen(",iface=");
    size_t len = strcspn(at, ",");
    if (len == 0 || len >= IFNAMSIZ)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static enum device_check check_interface(int fd, const char *name, char *error, size_t cap)
{
    struct ifreq request = {0};

    memcpy(request.ifr_name, name, strlen(name) + 1);
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
        snprintf(error, cap,
                 "there is no network interface '%s' here: see `ip link show`, also for the network namespace", name);
        return DEVICE_MISSING;
    }
    if (!(request.ifr_flags & IFF_UP)) {
        snprintf(error, cap, "network interface '%s' is down: `ip link set %s up`", name, name);
        return DEVICE_MISSING;
    }
    return DEVICE_OK;
}

enum device_check device_check(const char *device, char *error, size_t error_cap)
{
    char name[IFNAMSIZ];

    if (!uses_kernel_interface(device))
        return DEVICE_OK;
    if (!interface_of(device, name)) {
        snprintf(error, error_cap, "device '%s' names no interface: add ,iface=NAME", device);
        return DEVICE_MISSING;
    }
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(error, error_cap, "no packet socket: %s: run as root, or grant CAP_NET_RAW and CAP_NET_ADMIN",
                 strerror(errno));
        return DEVICE_NOT_PERMITTED;
    }
    enum device_check result = check_interface(fd, name, error, error_cap);
    close(fd);
    return result;
}
