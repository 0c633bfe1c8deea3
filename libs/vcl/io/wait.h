/* SPDX-License-Identifier: Apache-2.0
 *
 * Where application threads sleep: a futex word that only moves under the driver's lock. A futex and not a condition
 * variable, because a caught signal must end the sleep (-EINTR), so that Ctrl-C works in a blocked call. */
#ifndef VCL_IO_WAIT_H
#define VCL_IO_WAIT_H

#include "clock.h"

#include <pthread.h>
#include <stdatomic.h>

struct vcl_wait {
    _Atomic uint32_t turns; /* moves at each wake-up */
    uint32_t nb_sleepers;   /* under the lock, as is: */
    int polled_fd;          /* > 0: one thread waits for it in poll and reads this eventfd too (lead.c) */
};

/* Wake-ups decided under the lock and done after it, so that nobody wakes into a held lock. */
#define VCL_WAKES_MAX 64
struct vcl_wakes {
    uint32_t nb;
    struct {
        _Atomic uint32_t *turns;
        int nb_threads;
    } list[VCL_WAKES_MAX];
};

/* Called with the lock held, returns with the lock held: 0 (look again; it may be a false alarm), -EINTR, -ETIME. */
int vcl__wait_sleep(struct vcl_wait *w, pthread_mutex_t *lock, uint64_t deadline_us);
/* With the lock held: the sleepers will be woken by vcl__wakes_deliver. */
void vcl__wait_wake(struct vcl_wait *w, struct vcl_wakes *wakes, int nb_threads);
/* Without the lock, from a copy taken under it. A stale address is harmless: every sleeper looks again. */
void vcl__wakes_deliver(const struct vcl_wakes *wakes);

#endif
