/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Guest memory of the tests: its content, and a world that has a region of every backing with a shadow
 * copy that says what its bytes must be. */
#ifndef GUEST_H
#define GUEST_H

#include "files.h"

enum { WORLD_AREAS = 7 };

struct area {
    uint64_t start, size;
    bool read_only;
    uint8_t *host;   /* where the library mapped it */
    uint8_t *shadow; /* what it must hold */
};

struct world {
    struct guestmem *mem;
    struct area area[WORLD_AREAS];
    void *caller_memory;
    uint64_t caller_size;
};

/* Set where every instruction is expensive (valgrind, sanitizers): fewer rounds, no huge transfers.
 */
bool fast(void);
uint64_t random_number(uint64_t *state);
void fill_random(void *out, size_t len, uint64_t seed);
void *new_host_memory(uint64_t size);
struct guestmem_region_info info_of(const struct guestmem *mem, size_t index);
struct guestmem_error_info last_error(void);
/* A copy of all guest memory, regions one after the other. */
uint8_t *copy_of(const struct guestmem *mem);
bool memory_is(const struct guestmem *mem, const uint8_t *bytes);
/* A run of four touching regions, a hole, a read-only region that touches a writable one, a hole,
 * and one as close to 2^64 as a region may be. */
void world_new(struct world *world);
void world_free(struct world *world);
/* Guest memory and its shadow agree, to the last byte. */
bool world_agrees(const struct world *world);
const struct area *area_at(const struct world *world, uint64_t addr);
/* The shadow of one guest byte, NULL in a hole. */
uint8_t *shadow_at(const struct world *world, uint64_t addr);
/* One past the end of a region. */
bool is_an_end(const struct world *world, uint64_t addr);

#endif
