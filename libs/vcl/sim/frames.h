/* SPDX-License-Identifier: Apache-2.0
 *
 * What a datagram at the server carries: one C-frame, or a batch of them, whole or short (T6).
 */
#ifndef SIM_FRAMES_H
#define SIM_FRAMES_H

#include "postman/wire.h"

struct simulation;
struct checkers;

/* addr: the client's, as the batch's entry or the datagram has it. */
typedef void frame_visitor(struct simulation *sim, const uint8_t *frame, size_t len, uint16_t path,
                           const struct pmw_addr *addr);

/* Calls visit for the C-frame, or for each of the batch. A batch names its helper itself: its address may be that of a
 * replayed copy until the helper's next batch. Returns how many short entries mean nothing: no BIND that was read from
 * that process of the helper says what. */
uint32_t frames_each(struct simulation *sim, const uint8_t *buf, size_t len, uint16_t path, const struct pmw_addr *addr,
                     frame_visitor *visit);
/* Takes the BINDs of a batch that the server has read: what short entries mean from then on. */
void frames_bind(struct checkers *k, const struct pmw_trunk *trunk, const uint8_t *buf, size_t len);

#endif
