/* SPDX-License-Identifier: Apache-2.0
 *
 * See control.h. */
#include "control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUEUE_MAX = 64 };

static struct {
    pthread_mutex_t lock;
    struct order orders[QUEUE_MAX];
    unsigned first, nb;
    bool (*at_once)(const struct order *o);
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void enqueue(const struct order *o)
{
    pthread_mutex_lock(&queue.lock);
    if (queue.nb < QUEUE_MAX) {
        queue.orders[(queue.first + queue.nb) % QUEUE_MAX] = *o;
        queue.nb++;
    }
    pthread_mutex_unlock(&queue.lock);
}

bool control_next(struct order *out)
{
    pthread_mutex_lock(&queue.lock);
    bool found = queue.nb > 0;
    if (found) {
        *out = queue.orders[queue.first];
        queue.first = (queue.first + 1) % QUEUE_MAX;
        queue.nb--;
    }
    pthread_mutex_unlock(&queue.lock);
    return found;
}

static void parse(char *line, struct order *o)
{
    char *rest, *word = strtok_r(line, " \n", &rest);
    size_t at = 0;
    memset(o, 0, sizeof(*o));
    if (word == NULL)
        return;
    strncpy(o->word, word, sizeof(o->word) - 1);
    while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
        size_t len = strlen(word) + 1;
        if (at + len + 1 > sizeof(o->pairs))
            return;
        memcpy(o->pairs + at, word, len);
        at += len;
    }
}

/* A line of standard input; false: it has ended. Not by stdio: exit() waits for the lock of each stream (glibc 2.41),
 * and the thread that waits for orders would have one. */
static bool read_line(char *line, size_t cap)
{
    size_t len = 0;
    while (len + 1 < cap) {
        ssize_t n = read(STDIN_FILENO, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || line[len++] == '\n')
            break;
    }
    line[len] = '\0';
    return len > 0;
}

static void *run(void *arg)
{
    static char line[ORDER_BYTES_MAX];
    static struct order o;
    while (read_line(line, sizeof(line))) {
        parse(line, &o);
        if (o.word[0] != '\0' && !queue.at_once(&o))
            enqueue(&o);
    }
    memset(&o, 0, sizeof(o));
    strcpy(o.word, "finish");
    enqueue(&o);
    return NULL;
}

void control_start(bool (*at_once)(const struct order *o))
{
    pthread_t thread;
    queue.at_once = at_once;
    if (pthread_create(&thread, NULL, run, NULL) != 0)
        abort();
    pthread_detach(thread);
}

/* --- values ------------------------------------------------------------------------------------------- */
static const char *value_of(const char *pair, const char *key)
{
    size_t len = strlen(key);
    return strncmp(pair, key, len) == 0 && pair[len] == '=' ? pair + len + 1 : NULL;
}

const char *order_text(const struct order *o, const char *key)
{
    for (const char *pair = o->pairs; *pair != '\0'; pair += strlen(pair) + 1)
        if (value_of(pair, key) != NULL)
            return value_of(pair, key);
    return NULL;
}

uint64_t order_number(const struct order *o, const char *key, uint64_t otherwise)
{
    const char *text = order_text(o, key);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

bool order_bytes(const struct order *o, const char *key, uint8_t *out, size_t len)
{
    const char *text = order_text(o, key);
    if (text == NULL || strlen(text) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        out[i] = (uint8_t)byte;
    }
    return true;
}

bool parse_addr(const char *address, uint16_t port, struct pmw_addr *out)
{
    memset(out, 0, sizeof(*out));
    out->port = port;
    out->family = strchr(address, ':') != NULL ? 6 : 4;
    return inet_pton(out->family == 6 ? AF_INET6 : AF_INET, address, out->ip) == 1;
}

uint8_t order_paths(const struct order *o, struct vcl_path out[VCL_PATHS_MAX])
{
    uint8_t n = 0;
    for (const char *pair = o->pairs; *pair != '\0' && n < VCL_PATHS_MAX; pair += strlen(pair) + 1) {
        char address[64];
        unsigned helper, port, rank;
        const char *value = value_of(pair, "path");
        if (value == NULL || sscanf(value, "%u,%63[^,],%u,%u", &helper, address, &port, &rank) != 4)
            continue;
        out[n] = (struct vcl_path){.helper_id = (uint16_t)helper, .rank = (uint8_t)rank};
        n += parse_addr(address, (uint16_t)port, &out[n].addr);
    }
    return n;
}

/* --- what is said -------------------------------------------------------------------------------------- */
void say(const char *format, ...)
{
    char line[16384];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    puts(line); /* one call a line: threads do not mix theirs */
    fflush(stdout);
}

void say_counters(struct vcl_driver *d)
{
    struct vcl_stats e;
    struct vcl_io_stats io;
    char text[8192];
    size_t at = 0;
    vcl_driver_stats(d, &e, &io);
#define VCL_X(name)                                                                                                    \
    at += (size_t)snprintf(text + at, sizeof(text) - at, "\"%s\":%llu,", #name, (unsigned long long)e.name);
    VCL_COUNTERS(VCL_X)
#undef VCL_X
#define VCL_X(name)                                                                                                    \
    at += (size_t)snprintf(text + at, sizeof(text) - at, "\"io_%s\":%llu,", #name, (unsigned long long)io.name);
    VCL_IO_COUNTERS(VCL_X)
#undef VCL_X
#define VCL_X(drop, key, about)                                                                                        \
    at += (size_t)snprintf(text + at, sizeof(text) - at, "\"drop_%s\":%llu,", key, (unsigned long long)e.drops[drop]);
    VCL_DROPS(VCL_X)
#undef VCL_X
    say("{\"stats\":{%s\"sessions\":%u,\"connections\":%u,\"at_us\":%llu}}", text, e.nb_sessions, e.nb_conns,
        (unsigned long long)vcl_clock_us());
}
