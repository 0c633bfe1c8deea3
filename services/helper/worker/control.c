/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket's clients and lines. See control.h.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Requests of one client served in a row: a client that pipelines must not keep the data waiting. */
#define LINES_PER_POLL 4

struct client {
    int fd;         /* -1: free */
    uint64_t heard; /* serial number of the last request, to find the most silent one */
    size_t line_len, answer_len, answer_at;
    bool overlong; /* skipping to the end of a line that did not fit */
    char line[CONTROL_LINE_BYTES_MAX + 1];
    char answer[CONTROL_ANSWER_BYTES_MAX];
};

struct control {
    struct sockaddr_un address;
    control_execute *execute;
    void *ctx;
    uint64_t serial;
    int listener;
    struct client clients[CONTROL_CLIENTS_MAX];
};

/* --- the socket -------------------------------------------------------------------------------------------------- */

/* A socket file that nobody listens on is left over from a killed worker. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!refused)
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

static int listen_at(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0177); /* 0600 from the first moment */
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
    umask(mask);
    if (result == 0 && listen(fd, CONTROL_CLIENTS_MAX) < 0) {
        result = -errno;
        unlink(address->sun_path);
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

int control_open(struct control **out, const char *path, control_execute *execute, void *ctx)
{
    struct control *c = calloc(1, sizeof(*c));
    int result = -ENAMETOOLONG;

    if (!c)
        return -ENOMEM;
    *c = (struct control){.address = {.sun_family = AF_UNIX}, .execute = execute, .ctx = ctx};
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    if (strlen(path) < sizeof(c->address.sun_path)) {
        memcpy(c->address.sun_path, path, strlen(path) + 1);
        result = remove_stale(&c->address);
        if (result == 0)
            result = c->listener = listen_at(&c->address);
    }
    if (result < 0) {
        free(c);
        return result;
    }
    *out = c;
    return 0;
}

void control_close(struct control *c)
{
    if (!c)
        return;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].fd >= 0)
            close(c->clients[i].fd);
    close(c->listener);
    unlink(c->address.sun_path);
    free(c);
}

/* --- one client -------------------------------------------------------------------------------------------------- */

static void hang_up(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

static void take_new_client(struct control *c)
{
    int fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *place = &c->clients[0];

    if (fd < 0)
        return;
    for (int i = 0; i < CONTROL_CLIENTS_MAX && place->fd >= 0; i++)
        if (c->clients[i].fd < 0 || c->clients[i].heard < place->heard)
            place = &c->clients[i];
    if (place->fd >= 0)
        hang_up(place);
    place->fd = fd;
    place->heard = ++c->serial;
    place->line_len = place->answer_len = place->answer_at = 0;
    place->overlong = false;
}

static void answer_line(struct control *c, struct client *client, char *line)
{
    size_t len;

    client->heard = ++c->serial;
    if (client->overlong) {
        static const char too_long[] = "{\"ok\":false,\"error\":\"the line is too long\"}";
        len = sizeof(too_long) - 1;
        memcpy(client->answer, too_long, len);
    } else {
        len = c->execute(c->ctx, line, client->answer, sizeof(client->answer) - 1);
    }
    client->overlong = false;
    client->answer[len] = '\n';
    client->answer_len = len + 1;
    client->answer_at = 0;
}

/* The answer leaves as far as the client takes it. False: the client is gone. */
static bool write_answer(struct client *client)
{
    while (client->answer_at < client->answer_len) {
        ssize_t sent = send(client->fd, client->answer + client->answer_at, client->answer_len - client->answer_at,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        client->answer_at += (size_t)sent;
    }
    client->answer_len = client->answer_at = 0;
    return true;
}

/* Answers the complete lines that are there, one after the other, as long as their answers leave. */
static bool serve_lines(struct control *c, struct client *client)
{
    for (int served = 0; served < LINES_PER_POLL && client->answer_len == 0; served++) {
        char *end = memchr(client->line, '\n', client->line_len);
        if (!end)
            break;
        *end = '\0';
        answer_line(c, client, client->line);
        client->line_len -= (size_t)(end + 1 - client->line);
        memmove(client->line, end + 1, client->line_len);
        if (!write_answer(client))
            return false;
    }
    if (client->line_len == CONTROL_LINE_BYTES_MAX && !memchr(client->line, '\n', client->line_len)) {
        client->overlong = true;
        client->line_len = 0;
    }
    return true;
}

static bool read_lines(struct client *client)
{
    size_t room = CONTROL_LINE_BYTES_MAX - client->line_len;

    if (room == 0)
        return true;
    ssize_t len = recv(client->fd, client->line + client->line_len, room, MSG_DONTWAIT);
    if (len <= 0)
        return len < 0 && (errno == EAGAIN || errno == EINTR);
    client->line_len += (size_t)len;
    return true;
}

static void serve(struct control *c, struct client *client, short events)
{
    bool alive = write_answer(client);

    if (alive && client->answer_len == 0 && events & (POLLIN | POLLHUP | POLLERR))
        alive = read_lines(client);
    if (alive)
        alive = serve_lines(c, client);
    if (!alive)
        hang_up(client);
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static bool has_whole_line(const struct client *client)
{
    return memchr(client->line, '\n', client->line_len) != NULL;
}

static short events_wanted(const struct client *client)
{
    return client->answer_len > 0 ? POLLOUT : POLLIN;
}

void control_poll(struct control *c, uint64_t wait_us, int wake_fd)
{
    enum { LISTENER = CONTROL_CLIENTS_MAX, WAKE, NB_FDS };
    struct pollfd fds[NB_FDS] = {
        [LISTENER] = {.fd = c->listener, .events = POLLIN}, [WAKE] = {.fd = wake_fd, .events = POLLIN}};
    bool waiting_lines = false;

    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        const struct client *client = &c->clients[i];
        fds[i] = (struct pollfd){.fd = client->fd, .events = events_wanted(client)};
        waiting_lines |= client->fd >= 0 && client->answer_len == 0 && has_whole_line(client);
    }
    const struct timespec wait = {.tv_sec = (time_t)(wait_us / 1000000), .tv_nsec = (long)(wait_us % 1000000) * 1000};
    const struct timespec none = {0};
    if (ppoll(fds, NB_FDS, waiting_lines ? &none : &wait, NULL) <= 0 && !waiting_lines)
        return;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) /* before a newcomer may take a place */
        if (c->clients[i].fd >= 0)
            serve(c, &c->clients[i], fds[i].revents);
    if (fds[LISTENER].revents & POLLIN)
        take_new_client(c);
}
