/* SPDX-License-Identifier: Apache-2.0
 *
 * The load generator: `vcl-load client|server HISTORY [REPLIES]`. See control.h for what it is told and how. */
#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc < 3 || (strcmp(argv[1], "client") != 0 && strcmp(argv[1], "server") != 0)) {
        fprintf(stderr, "usage: vcl-load client|server HISTORY [REPLIES]; ./postman bench runs it\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C goes to the whole group: the front end decides what it means */
    return argv[1][0] == 'c' ? load_client(argv[2], argc > 3 ? argv[3] : NULL) : load_server(argv[2]);
}
