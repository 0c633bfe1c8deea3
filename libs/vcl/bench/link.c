/* SPDX-License-Identifier: Apache-2.0
 *
 * A link that loses, delays and cuts: between two network devices it passes on every Ethernet frame, or does not. For
 * test networks on kernels without netem (sch_netem is a module that many do not have).
 *
 *     vcl-link DEVICE_A DEVICE_B SEED LOSS_AB_PPM LOSS_BA_PPM DELAY_US JITTER_US
 *
 * Until SIGTERM; then it says as JSON how many frames passed and were lost. A delay is the same for all frames of a
 * direction plus up to the jitter, and order is kept: a link, not a network. Loss of 1,000,000 ppm is a cut. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_BYTES_MAX = 16384, QUEUE_MAX = 16384, BURST = 64, PPM = 1000000, RCVBUF_BYTES = 16 << 20 };

struct frame {
    uint64_t leaves_us;
    uint32_t len;
    uint8_t bytes[];
};

struct direction {
    int from, to;
    uint32_t loss_ppm;
    struct frame *queue[QUEUE_MAX];
    uint32_t first, nb;
    uint64_t last_leaves_us, passed, lost, overflowed;
};

static struct {
    struct direction ways[2];
    uint64_t delay_us, jitter_us, random;
} net;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Xorshift64 (Marsaglia, 2003). */
static uint64_t random_below(uint64_t limit)
{
    net.random ^= net.random << 13;
    net.random ^= net.random >> 7;
    net.random ^= net.random << 17;
    return limit == 0 ? 0 : net.random % limit;
}

static int open_device(const char *name)
{
    int one = 1, bytes = RCVBUF_BYTES, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    where.sll_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || where.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0) {
        fprintf(stderr, "vcl-link: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    return fd;
}

static void pass(struct direction *d, const uint8_t *bytes, size_t len)
{
    d->passed += send(d->to, bytes, len, MSG_DONTWAIT) == (ssize_t)len;
}

static void delay(struct direction *d, const uint8_t *bytes, size_t len, uint64_t now)
{
    struct frame *f = d->nb < QUEUE_MAX ? malloc(sizeof(*f) + len) : NULL;
    if (f == NULL) {
        d->overflowed++;
        return;
    }
    f->leaves_us = now + net.delay_us + random_below(net.jitter_us + 1);
    if (f->leaves_us < d->last_leaves_us)
        f->leaves_us = d->last_leaves_us;
    d->last_leaves_us = f->leaves_us;
    f->len = (uint32_t)len;
    memcpy(f->bytes, bytes, len);
    d->queue[(d->first + d->nb++) % QUEUE_MAX] = f;
}

static void take(struct direction *d)
{
    uint8_t bytes[FRAME_BYTES_MAX];
    for (int i = 0; i < BURST; i++) {
        ssize_t n = recv(d->from, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n <= 0)
            return;
        if (random_below(PPM) < d->loss_ppm)
            d->lost++;
        else if (net.delay_us + net.jitter_us == 0)
            pass(d, bytes, (size_t)n);
        else
            delay(d, bytes, (size_t)n, now_us());
    }
}

/* When the next frame leaves. */
static uint64_t release(struct direction *d, uint64_t now)
{
    while (d->nb > 0) {
        struct frame *f = d->queue[d->first];
        if (f->leaves_us > now)
            return f->leaves_us;
        pass(d, f->bytes, f->len);
        free(f);
        d->first = (d->first + 1) % QUEUE_MAX;
        d->nb--;
    }
    return UINT64_MAX;
}

/* A descriptor that is readable from SIGTERM on. A mask for ppoll would not do: it lets a signal in only when it finds
 * nothing to read, and a busy link always has something. */
static int open_ending(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    int fd = signalfd(-1, &ending, SFD_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "vcl-link: signalfd: %s\n", strerror(errno));
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: vcl-link DEVICE_A DEVICE_B SEED LOSS_AB_PPM LOSS_BA_PPM DELAY_US JITTER_US\n");
        return 2;
    }
    int ending = open_ending(), a = open_device(argv[1]), b = open_device(argv[2]);
    net.ways[0] = (struct direction){.from = a, .to = b, .loss_ppm = (uint32_t)strtoul(argv[4], NULL, 10)};
    net.ways[1] = (struct direction){.from = b, .to = a, .loss_ppm = (uint32_t)strtoul(argv[5], NULL, 10)};
    net.random = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    net.delay_us = strtoull(argv[6], NULL, 10);
    net.jitter_us = strtoull(argv[7], NULL, 10);
    puts("{\"link\":\"up\"}");
    fflush(stdout);
    struct pollfd fds[3] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}, {.fd = ending, .events = POLLIN}};
    while (fds[2].revents == 0) {
        uint64_t now = now_us(), next = UINT64_MAX;
        for (int i = 0; i < 2; i++) {
            uint64_t leaves = release(&net.ways[i], now);
            next = leaves < next ? leaves : next;
        }
        uint64_t left = next == UINT64_MAX ? 1000000 : next - now;
        struct timespec timeout = {.tv_sec = (time_t)(left / 1000000), .tv_nsec = (long)(left % 1000000) * 1000};
        if (ppoll(fds, 3, &timeout, NULL) > 0)
            for (int i = 0; i < 2; i++)
                take(&net.ways[i]);
    }
    printf("{\"passed\":[%llu,%llu],\"lost\":[%llu,%llu],\"overflowed\":[%llu,%llu]}\n",
           (unsigned long long)net.ways[0].passed, (unsigned long long)net.ways[1].passed,
           (unsigned long long)net.ways[0].lost, (unsigned long long)net.ways[1].lost,
           (unsigned long long)net.ways[0].overflowed, (unsigned long long)net.ways[1].overflowed);
    return 0;
}
