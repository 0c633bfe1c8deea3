/* SPDX-License-Identifier: Apache-2.0
 *
 * See pacing.h.
 */
#include "pacing.h"

/* Microseconds in which the rate sends so many bytes: bytes * srtt / (gain * window). */
static uint64_t duration_us(const struct cc *c, uint32_t srtt_us, uint64_t bytes)
{
    uint64_t gained = c->window < c->threshold ? (uint64_t)c->window * 5 / 2 : (uint64_t)c->window * 5 / 4;
    return bytes * srtt_us / gained;
}

uint64_t vcl__pacing_next(const struct pacing *p, const struct cc *c, uint32_t srtt_us, uint32_t frame_bytes,
                          uint64_t now)
{
    if (srtt_us <= PACING_GRAIN_US || p->clock <= now)
        return now;
    uint64_t burst_us = duration_us(c, srtt_us, (uint64_t)CC_FRAMES_FIRST * frame_bytes);
    if (burst_us < PACING_GRAIN_US)
        burst_us = PACING_GRAIN_US;
    return p->clock - now < burst_us ? now : p->clock - burst_us + 1;
}

void vcl__pacing_sent(struct pacing *p, const struct cc *c, uint32_t srtt_us, uint32_t bytes, uint64_t now)
{
    if (srtt_us <= PACING_GRAIN_US)
        return;
    if (p->clock < now)
        p->clock = now;
    p->clock += duration_us(c, srtt_us, bytes);
}
