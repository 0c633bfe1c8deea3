/* SPDX-License-Identifier: Apache-2.0
 *
 * See wait.h. */
#include "wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void futex_wake(_Atomic uint32_t *word, int nb_threads)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nb_threads, NULL, NULL, 0);
}

int vcl__wait_sleep(struct vcl_wait *w, pthread_mutex_t *lock, uint64_t deadline_us)
{
    struct timespec deadline = vcl__clock_timespec(deadline_us);
    uint32_t turn = atomic_load_explicit(&w->turns, memory_order_relaxed);
    int error = 0;
    w->nb_sleepers++;
    pthread_mutex_unlock(lock);
    /* The bitset form takes an absolute CLOCK_MONOTONIC time. */
    if (syscall(SYS_futex, &w->turns, FUTEX_WAIT_BITSET_PRIVATE, turn, deadline_us == VCL_NEVER ? NULL : &deadline,
                NULL, FUTEX_BITSET_MATCH_ANY) < 0)
        error = errno;
    pthread_mutex_lock(lock);
    w->nb_sleepers--;
    return error == EINTR ? -EINTR : error == ETIMEDOUT ? -ETIME : 0;
}

void vcl__wait_wake(struct vcl_wait *w, struct vcl_wakes *wakes, int nb_threads)
{
    atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
    if (w->polled_fd > 0) {
        uint64_t one = 1;
        ssize_t n = write(w->polled_fd, &one, sizeof(one)); /* full: it is readable anyway */
        (void)n;
    }
    if (w->nb_sleepers == 0)
        return;
    if (wakes->nb == VCL_WAKES_MAX) {
        futex_wake(&w->turns, nb_threads);
        return;
    }
    wakes->list[wakes->nb].turns = &w->turns;
    wakes->list[wakes->nb].nb_threads = nb_threads;
    wakes->nb++;
}

void vcl__wakes_deliver(const struct vcl_wakes *wakes)
{
    for (uint32_t i = 0; i < wakes->nb; i++)
        futex_wake(wakes->list[i].turns, wakes->list[i].nb_threads);
}
