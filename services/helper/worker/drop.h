/* SPDX-License-Identifier: Apache-2.0
 *
 * Every reason for which the worker's own layers (Ethernet to UDP, neighbours, port) drop something. The relay's
 * reasons are in relay.h. Each is counted where the drop happens, and `stats` shows it under its key.
 */
#ifndef POSTMAN_DROP_H
#define POSTMAN_DROP_H

#define WORKER_DROPS(X)                                                                                                \
    X(DROP_FRAME_SHORT, "frame_short", "shorter than its headers")                                                     \
    X(DROP_FRAME_SEGMENTED, "frame_segmented", "longer than one buffer")                                               \
    X(DROP_MAC_NOT_OURS, "mac_not_ours", "for another Ethernet address")                                               \
    X(DROP_MAC_SOURCE, "mac_source", "from a group address or from ourselves")                                         \
    X(DROP_ETHER_TYPE, "ether_type", "neither ARP nor IP of our version")                                              \
    X(DROP_ARP_MALFORMED, "arp_malformed", "not an ARP request or reply for Ethernet and IPv4")                        \
    X(DROP_ARP_NOT_OURS, "arp_not_ours", "about somebody else's address")                                              \
    X(DROP_ARP_CONFLICT, "arp_conflict", "another host claims our address")                                            \
    X(DROP_ND_MALFORMED, "nd_malformed", "not a neighbour solicitation or advertisement from the link")                \
    X(DROP_ND_NOT_OURS, "nd_not_ours", "about somebody else's address")                                                \
    X(DROP_ND_CONFLICT, "nd_conflict", "another host claims our address")                                              \
    X(DROP_IP_MALFORMED, "ip_malformed", "version or lengths contradict the frame")                                    \
    X(DROP_IP_CHECKSUM, "ip_checksum", "wrong header checksum")                                                        \
    X(DROP_IP_FRAGMENT, "ip_fragment", "fragments are not reassembled")                                                \
    X(DROP_IP_NOT_OURS, "ip_not_ours", "for another IP address")                                                       \
    X(DROP_IP_SOURCE, "ip_source", "a source that cannot be answered")                                                 \
    X(DROP_IP_PROTOCOL, "ip_protocol", "neither UDP nor ICMP")                                                         \
    X(DROP_ICMP, "icmp", "not a well-formed echo request")                                                             \
    X(DROP_UDP_MALFORMED, "udp_malformed", "lengths contradict the packet, or source port 0")                          \
    X(DROP_UDP_PORT, "udp_port", "nothing listens on this port")                                                       \
    X(DROP_OUT_FAMILY, "out_family", "to an address of the IP version that this helper does not have")                 \
    X(DROP_OUT_ADDRESS, "out_address", "to an address or port that names no single host")                              \
    X(DROP_OUT_NO_ROUTE, "out_no_route", "off the link, and no gateway is configured")                                 \
    X(DROP_OUT_PENDING, "out_pending", "too many wait for this neighbour's answer, or for too many neighbours   ")     \
    X(DROP_OUT_UNRESOLVED, "out_unresolved", "the neighbour did not answer ARP or discovery")                          \
    X(DROP_OUT_PORT_FULL, "out_port_full", "the port took no more packets")                                            \
    X(DROP_NO_MBUF, "no_mbuf", "no buffer for an ARP or discovery request")

enum worker_drop {
    DROP_NONE,
#define WORKER_X(name, key, text) name,
    WORKER_DROPS(WORKER_X)
#undef WORKER_X
        WORKER_DROP_COUNT
};

#endif
