/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding the driver's socket. See doorbell.h.
 */
#include "doorbell.h"

#include <linux/if_packet.h>
#include <stdbool.h>
#include <sys/socket.h>

#define FILES_SEEN_MAX 1024

/* A packet socket that receives: bound to an interface, all protocols. */
static bool receives(int fd)
{
    struct sockaddr_ll address = {0};
    socklen_t len = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.sll_ifindex > 0 &&
           address.sll_protocol != 0;
}

int doorbell_find(void)
{
    for (int fd = 0; fd < FILES_SEEN_MAX; fd++) {
        int domain = 0;
        socklen_t len = sizeof(domain);
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
            continue;
        if (domain == AF_XDP || (domain == AF_PACKET && receives(fd)))
            return fd;
    }
    return DOORBELL_NONE;
}
