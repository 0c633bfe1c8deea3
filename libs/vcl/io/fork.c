/* SPDX-License-Identifier: Apache-2.0
 *
 * After a fork the parent goes on alone: the child has no thread to drive the engine, and two processes must not send
 * on one connection. The child closes its copies of the drivers' descriptors (else the UDP port would outlive the
 * parent) and every call on an inherited handle answers -EBADF; it sends nothing, not even when it exits. */
#include "driver.h"

#include <unistd.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct vcl_driver *drivers;
static _Atomic uint32_t generation; /* counts the forks between the first process and this one */

static void before_fork(void)
{
    pthread_mutex_lock(&list_lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&list_lock);
}

static void after_fork_child(void)
{
    atomic_fetch_add(&generation, 1);
    for (struct vcl_driver *d = drivers; d != NULL; d = d->next) {
        close(d->udp.fd);
        close(d->epoll_fd);
        close(d->wake_fd);
        close(d->timer_fd);
        close(d->lead_fd);
        if (d->accept_fd >= 0)
            close(d->accept_fd);
    }
    drivers = NULL;
    pthread_mutex_unlock(&list_lock);
}

static void install(void)
{
    (void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void vcl__fork_register(struct vcl_driver *d)
{
    pthread_once(&once, install);
    pthread_mutex_lock(&list_lock);
    d->fork_generation = atomic_load(&generation);
    d->next = drivers;
    d->prev = NULL;
    if (drivers != NULL)
        drivers->prev = d;
    drivers = d;
    pthread_mutex_unlock(&list_lock);
}

void vcl__fork_unregister(struct vcl_driver *d)
{
    pthread_mutex_lock(&list_lock);
    if (d->prev != NULL)
        d->prev->next = d->next;
    else
        drivers = d->next;
    if (d->next != NULL)
        d->next->prev = d->prev;
    pthread_mutex_unlock(&list_lock);
}

bool vcl_driver_is_ours(const struct vcl_driver *d)
{
    return d->fork_generation == atomic_load_explicit(&generation, memory_order_relaxed);
}
