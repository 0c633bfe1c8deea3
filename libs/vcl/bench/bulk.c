/* SPDX-License-Identifier: Apache-2.0
 *
 * `vcl-bulk serve ADDRESS PORT` receives; `vcl-bulk run ADDRESS PORT MIB ROUNDS` sends, by turns over the kernel's
 * TCP and over a virtual connection on the direct path, and prints a JSON object a line:
 *     {"round":1,"transport":"tcp","bytes":...,"seconds":...,"cpu_seconds":...}
 *     {"round":1,"transport":"vcl",...,"stats":{...}}
 * Both ends use a key of this program: nothing but the measurement can talk to it. */
#include "bulk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SERVER_ID = 7, KEY_ID = 1, SERVICE_ID = 99, CHUNK_BYTES = 262144 };
static const uint8_t k_srv[PMW_KEY_BYTES] = "vcl-bulk";

static int fail(const char *what, int error)
{
    fprintf(stderr, "vcl-bulk: %s: %s\n", what, strerror(error));
    return 1;
}

static bool parse_address(const char *text, const char *port, struct pmw_addr *a, struct sockaddr_in *in)
{
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, text, &in->sin_addr) != 1)
        return false;
    *a = (struct pmw_addr){.family = 4, .port = (uint16_t)atoi(port)};
    memcpy(a->ip, &in->sin_addr, 4);
    return true;
}

/* --- the receiver ------------------------------------------------------------------------------- */
static void *serve_tcp(void *arg)
{
    int listener = *(int *)arg, fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        struct bulk_stream s = bulk_over_tcp(&fd);
        int rc = bulk_receive(&s, CHUNK_BYTES);
        if (rc < 0)
            (void)fail("receiving over TCP", -rc);
        close(fd);
    }
    return NULL;
}

static int serve(const struct pmw_addr *at, const struct sockaddr_in *in)
{
    struct vcl_driver_config c;
    struct vcl_driver *driver;
    pthread_t thread;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (const struct sockaddr *)in, sizeof(*in)) < 0 || listen(listener, 8) < 0)
        return fail("listening", errno);
    vcl_driver_config_defaults(&c);
    c.udp_fd = vcl_udp_open(at);
    c.engine.server_id = SERVER_ID;
    c.engine.service_id = SERVICE_ID;
    c.engine.incarnation = (uint32_t)time(NULL);
    c.engine.nb_keys = 1;
    c.engine.keys[0].key_id = KEY_ID;
    memcpy(c.engine.keys[0].key, k_srv, sizeof(k_srv));
    int rc = c.udp_fd < 0 ? c.udp_fd : vcl_driver_open(&driver, &c);
    if (rc < 0)
        return fail("opening the driver", -rc);
    if (pthread_create(&thread, NULL, serve_tcp, &listener) != 0)
        return fail("starting a thread", EAGAIN);
    printf("{\"ready\":true}\n");
    fflush(stdout);
    for (;;) {
        struct vcl_sock *sock;
        if (vcl_sock_accept(driver, &sock, VCL_NEVER) < 0)
            continue;
        struct bulk_stream s = bulk_over_vcl(sock);
        rc = bulk_receive(&s, CHUNK_BYTES);
        if (rc < 0)
            (void)fail("receiving over a virtual connection", -rc);
        vcl_sock_free(sock);
    }
}

/* --- the sender --------------------------------------------------------------------------------- */
static void report(int round, const char *transport, uint64_t bytes, const struct bulk_result *r)
{
    printf("{\"round\":%d,\"transport\":\"%s\",\"bytes\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f", round, transport,
           (unsigned long long)bytes, r->seconds, r->cpu_seconds);
}

static int run_tcp(const struct sockaddr_in *to, int round, uint64_t bytes)
{
    struct bulk_result r;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
        return fail("connecting", errno);
    struct bulk_stream s = bulk_over_tcp(&fd);
    int rc = bulk_send(&s, bytes, CHUNK_BYTES, &r);
    close(fd);
    if (rc < 0)
        return fail("sending over TCP", -rc);
    report(round, "tcp", bytes, &r);
    printf("}\n");
    return 0;
}

static struct vcl_session *attach(struct vcl_driver *d, const struct pmw_addr *to)
{
    struct vcl_peer peer = {.server_id = SERVER_ID, .nb_paths = 1};
    struct vcl_session *session;
    struct pmw_token t = {.key_id = KEY_ID,
                          .lifetime_s = 3600,
                          .max_conns = UINT16_MAX,
                          .server_id = SERVER_ID,
                          .service_id = SERVICE_ID,
                          .client_id = 1,
                          .not_before = (uint32_t)time(NULL)};
    peer.paths[0] = (struct vcl_path){.addr = *to, .rank = VCL_RANK_DIRECT};
    pmw_token_encode(peer.token, &t);
    pmw_token_mac(t.mac, k_srv, peer.token);
    pmw_token_encode(peer.token, &t);
    pmw_token_key(peer.token_key, k_srv, peer.token);
    return vcl_session_attach(d, &peer, &session) == 0 ? session : NULL;
}

static void report_stats(struct vcl_driver *d, const struct vcl_stats *before)
{
    struct vcl_stats e;
    struct vcl_io_stats io;
    vcl_driver_stats(d, &e, &io);
    printf(",\"stats\":{\"data_frames_out\":%llu,\"frames_resent\":%llu,\"frames_in\":%llu,\"ptos\":%llu",
           (unsigned long long)(e.data_frames_out - before->data_frames_out),
           (unsigned long long)(e.frames_resent - before->frames_resent),
           (unsigned long long)(e.frames_in - before->frames_in), (unsigned long long)(e.ptos - before->ptos));
#define VCL_X(name) printf(",\"%s\":%llu", #name, (unsigned long long)io.name);
    VCL_IO_COUNTERS(VCL_X)
#undef VCL_X
    printf("}");
}

static int run_vcl(struct vcl_driver *d, struct vcl_session *session, int round, uint64_t bytes)
{
    struct bulk_result r;
    struct vcl_sock *sock;
    struct vcl_stats before;
    struct vcl_io_stats io;
    vcl_driver_stats(d, &before, &io);
    int rc = vcl_sock_connect(d, session, &sock);
    if (rc == 0)
        rc = vcl_sock_connected(sock, vcl_clock_us() + BULK_PATIENCE_US);
    if (rc < 0)
        return fail("connecting a virtual connection", -rc);
    struct bulk_stream s = bulk_over_vcl(sock);
    rc = bulk_send(&s, bytes, CHUNK_BYTES, &r);
    vcl_sock_free(sock);
    if (rc < 0)
        return fail("sending over a virtual connection", -rc);
    report(round, "vcl", bytes, &r);
    report_stats(d, &before);
    printf("}\n");
    return 0;
}

static int run(const struct pmw_addr *to, const struct sockaddr_in *in, uint64_t bytes, int rounds)
{
    struct vcl_driver_config c;
    struct vcl_driver *d;
    struct pmw_addr any = {.family = 4};
    vcl_driver_config_defaults(&c);
    c.udp_fd = vcl_udp_open(&any);
    int rc = c.udp_fd < 0 ? c.udp_fd : vcl_driver_open(&d, &c);
    if (rc < 0)
        return fail("opening the driver", -rc);
    struct vcl_session *session = attach(d, to);
    rc = session == NULL ? fail("attaching a session", EINVAL) : 0;
    for (int round = 1; rc == 0 && round <= rounds; round++) {
        rc = run_tcp(in, round, bytes);
        if (rc == 0)
            rc = run_vcl(d, session, round, bytes);
        fflush(stdout);
    }
    vcl_driver_close(d, VCL_LINGER_US);
    (void)vcl_driver_join(d, vcl_clock_us() + 2 * VCL_LINGER_US);
    vcl_driver_free(d);
    return rc;
}

int main(int argc, char **argv)
{
    struct pmw_addr at;
    struct sockaddr_in in;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "serve") == 0 && parse_address(argv[2], argv[3], &at, &in))
        return serve(&at, &in);
    if (argc == 6 && strcmp(argv[1], "run") == 0 && parse_address(argv[2], argv[3], &at, &in)) {
        long mib = atol(argv[4]), rounds = atol(argv[5]);
        if (mib > 0 && rounds > 0)
            return run(&at, &in, (uint64_t)mib << 20, (int)rounds);
    }
    fprintf(stderr, "usage: vcl-bulk serve ADDRESS PORT | vcl-bulk run ADDRESS PORT MIB ROUNDS\n");
    return 2;
}
