/* SPDX-License-Identifier: Apache-2.0
 *
 * See udp_route.h. The interface of a route is asked from rtnetlink, its driver and features by the ethtool ioctls;
 * none of these needs a privilege. What cannot be found out counts as an ordinary interface. */
#include "udp_route.h"

#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    KEPT_US = 10000000,
    FEATURES_MAX = 512, /* a kernel of 2024 has 64 */
    ANSWER_TIMEOUT_US = 100000,
};

/* --- the interface of a route ------------------------------------------------------------------ */
struct question {
    struct nlmsghdr header;
    struct rtmsg route;
    struct rtattr dst;
    uint8_t ip[16];
};

static int interface_in(const uint8_t *answer, size_t len)
{
    const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
    if (!NLMSG_OK(h, len) || h->nlmsg_type != RTM_NEWROUTE)
        return 0;
    const struct rtmsg *route = NLMSG_DATA(h);
    size_t left = RTM_PAYLOAD(h);
    for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        int index;
        if (a->rta_type != RTA_OIF || RTA_PAYLOAD(a) != sizeof(index))
            continue;
        memcpy(&index, RTA_DATA(a), sizeof(index));
        return index;
    }
    return 0;
}

/* Index of the interface by which packets to this host leave, or 0. */
static int interface_of(const struct pmw_addr *host)
{
    uint8_t answer[2048] __attribute__((aligned(NLMSG_ALIGNTO)));
    size_t ip_len = host->family == 4 ? 4 : 16;
    struct timeval patience = {.tv_usec = ANSWER_TIMEOUT_US};
    struct question q = {
        .header = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = host->family == 4 ? AF_INET : AF_INET6, .rtm_dst_len = (uint8_t)(8 * ip_len)},
        .dst = {.rta_type = RTA_DST, .rta_len = (uint16_t)RTA_LENGTH(ip_len)},
    };
    memcpy(q.ip, host->ip, ip_len);
    q.header.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(q.route)) + RTA_LENGTH(ip_len));
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), index = 0;
    if (fd < 0)
        return 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (send(fd, &q, q.header.nlmsg_len, 0) == (ssize_t)q.header.nlmsg_len) {
        ssize_t len = recv(fd, answer, sizeof(answer), 0);
        index = len > 0 ? interface_in(answer, (size_t)len) : 0;
    }
    close(fd);
    return index;
}

/* --- what the interface does -------------------------------------------------------------------- */
static bool ask(int fd, const char *name, void *what)
{
    struct ifreq request = {.ifr_data = what};
    memcpy(request.ifr_name, name, IFNAMSIZ);
    return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

/* The number of a feature among all that this kernel knows, or -1. */
static int feature_number(int fd, const char *name, const char *feature)
{
    struct ethtool_sset_info *set = calloc(1, sizeof(*set) + sizeof(set->data[0]));
    struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)FEATURES_MAX * ETH_GSTRING_LEN);
    int number = -1;
    if (set == NULL || names == NULL)
        goto out;
    set->cmd = ETHTOOL_GSSET_INFO;
    set->sset_mask = 1ull << ETH_SS_FEATURES;
    if (!ask(fd, name, set) || set->sset_mask == 0 || set->data[0] > FEATURES_MAX)
        goto out;
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = set->data[0];
    if (ask(fd, name, names))
        for (uint32_t i = 0; i < names->len && number < 0; i++)
            if (strncmp((const char *)names->data + (size_t)i * ETH_GSTRING_LEN, feature, ETH_GSTRING_LEN) == 0)
                number = (int)i;
out:
    free(set);
    free(names);
    return number;
}

static bool feature_is_active(int fd, const char *name, const char *feature)
{
    int number = feature_number(fd, name, feature);
    struct ethtool_gfeatures *f = calloc(1, sizeof(*f) + FEATURES_MAX / 32 * sizeof(f->features[0]));
    bool active = false;
    if (f != NULL && number >= 0) {
        f->cmd = ETHTOOL_GFEATURES;
        f->size = FEATURES_MAX / 32;
        active = ask(fd, name, f) && f->features[number / 32].active & 1u << number % 32;
    }
    free(f);
    return active;
}

static bool takes_messages_whole(int index)
{
    char name[IF_NAMESIZE];
    struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
    if (if_indextoname((unsigned)index, name) == NULL)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool veth = ask(fd, name, &driver) && strcmp(driver.driver, "veth") == 0;
    bool whole = veth && feature_is_active(fd, name, "tx-udp-segmentation");
    close(fd);
    return whole;
}

/* --- what is kept -------------------------------------------------------------------------------- */
bool vcl__route_may_merge(struct vcl_routes *r, const struct pmw_addr *to, uint64_t now_us)
{
    struct pmw_addr host = *to;
    unsigned place = host.family;
    host.port = 0;
    for (int i = 0; i < 16; i++)
        place = place * 31 + host.ip[i];
    struct vcl_route_slot *slot = &r->slots[place % VCL_ROUTES];
    if (now_us < slot->until_us && pmw_addr_equal(&slot->host, &host))
        return slot->may_merge;
    int index = interface_of(&host);
    *slot = (struct vcl_route_slot){
        .host = host, .until_us = now_us + KEPT_US, .may_merge = index == 0 || !takes_messages_whole(index)};
    return slot->may_merge;
}
