/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The headers after a program's own things that bear the names which they use inside. That this
 * compiles is the test: programs here are built with -Wshadow -Werror. */
#ifndef SHADOW_NAMES_H
#define SHADOW_NAMES_H

#define OWN_NAMES view, addr, len, mem, out, order, value, s, offset, host, room, chunk, found, word
#define SUM_OF_OWN_NAMES                                                                          \
    (view + addr + len + mem + out + order + value + s + offset + host + room + chunk + found + word)
extern int OWN_NAMES;
int OWN_NAMES;

#include <guestmem.h>

/* The struct and the function of one name. */
static inline bool can_be_used(void)
{
    const struct guestmem_range range = {0, 4096};
    struct guestmem *memory;
    struct guestmem_region_info info;
    bool good = guestmem_new(&range, 1, &memory) == GUESTMEM_OK &&
                guestmem_region_info(memory, 0, &info, sizeof info) == GUESTMEM_OK &&
                info.size == range.size && SUM_OF_OWN_NAMES == 0;
    guestmem_unref(memory);
    return good;
}

#endif
