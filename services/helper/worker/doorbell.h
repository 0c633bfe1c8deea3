/* SPDX-License-Identifier: Apache-2.0
 *
 * What wakes an idle worker when a packet arrives. DPDK's drivers for kernel interfaces poll a socket of theirs that a
 * sleeper may wait on, but have no call that tells it; so it is looked for among this process's files. With it an idle
 * worker sleeps and is woken at once; without it (a NIC, a test device) it naps and looks.
 */
#ifndef POSTMAN_DOORBELL_H
#define POSTMAN_DOORBELL_H

#define DOORBELL_NONE (-1)

/* The socket of the port's driver, which has just been started; DOORBELL_NONE if it has none. It stays the driver's. */
int doorbell_find(void);

#endif
