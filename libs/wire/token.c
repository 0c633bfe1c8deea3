/* SPDX-License-Identifier: Apache-2.0
 *
 * The token's layout (K2). Whether its MAC and its lifetime hold is for the server to say.
 */
#include <string.h>

#include "bytes.h"
#include "postman/wire.h"

enum { TOKEN_VERSION = 1 };

int pmw_token_decode(const uint8_t buf[PMW_TOKEN_BYTES], struct pmw_token *out)
{
    if (buf[0] != TOKEN_VERSION)
        return PMW_ERR_VERSION;
    if (buf[1] != 0)
        return PMW_ERR_FLAGS;
    *out = (struct pmw_token){
        .key_id = get16(buf + 2),
        .lifetime_s = get16(buf + 24),
        .max_conns = get16(buf + 26),
        .rate_class = get16(buf + 28),
        .server_id = get16(buf + 30),
        .client_id = get64(buf + 4),
        .service_id = get64(buf + 12),
        .not_before = get32(buf + 20),
    };
    memcpy(out->random, buf + 32, sizeof(out->random));
    memcpy(out->mac, buf + 48, sizeof(out->mac));
    return 0;
}

void pmw_token_encode(uint8_t buf[PMW_TOKEN_BYTES], const struct pmw_token *t)
{
    buf[0] = TOKEN_VERSION;
    buf[1] = 0;
    put16(buf + 2, t->key_id);
    put64(buf + 4, t->client_id);
    put64(buf + 12, t->service_id);
    put32(buf + 20, t->not_before);
    put16(buf + 24, t->lifetime_s);
    put16(buf + 26, t->max_conns);
    put16(buf + 28, t->rate_class);
    put16(buf + 30, t->server_id);
    memcpy(buf + 32, t->random, sizeof(t->random));
    memcpy(buf + 48, t->mac, sizeof(t->mac));
}
