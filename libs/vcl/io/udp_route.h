/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a destination may get several datagrams as one UDP_SEGMENT message. Not if they leave by a veth that takes
 * such messages whole: nothing behind it cuts them up but a UDP socket, and a helper's AF_PACKET port is none. On a
 * direct path the engine proves it instead (vcl_datagram.may_merge): a pair of probes in one message, and both are
 * answered.
 *
 * The answer is kept for a while for each host, because it takes the kernel some calls to give it; routes and features
 * do change, so not for ever.
 */
#ifndef VCL_IO_UDP_ROUTE_H
#define VCL_IO_UDP_ROUTE_H

#include "vcl/io.h"

enum { VCL_ROUTES = 64 /* power of 2; two hosts of one place displace each other */ };

struct vcl_route_slot {
    struct pmw_addr host; /* port 0; family 0: nothing is here */
    uint64_t until_us;
    bool may_merge;
};

struct vcl_routes {
    struct vcl_route_slot slots[VCL_ROUTES];
};

bool vcl__route_may_merge(struct vcl_routes *r, const struct pmw_addr *to, uint64_t now_us);

#endif
