/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* All inline functions for values of one width behind pointers: struct functions_u8 and so on, and
 * what to set one to. The suffix is empty for those in line, _fn for the exported twins. */
#ifndef INLINE_FUNCTIONS_H
#define INLINE_FUNCTIONS_H

#include <guestmem.h>

#define FUNCTIONS(W, SUFFIX)                                                                      \
    {                                                                                             \
        guestmem_view_read_u##W##SUFFIX, guestmem_view_write_u##W##SUFFIX,                        \
            guestmem_view_load_u##W##SUFFIX, guestmem_view_store_u##W##SUFFIX,                    \
            guestmem_slice_load_u##W##SUFFIX, guestmem_slice_store_u##W##SUFFIX                   \
    }

#define FUNCTIONS_OF_WIDTH(W)                                                                     \
    struct functions_u##W {                                                                       \
        bool (*read)(const struct guestmem_view *, uint64_t, uint##W##_t *);                      \
        bool (*write)(const struct guestmem_view *, uint64_t, uint##W##_t);                       \
        bool (*load)(const struct guestmem_view *, uint64_t, uint32_t, uint##W##_t *);            \
        bool (*store)(const struct guestmem_view *, uint64_t, uint##W##_t, uint32_t);             \
        bool (*slice_load)(struct guestmem_slice, size_t, uint32_t, uint##W##_t *);               \
        bool (*slice_store)(struct guestmem_slice, size_t, uint##W##_t, uint32_t);                \
    };

FUNCTIONS_OF_WIDTH(8)
FUNCTIONS_OF_WIDTH(16)
FUNCTIONS_OF_WIDTH(32)
FUNCTIONS_OF_WIDTH(64)
#undef FUNCTIONS_OF_WIDTH

#endif
