/* SPDX-License-Identifier: Apache-2.0
 *
 * A descriptor that shows a connection's readiness to the kernel's pollers: one end of a Unix socket pair.
 *     readable      a byte waits in it
 *     not writable  its send buffer is full of our padding
 *     end of stream our end is shut for writing      (POLLIN | POLLRDHUP)
 *     over          our end is shut both ways        (POLLIN | POLLOUT | POLLHUP)
 * A system call only at a change. An eventfd could not be unready both ways at once. */
#ifndef VCL_IO_MIRROR_H
#define VCL_IO_MIRROR_H

#include <stdbool.h>

struct vcl_mirror {
    int app, own;                         /* -1 = not open */
    bool readable, writable, ended, over; /* what it shows */
};

struct vcl_readiness {
    bool readable, writable, ended, over;
};

int vcl__mirror_open(struct vcl_mirror *m); /* shows: writable. 0 or -errno */
void vcl__mirror_show(struct vcl_mirror *m, struct vcl_readiness r);
void vcl__mirror_close(struct vcl_mirror *m);

#endif
