/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the vectors' test share. Each visitor says by vector_known() that it knows the kind.
 */
#ifndef POSTMAN_WIRE_VECTORS_H
#define POSTMAN_WIRE_VECTORS_H

#include "wire_test.h"

#include "vector_file.h"

#define INTEGER(f, v, field) ((f)->field = (__typeof__((f)->field))vector_integer(v, #field))

void vector_known(void);
/* buf is exactly what the vector's field `bytes` says. */
void assert_bytes(const struct vector *v, const uint8_t *buf, int len);

void control_vector(const struct vector *v); /* vectors_control.c */
void trunk_vector(const struct vector *v);   /* vectors_trunk.c */

#endif
