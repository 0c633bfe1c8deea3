/* SPDX-License-Identifier: Apache-2.0
 *
 * The entries of an authentic batch: C-frames to the demux, whole or out of a short entry (T6); what concerns the trunk
 * itself stays here.
 */
#include "state.h"

#include <assert.h>

static int frame_in(struct vcl_engine *e, struct trunk *t, const struct pmw_addr *client, const uint8_t *frame,
                    size_t len)
{
    struct route from = {.trunk = t, .trunk_generation = t->generation, .addr = *client};
    if (pmw_type_of(frame, len) == PMW_DATA)
        e->stats.trunk_data_entries_in++;
    return vcl__frame_receive(e, &from, frame, len);
}

/* The frame that the helper shortened, as the client sent it but for URGENT. */
static int short_in(struct vcl_engine *e, struct trunk *t, const struct pmw_short *in)
{
    uint8_t frame[PMW_SHORT_HEADER_BYTES + UINT8_MAX + PMW_SEAL_BYTES];
    const struct binding *b = vcl__binding_find(e, t, in->index, in->generation);
    e->stats.trunk_short_data_entries_in += !in->is_ack;
    if (b == NULL) {
        struct trunk_note note = {.kind = PMW_ENTRY_BIND_ERR, .number = in->index, .generation = in->generation};
        vcl__trunk_note(e, t, &note);
        return vcl__drop(e, VCL_DROP_BINDING);
    }
    int len = pmw_short_to_frame(frame, sizeof(frame), in, b->conn->cid);
    assert(len > 0);
    struct pmw_addr client = b->client; /* the frame may end the binding with its connection */
    return frame_in(e, t, &client, frame, (size_t)len);
}

static void bind_in(struct vcl_engine *e, struct trunk *t, const struct pmw_bind *b)
{
    struct trunk_note note = {.number = b->index, .generation = b->generation};
    note.kind = (uint8_t)vcl__binding_on_bind(e, t, b);
    if (note.kind != PMW_ENTRY_PAD)
        vcl__trunk_note(e, t, &note);
}

static int entry_in(struct vcl_engine *e, struct trunk *t, const struct pmw_any_entry *in)
{
    switch (in->kind) {
    case PMW_ENTRY_LONG_V4:
    case PMW_ENTRY_LONG_V6:
        return frame_in(e, t, &in->as_long.client, in->as_long.frame, in->as_long.frame_len);
    case PMW_ENTRY_SHORT:
        return short_in(e, t, &in->as_short);
    case PMW_ENTRY_BIND:
        bind_in(e, t, &in->bind);
        return 0;
    case PMW_ENTRY_UNBIND:
        vcl__binding_on_unbind(e, t, &in->ref);
        return 0;
    case PMW_ENTRY_NACK: /* T8 */
        e->stats.trunk_batches_repeated +=
            vcl__nack_ring_ask(&e->sent_batches, e->now, t, pmw_wlsb(t->out_seq, in->nack.first, 32), in->nack.count);
        return 0;
    default: /* BIND_ACK, BIND_ERR: a helper binds, a server does not */
        return vcl__drop(e, VCL_DROP_ROLE);
    }
}

int vcl__trunk_entries(struct vcl_engine *e, struct trunk *t, uint16_t nb_entries, const uint8_t *buf, size_t len)
{
    struct pmw_any_entry entry;
    uint32_t nb = 0;
    size_t at = PMW_TRUNK_HEADER_BYTES, end = len - PMW_TRUNK_TAG_BYTES;
    int rc, first_drop = 0;
    while ((rc = pmw_entry_next(buf, end, &at, &entry)) > 0) {
        e->stats.trunk_entries_in++;
        nb++;
        int drop = entry_in(e, t, &entry);
        if (first_drop == 0)
            first_drop = drop;
    }
    return rc < 0 || nb != nb_entries ? vcl__drop(e, VCL_DROP_TRUNK_ENTRY) : first_drop;
}
