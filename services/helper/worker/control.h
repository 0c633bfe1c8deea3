/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket: a Unix stream socket (mode 0600), a request per line, an answer per line. Served by the poll
 * loop, which never waits for a client: a client that does not read its answer gets no further ones, one that sends an
 * overlong line gets an error, and a new client takes the place of the one that was silent longest when all are taken.
 */
#ifndef POSTMAN_CONTROL_H
#define POSTMAN_CONTROL_H

#include <stddef.h>
#include <stdint.h>

struct control;

enum {
    CONTROL_CLIENTS_MAX = 8,
    CONTROL_LINE_BYTES_MAX = 512, /* the longest request, `server set`, has about 120 */
    CONTROL_ANSWER_BYTES_MAX = 65536,
};

/* Answers one request: writes at most cap bytes without a newline, returns their number. */
typedef size_t control_execute(void *ctx, char *line, char *answer, size_t cap);

/* 0, or -errno: -EADDRINUSE when another process listens there. A dead process's socket is replaced. */
int control_open(struct control **out, const char *path, control_execute *execute, void *ctx);
/* Serves what is there. Waits for it up to wait_us, or until wake_fd (-1: none) is readable: so an idle worker sleeps.
 */
void control_poll(struct control *c, uint64_t wait_us, int wake_fd);
/* Closes all and removes the socket. */
void control_close(struct control *c);

#endif
