/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts of the library's one error space.
 */
#include "vcl/engine.h"

#include <errno.h>

const char *vcl_error_text(int error)
{
    switch (error) {
#define VCL_X(name, value, err, text)                                                                                  \
    case name:                                                                                                         \
        return text;
        VCL_ERRORS(VCL_X)
#undef VCL_X
    }
    return "unknown error";
}
