/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Uses libguestmem and another Rust library in turn: 0 when both do what they should. */
#ifndef USE_H
#define USE_H

#include <guestmem.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
#endif
int other_panics(void);

static int use_both(void)
{
    struct guestmem_range range = {0x1000, 0x1000};
    struct guestmem_error_info info;
    struct guestmem *mem;
    uint64_t value = 0;
    int good, panics;
    if (guestmem_new(&range, 1, &mem) != GUESTMEM_OK) return 1;
    panics = other_panics();
    good = panics > 0 && guestmem_write_u64(mem, 0x1008, 42) == GUESTMEM_OK &&
           guestmem_read_u64(mem, 0x1008, &value) == GUESTMEM_OK && value == 42 &&
           guestmem_read_u64(mem, 0x3000, &value) == GUESTMEM_E_INVALID_ADDRESS && other_panics() == panics + 1 &&
           guestmem_last_error(&info, sizeof info) == GUESTMEM_OK && info.guest_addr == 0x3000;
    guestmem_unref(mem);
    return good ? 0 : 1;
}

#endif
