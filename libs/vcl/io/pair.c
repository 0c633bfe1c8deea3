/* SPDX-License-Identifier: Apache-2.0
 *
 * See pair.h. */
#include "pair.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SERVER_ID = 7, KEY_ID = 1, SERVICE_ID = 99 };
static const uint8_t k_srv[PMW_KEY_BYTES] = "the key of the tests";

#define MUST(expr)                                                                                                     \
    do {                                                                                                               \
        long long must_ = (expr);                                                                                      \
        if (must_ < 0) {                                                                                               \
            fprintf(stderr, "%s: %s\n", #expr, strerror((int)-must_));                                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

uint64_t in_seconds(double s)
{
    return vcl_clock_us() + (uint64_t)(s * 1e6);
}

static void make_token(uint8_t token[PMW_TOKEN_BYTES], uint8_t token_key[PMW_KEY_BYTES])
{
    struct pmw_token t = {.key_id = KEY_ID,
                          .lifetime_s = 3600,
                          .max_conns = UINT16_MAX,
                          .server_id = SERVER_ID,
                          .service_id = SERVICE_ID,
                          .client_id = 1,
                          .not_before = (uint32_t)time(NULL)};
    pmw_token_encode(token, &t);
    pmw_token_mac(t.mac, k_srv, token);
    pmw_token_encode(token, &t);
    pmw_token_key(token_key, k_srv, token);
}

static int loopback_socket(struct pmw_addr *bound)
{
    struct pmw_addr any_port = {.ip = {127, 0, 0, 1}, .family = 4};
    int fd = vcl_udp_open(&any_port);
    MUST(fd);
    MUST(vcl_udp_local_addr(fd, bound));
    return fd;
}

void pair_open(struct pair *p, const struct vcl_driver_config *settings)
{
    struct vcl_driver_config c;
    struct pmw_addr client_addr;
    memset(p, 0, sizeof(*p));
    if (settings != NULL)
        c = *settings;
    else
        vcl_driver_config_defaults(&c);
    c.udp_fd = loopback_socket(&client_addr);
    MUST(vcl_driver_open(&p->client, &c));
    c.engine.server_id = SERVER_ID;
    c.engine.service_id = SERVICE_ID;
    c.engine.incarnation = 1;
    c.engine.nb_keys = 1;
    c.engine.keys[0].key_id = KEY_ID;
    memcpy(c.engine.keys[0].key, k_srv, sizeof(k_srv));
    c.udp_fd = loopback_socket(&p->server_addr);
    MUST(vcl_driver_open(&p->server, &c));

    struct vcl_peer peer = {.server_id = SERVER_ID, .nb_paths = 1};
    peer.paths[0].addr = p->server_addr;
    make_token(peer.token, peer.token_key);
    MUST(vcl_session_attach(p->client, &peer, &p->session));
}

void pair_close(struct pair *p)
{
    vcl_driver_close(p->client, VCL_LINGER_US);
    MUST(vcl_driver_join(p->client, in_seconds(10)));
    vcl_driver_close(p->server, VCL_LINGER_US);
    MUST(vcl_driver_join(p->server, in_seconds(10)));
    vcl_driver_free(p->client);
    vcl_driver_free(p->server);
}

void pair_connect(struct pair *p, struct vcl_sock **client, struct vcl_sock **server)
{
    MUST(vcl_sock_connect(p->client, p->session, client));
    MUST(vcl_sock_connected(*client, in_seconds(10)));
    MUST(vcl_sock_accept(p->server, server, in_seconds(10)));
}

void link_open(struct link *l, const struct vcl_driver_config *settings)
{
    pair_open(&l->pair, settings);
    pair_connect(&l->pair, &l->c, &l->s);
}

void link_close(struct link *l)
{
    vcl_sock_free(l->c);
    vcl_sock_free(l->s);
    pair_close(&l->pair);
}

int64_t put(struct vcl_sock *s, const void *bytes, size_t len, unsigned flags, uint64_t deadline)
{
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    return vcl_sock_send(s, &iov, 1, flags, deadline);
}
