/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "regions.h"

struct guestmem_region *new_region(uint64_t guest_addr, uint64_t size, uint64_t flags)
{
    struct guestmem_region_options options;
    struct guestmem_region *region = NULL;
    memset(&options, 0, sizeof options);
    options.guest_addr = guest_addr, options.size = size, options.flags = flags;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    return region;
}

void plug(struct guestmem *mem, uint64_t guest_addr, uint64_t size)
{
    struct guestmem_region *region = new_region(guest_addr, size, 0);
    REQUIRE(guestmem_add_region(mem, region) == GUESTMEM_OK);
    guestmem_region_unref(region);
}

struct guestmem_region *take_out(struct guestmem *mem, uint64_t guest_addr)
{
    struct guestmem_region *removed = NULL;
    REQUIRE(guestmem_remove_region(mem, guest_addr, &removed) == GUESTMEM_OK && removed != NULL);
    return removed;
}

void unplug(struct guestmem *mem, uint64_t guest_addr)
{
    guestmem_region_unref(take_out(mem, guest_addr));
}

uint8_t *host_of(const struct guestmem *mem, uint64_t guest_addr)
{
    void *host = NULL;
    REQUIRE(guestmem_get_host_address(mem, guest_addr, &host) == GUESTMEM_OK);
    return host;
}

struct guestmem_view view_of(const struct guestmem *mem)
{
    struct guestmem_view view;
    REQUIRE(guestmem_get_view(mem, &view, sizeof view) == GUESTMEM_OK);
    return view;
}
