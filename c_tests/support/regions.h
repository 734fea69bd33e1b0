/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Regions that tests add to memories and remove from them. */
#ifndef REGIONS_H
#define REGIONS_H

#include "guest.h"

struct guestmem_region *new_region(uint64_t guest_addr, uint64_t size, uint64_t flags);
/* A new region that the memory alone holds. */
void plug(struct guestmem *mem, uint64_t guest_addr, uint64_t size);
struct guestmem_region *take_out(struct guestmem *mem, uint64_t guest_addr);
void unplug(struct guestmem *mem, uint64_t guest_addr);
uint8_t *host_of(const struct guestmem *mem, uint64_t guest_addr);
struct guestmem_view view_of(const struct guestmem *mem);

#endif
