/* SPDX-License-Identifier: Apache-2.0
 *
 * What each control command does. See commands.h.
 */
#include "commands.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hex.h"
#include "reply.h"

enum { WORDS_MAX = 9, NEIGHBOURS_SHOWN_MAX = 400 };

struct words {
    const char *word[WORDS_MAX];
    int nb;
};

static void ok(struct reply *r)
{
    reply_open(r, NULL, '{');
    reply_bool(r, "ok", true);
}

static void refuse(struct reply *r, const char *cause)
{
    reply_open(r, NULL, '{');
    reply_bool(r, "ok", false);
    reply_string(r, "error", cause);
}

/* --- ping, stats, neighbours: what is ---------------------------------------------------------------------------- */

static void ping(struct worker *w, const struct words *in, struct reply *r)
{
    ok(r);
    reply_number(r, "helper_id", w->config->helper_id);
    reply_number(r, "incarnation", w->config->incarnation);
    reply_bool(r, "draining", w->draining);
}

static void show_drops(const struct worker *w, const struct relay_stats *relay, struct reply *r)
{
    reply_open(r, "drops", '{');
    for (int reason = 1; reason < RELAY_DROP_COUNT; reason++)
        reply_number(r, relay_drop_key((enum relay_drop)reason), relay->drops[reason]);
    for (int reason = 1; reason < WORKER_DROP_COUNT; reason++)
        reply_number(r, worker_drop_key((enum worker_drop)reason), w->stats.drops[reason]);
    reply_close(r, '}');
}

static void stats(struct worker *w, const struct words *in, struct reply *r)
{
    struct relay_stats relay;

    relay_stats_get(w->relay, &relay);
    ping(w, in, r);
    reply_share(r, "load", w->load.share);
    reply_number(r, "uptime_ms", (w->now_us - w->started_us) / 1000);
    reply_number(r, "nb_flows", relay.nb_flows);
    reply_number(r, "nb_servers", relay.nb_servers);
    reply_number(r, "nb_bindings", relay.nb_bindings);
    reply_number(r, "nb_held", relay.nb_held);
    reply_number(r, "trunk_rtt_us_max", relay.trunk_rtt_us_max);
    reply_number(r, "nb_neighbours", w->neighbours.nb_known);
#define RELAY_X(name) reply_number(r, #name, relay.name);
    RELAY_COUNTERS(RELAY_X)
#undef RELAY_X
#define WORKER_X(name) reply_number(r, #name, w->stats.name);
    WORKER_COUNTERS(WORKER_X)
#undef WORKER_X
    show_drops(w, &relay, r);
}

static void show_neighbour(const struct worker *w, const struct neighbour *n, struct reply *r)
{
    char ip[IP_TEXT_BYTES], mac[18];

    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4],
             n->mac[5]);
    reply_open(r, NULL, '{');
    reply_string(r, "ip", ip_text(n->ip, ip));
    if (n->state == NEIGHBOUR_KNOWN)
        reply_string(r, "mac", mac);
    reply_string(r, "state", n->state == NEIGHBOUR_ASKING ? "asking" : n->proven ? "proven" : "learned");
    reply_number(r, "used_ms_ago", (w->now_us - n->used_us) / 1000);
    reply_close(r, '}');
}

static void show_neighbours(struct worker *w, const struct words *in, struct reply *r)
{
    const struct neighbours *t = &w->neighbours;
    uint32_t shown = 0;

    ok(r);
    reply_number(r, "nb_known", t->nb_known);
    reply_number(r, "nb_asking", t->nb_asking);
    reply_open(r, "neighbours", '['); /* the first so many: an answer has a bound */
    for (uint32_t i = 0; i < t->nb_buckets * NEIGHBOUR_WAYS && shown < NEIGHBOURS_SHOWN_MAX; i++) {
        if (t->cells[i].state == NEIGHBOUR_FREE)
            continue;
        show_neighbour(w, &t->cells[i], r);
        shown++;
    }
    reply_close(r, ']');
}

/* --- server, drain, quit: what shall be -------------------------------------------------------------------------- */

static bool number(const char *word, unsigned long most, unsigned long *out)
{
    char *end;

    if (*word < '0' || *word > '9')
        return false;
    *out = strtoul(word, &end, 10);
    return *end == '\0' && *out <= most;
}

/* NULL, or why the words after `server set` name no server that we could reach. */
static const char *read_server(const struct worker *w, const char *const *word, struct relay_server *out)
{
    unsigned long id, shard, port;
    struct ip_addr ip;

    if (!number(word[0], 65535, &id) || id == 0)
        return "server_id must be from 1 to 65535";
    if (!number(word[1], 255, &shard))
        return "shard must be from 0 to 255";
    if (!ip_parse(word[2], &ip))
        return "ip must be an IP address";
    if (ip_is_v4(ip) != ip_is_v4(w->self.ip))
        return "ip must be of the IP version that this helper has";
    if (!station_is_host(&w->self, ip) || ip_equal(ip, w->self.ip))
        return "ip must name one other host";
    if (ip_is_none(station_next_hop(&w->self, ip)))
        return "ip is off the link and no gateway is configured";
    if (!number(word[3], 65535, &port) || port == 0)
        return "udp_port must be from 1 to 65535";
    if (!hex_decode(word[4], strlen(word[4]), out->trunk_key_to_server, 16) ||
        !hex_decode(word[5], strlen(word[5]), out->trunk_key_to_helper, 16))
        return "keys must have 32 hex digits each";
    out->server_id = (uint16_t)id;
    out->shard = (uint8_t)shard;
    out->addr = ip_to_addr(ip, (uint16_t)port);
    return NULL;
}

static void server_set(struct worker *w, const struct words *in, struct reply *r)
{
    struct relay_server server = {0};
    const char *wrong = read_server(w, in->word + 2, &server);

    if (wrong)
        return refuse(r, wrong);
    if (relay_server_set(w->relay, &server) < 0)
        return refuse(r, "the server table is full: raise servers_max");
    neighbours_expect(&w->neighbours, w->now_us, station_next_hop(&w->self, ip_of_addr(&server.addr)));
    ok(r);
}

static void server_remove(struct worker *w, const struct words *in, struct reply *r)
{
    unsigned long id;

    if (!number(in->word[2], 65535, &id) || id == 0)
        return refuse(r, "server_id must be from 1 to 65535");
    bool removed = relay_server_remove(w->relay, (uint16_t)id) == 0;
    ok(r);
    reply_bool(r, "removed", removed); /* false: there was none, which is what was wanted, too */
}

static void drain(struct worker *w, const struct words *in, struct reply *r)
{
    bool on = strcmp(in->word[1], "on") == 0;

    if (!on && strcmp(in->word[1], "off") != 0)
        return refuse(r, "drain on, or drain off");
    w->draining = on;
    relay_set_draining(w->relay, on);
    ok(r);
    reply_bool(r, "draining", on);
}

static void quit(struct worker *w, const struct words *in, struct reply *r)
{
    w->quit = true;
    ok(r);
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

static const struct command {
    const char *first, *second; /* second NULL: whatever comes */
    int nb_words;
    void (*run)(struct worker *w, const struct words *in, struct reply *r);
    const char *usage;
} COMMANDS[] = {
    {"ping", NULL, 1, ping, "ping"},
    {"stats", NULL, 1, stats, "stats"},
    {"neighbours", NULL, 1, show_neighbours, "neighbours"},
    {"server", "set", 8, server_set, "server set <server_id> <shard> <ip> <udp_port> <key_to_server> <key_to_helper>"},
    {"server", "remove", 3, server_remove, "server remove <server_id>"},
    {"drain", NULL, 2, drain, "drain on|off"},
    {"quit", NULL, 1, quit, "quit"},
};
enum { NB_COMMANDS = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

/* Cuts the line at blanks, in place; one word more than any command has is kept, to see that it is too many. */
static void split(char *line, struct words *out)
{
    char *rest = NULL;

    out->nb = 0;
    for (char *word = strtok_r(line, " \t\r", &rest); word && out->nb < WORDS_MAX;
         word = strtok_r(NULL, " \t\r", &rest))
        out->word[out->nb++] = word;
}

static bool matches(const struct command *c, const struct words *in)
{
    return in->nb > 0 && strcmp(in->word[0], c->first) == 0 &&
           (!c->second || (in->nb > 1 && strcmp(in->word[1], c->second) == 0));
}

static void run(struct worker *w, const struct words *in, struct reply *r)
{
    for (int i = 0; i < NB_COMMANDS; i++) {
        if (!matches(&COMMANDS[i], in))
            continue;
        if (in->nb != COMMANDS[i].nb_words)
            return refuse(r, COMMANDS[i].usage);
        return COMMANDS[i].run(w, in, r);
    }
    refuse(r, "unknown command: ping, stats, neighbours, server set, server remove, drain, quit");
}

size_t commands_execute(void *ctx, char *line, char *answer, size_t cap)
{
    struct words in;
    struct reply r;

    split(line, &in);
    reply_begin(&r, answer, cap);
    run(ctx, &in, &r);
    reply_close(&r, '}');
    if (r.cut) {
        reply_begin(&r, answer, cap);
        refuse(&r, "the answer is too long");
        reply_close(&r, '}');
    }
    return r.len;
}
