/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket with real Unix sockets in one thread: lines in pieces, in bundles, too long, never read, too many
 * clients; each poll returns at once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "control.h"
#include "doorbell.h"

struct fixture {
    struct control *control;
    char directory[32], path[64];
    int nb_executed;
};

/* Answers `N bytes` with that many letters, anything else with itself. */
static size_t execute(void *ctx, char *line, char *answer, size_t cap)
{
    struct fixture *f = ctx;
    unsigned nb = 0;

    f->nb_executed++;
    if (sscanf(line, "%u bytes", &nb) == 1 && nb <= cap) {
        memset(answer, 'x', nb);
        return nb;
    }
    return (size_t)snprintf(answer, cap, "<%s>", line);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->directory, "/tmp/postman-control-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof(f->path), "%s/control.sock", f->directory);
    assert_int_equal(control_open(&f->control, f->path, execute, f), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    control_close(f->control);
    assert_int_equal(access(f->path, F_OK), -1); /* the socket is gone */
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

static int connect_client(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, f->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    control_poll(f->control, 0, DOORBELL_NONE);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect(const struct fixture *f, int fd, const char *text)
{
    char answer[512] = "";
    size_t len = 0;

    for (int polls = 0; polls < 20 && len < strlen(text); polls++) {
        control_poll(f->control, 0, DOORBELL_NONE);
        ssize_t got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
        len += got > 0 ? (size_t)got : 0;
    }
    assert_string_equal(answer, text);
}

static void test_is_private(void **state)
{
    struct fixture *f = *state;
    struct stat status;

    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_lines_in_pieces_and_in_bundles(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);

    say(fd, "on");
    control_poll(f->control, 0, DOORBELL_NONE);
    say(fd, "e\ntw");
    expect(f, fd, "<one>\n");
    say(fd, "o\na\nb\nc\nd\ne\nf\n");
    expect(f, fd, "<two>\n<a>\n<b>\n<c>\n<d>\n<e>\n<f>\n");
    close(fd);
}

static void test_an_overlong_line_gets_one_error(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);
    char text[CONTROL_LINE_BYTES_MAX * 3];

    memset(text, 'a', sizeof(text));
    memcpy(text + sizeof(text) - 7, "\nnext\n", 7);
    say(fd, text);
    expect(f, fd, "{\"ok\":false,\"error\":\"the line is too long\"}\n<next>\n");
    assert_int_equal(f->nb_executed, 1);
    close(fd);
}

static void test_a_client_that_does_not_read_blocks_nobody(void **state)
{
    struct fixture *f = *state;
    int stuck = connect_client(f), fd = connect_client(f);
    char request[] = "60000 bytes\n";

    for (int i = 0; i < 1000; i++) { /* until its socket is full of unread requests, too */
        if (send(stuck, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
            break;
        control_poll(f->control, 0, DOORBELL_NONE);
    }
    assert_true(f->nb_executed < 100);
    say(fd, "hello\n");
    expect(f, fd, "<hello>\n");
    close(stuck);
    say(fd, "again\n");
    expect(f, fd, "<again>\n");
    close(fd);
}

static void test_a_slow_reader_gets_all_of_its_answer(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);
    char piece[997];
    size_t total = 0;

    for (int i = 0; i < 20; i++)
        say(fd, "60000 bytes\n");
    for (int polls = 0; polls < 10000 && total < 20 * 60001; polls++) {
        control_poll(f->control, 0, DOORBELL_NONE);
        for (ssize_t got; (got = recv(fd, piece, sizeof(piece), 0)) > 0;)
            total += (size_t)got;
    }
    assert_int_equal(total, 20 * 60001);
    close(fd);
}

static void test_the_most_silent_client_gives_way(void **state)
{
    struct fixture *f = *state;
    int fds[CONTROL_CLIENTS_MAX], one_more;
    char byte;

    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        fds[i] = connect_client(f);
    say(fds[0], "here\n");
    expect(f, fds[0], "<here>\n");
    one_more = connect_client(f);
    say(one_more, "new\n");
    expect(f, one_more, "<new>\n");
    assert_int_equal(recv(fds[1], &byte, 1, 0), 0); /* hung up on */
    say(fds[0], "still here\n");
    expect(f, fds[0], "<still here>\n");
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
    close(one_more);
}

static void test_clients_that_vanish(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++) {
        int fd = connect_client(f);
        say(fd, i % 2 ? "half a li" : "60000 bytes\n60000 bytes\n60000 bytes\n60000 bytes\n60000 bytes\n");
        close(fd);
        control_poll(f->control, 0, DOORBELL_NONE);
    }
    int fd = connect_client(f);
    say(fd, "x\n");
    expect(f, fd, "<x>\n");
    close(fd);
}

static void test_wakes_early_for_its_doorbell(void **state)
{
    struct fixture *f = *state;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    assert_int_equal(write(pair[1], "!", 1), 1);
    control_poll(f->control, UINT64_C(3600000000), pair[0]); /* an hour, if it did not wake */
    close(pair[0]);
    close(pair[1]);
}

static void test_only_one_listens(void **state)
{
    struct fixture *f = *state;
    struct control *second;

    assert_int_equal(control_open(&second, f->path, execute, f), -EADDRINUSE);
}

static void test_a_left_over_socket_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct control *successor;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/left", f->directory);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd); /* as a killed worker leaves it: a file that nobody listens on */
    assert_int_equal(control_open(&successor, address.sun_path, execute, f), 0);
    control_close(successor);
}

static void test_other_files_are_not_touched(void **state)
{
    struct fixture *f = *state;
    struct control *control;
    char path[64];

    snprintf(path, sizeof(path), "%s/file", f->directory);
    fclose(fopen(path, "w"));
    assert_int_equal(control_open(&control, path, execute, f), -EEXIST);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/none/x", f->directory);
    assert_int_equal(control_open(&control, path, execute, f), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_is_private),
        TEST(test_lines_in_pieces_and_in_bundles),
        TEST(test_an_overlong_line_gets_one_error),
        TEST(test_a_client_that_does_not_read_blocks_nobody),
        TEST(test_a_slow_reader_gets_all_of_its_answer),
        TEST(test_the_most_silent_client_gives_way),
        TEST(test_clients_that_vanish),
        TEST(test_wakes_early_for_its_doorbell),
        TEST(test_only_one_listens),
        TEST(test_a_left_over_socket_is_replaced),
        TEST(test_other_files_are_not_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
