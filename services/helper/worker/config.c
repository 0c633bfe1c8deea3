/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration file: a table of options, and one reader for each kind of value. See config.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hex.h"
#include "parse.h"

enum { FILE_BYTES_MAX = 16384 };

enum kind { NUMBER, KEY, PREFIX, ADDRESS, TEXT, SWITCH, WORD, CPU };

static const struct option {
    enum kind kind;
    const char *key;
    size_t offset;
    uint64_t least, most;
    const char *standard, *help;
} OPTIONS[] = {
#define CONFIG_X(kind, key, field, least, most, standard, help)                                                        \
    {kind, key, offsetof(struct worker_config, field), least, most, standard, help},
    CONFIG_OPTIONS(CONFIG_X)
#undef CONFIG_X
};
enum { NB_OPTIONS = sizeof(OPTIONS) / sizeof(OPTIONS[0]) };

static int fail(char *error, size_t cap, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, cap, format, args);
    va_end(args);
    return -1;
}

/* --- one value --------------------------------------------------------------------------------------------------- */

static bool read_number(const struct option *o, const char *value, uint32_t *out)
{
    char *end;

    if (*value < '0' || *value > '9')
        return false;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (errno != 0 || *end != '\0' || number < o->least || number > o->most)
        return false;
    *out = (uint32_t)number;
    return true;
}

static bool read_address(const char *value, struct ip_addr *out)
{
    return ip_parse(value, out) && ip_is_unicast(*out);
}

/* Fills ip and prefix_len. IPv4 has 32 bits, the last two of which are hosts. */
static bool read_prefix(const struct option *o, const char *value, struct worker_config *config)
{
    enum { IPV4_MOST = 30, IPV4_OFFSET = 96 };
    char address[IP_TEXT_BYTES];
    const char *slash = strchr(value, '/');

    if (!slash || (size_t)(slash - value) >= sizeof(address))
        return false;
    memcpy(address, value, (size_t)(slash - value));
    address[slash - value] = '\0';
    if (!read_address(address, &config->ip) || !read_number(o, slash + 1, &config->prefix_len))
        return false;
    if (!ip_is_v4(config->ip))
        return true;
    config->prefix_len += IPV4_OFFSET;
    return config->prefix_len <= IPV4_OFFSET + IPV4_MOST;
}

static bool read_word(const char *value, const char *no, const char *yes, uint32_t *out)
{
    *out = strcmp(value, yes) == 0;
    return *out || strcmp(value, no) == 0;
}

static bool read_switch(const char *value, uint32_t *out)
{
    return read_word(value, "no", "yes", out) || read_word(value, "0", "1", out);
}

static bool read_text(const struct option *o, const char *value, char *out)
{
    size_t len = strlen(value);

    if (len < o->least || len > o->most)
        return false;
    memcpy(out, value, len + 1);
    return true;
}

static bool read_value(const struct option *o, const char *value, struct worker_config *config)
{
    void *field = (uint8_t *)config + o->offset;

    switch (o->kind) {
    case NUMBER:
        return read_number(o, value, field);
    case KEY:
        return hex_decode(value, strlen(value), field, 16);
    case PREFIX:
        return read_prefix(o, value, config);
    case ADDRESS:
        return *value == '\0' || read_address(value, field);
    case TEXT:
        return read_text(o, value, field);
    case SWITCH:
        return read_switch(value, field);
    case WORD:
        return read_word(value, "sleep", "spin", field);
    case CPU:
        if (strcmp(value, "any") != 0)
            return read_number(o, value, field);
        *(uint32_t *)field = CONFIG_CPU_ANY;
        return true;
    }
    return false;
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

static int refuse_value(const struct option *o, unsigned line, char *error, size_t cap)
{
    if (o->kind == NUMBER || o->kind == CPU)
        return fail(error, cap, "line %u: %s must be from %llu to %llu (%s)", line, o->key,
                    (unsigned long long)o->least, (unsigned long long)o->most, o->help);
    if (o->kind == PREFIX)
        return fail(error, cap, "line %u: %s must be an address of a host with its prefix length (%s)", line, o->key,
                    o->help);
    if (o->kind == TEXT)
        return fail(error, cap, "line %u: %s must have from %llu to %llu characters (%s)", line, o->key,
                    (unsigned long long)o->least, (unsigned long long)o->most, o->help);
    return fail(error, cap, "line %u: %s is not valid (%s)", line, o->key,
                o->help); /* never the value: it may be a key */
}

static int parse_line(struct worker_config *config, char *line, unsigned number, bool *seen, char *error, size_t cap)
{
    if (line[0] == '\0' || line[0] == '#')
        return 0;
    char *equals = strchr(line, '=');
    if (!equals)
        return fail(error, cap, "line %u: not key=value", number);
    *equals = '\0';
    for (int i = 0; i < NB_OPTIONS; i++) {
        if (strcmp(OPTIONS[i].key, line) != 0)
            continue;
        if (seen[i])
            return fail(error, cap, "line %u: %s is given twice", number, line);
        seen[i] = true;
        return read_value(&OPTIONS[i], equals + 1, config) ? 0 : refuse_value(&OPTIONS[i], number, error, cap);
    }
    return fail(error, cap, "line %u: unknown key '%.40s'", number, line);
}

static int set_standards(struct worker_config *config, const bool *seen, char *error, size_t cap)
{
    for (int i = 0; i < NB_OPTIONS; i++) {
        if (seen[i])
            continue;
        if (!OPTIONS[i].standard)
            return fail(error, cap, "%s is missing (%s)", OPTIONS[i].key, OPTIONS[i].help);
        if (!read_value(&OPTIONS[i], OPTIONS[i].standard, config))
            return fail(error, cap, "the standard value of %s is beyond its limits", OPTIONS[i].key);
    }
    return 0;
}

static int check_together(const struct worker_config *c, char *error, size_t cap)
{
    const struct station self = {.ip = c->ip, .mask = ip_mask(c->prefix_len)};

    if (!station_is_host(&self, c->ip))
        return fail(error, cap, "data_address is its network's own or broadcast address");
    if (!ip_is_none(c->gateway) &&
        (!station_on_link(&self, c->gateway) || !station_is_host(&self, c->gateway) || ip_equal(c->gateway, c->ip)))
        return fail(error, cap, "gateway must be another host of data_address's network");
    if (c->client_port == c->trunk_port)
        return fail(error, cap, "client_port and trunk_port must differ");
    if (c->flows_max & (c->flows_max - 1))
        return fail(error, cap, "flows_max must be a power of two");
    return 0;
}

int config_parse(struct worker_config *out, const char *text, char *error, size_t error_cap)
{
    bool seen[NB_OPTIONS] = {false};
    char line[512];
    unsigned number = 0;

    *out = (struct worker_config){0};
    while (*text) {
        size_t len = strcspn(text, "\n"), kept = len > 0 && text[len - 1] == '\r' ? len - 1 : len;
        number++;
        if (kept >= sizeof(line))
            return fail(error, error_cap, "line %u is longer than %zu characters", number, sizeof(line) - 1);
        memcpy(line, text, kept);
        line[kept] = '\0';
        if (parse_line(out, line, number, seen, error, error_cap) < 0)
            return -1;
        text += len + (text[len] == '\n');
    }
    return set_standards(out, seen, error, error_cap) < 0 ? -1 : check_together(out, error, error_cap);
}

/* --- file -------------------------------------------------------------------------------------------------------- */

static int check_private(int fd, const char *path, char *error, size_t cap)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return fail(error, cap, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return fail(error, cap, "%s is not a file", path);
    if (status.st_mode & (S_IRWXG | S_IRWXO))
        return fail(error, cap, "%s holds a key and others may read it: chmod 600 it", path);
    return 0;
}

int config_load(struct worker_config *out, const char *path, char *error, size_t error_cap)
{
    char text[FILE_BYTES_MAX + 1];
    ssize_t len = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return fail(error, error_cap, "%s: %s", path, strerror(errno));
    int result = check_private(fd, path, error, error_cap);
    if (result == 0 && (len = read(fd, text, sizeof(text))) < 0)
        result = fail(error, error_cap, "%s: %s", path, strerror(errno));
    close(fd);
    if (result < 0)
        return result;
    if ((size_t)len == sizeof(text) || memchr(text, '\0', (size_t)len))
        return fail(error, error_cap, "%s is not a text of at most %d bytes", path, FILE_BYTES_MAX);
    text[len] = '\0';
    result = config_parse(out, text, error, error_cap);
    explicit_bzero(text, sizeof(text));
    return result;
}
