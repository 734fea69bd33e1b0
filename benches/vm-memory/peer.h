/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What src/lib.rs here exports. Each call gives 0, or -1 when it was refused. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "../calls/region.h"
#include <stddef.h>

struct peer;

struct peer *peer_new(const struct region *regions, size_t count);
void peer_free(struct peer *mem);
int peer_translate(const struct peer *mem, uint64_t addr, uint64_t size, void **out);
int peer_read_slice(const struct peer *mem, uint64_t addr, void *buf, size_t len);
int peer_write_slice(const struct peer *mem, uint64_t addr, const void *buf, size_t len);

/* read_obj and write_obj; load with acquire order and store with release order. */
#define PEER_ACCESSORS(W)                                                                         \
    int peer_read_u##W(const struct peer *mem, uint64_t addr, uint##W##_t *out);                  \
    int peer_write_u##W(const struct peer *mem, uint64_t addr, uint##W##_t value);                \
    int peer_load_u##W(const struct peer *mem, uint64_t addr, uint##W##_t *out);                  \
    int peer_store_u##W(const struct peer *mem, uint64_t addr, uint##W##_t value);
PEER_ACCESSORS(8)
PEER_ACCESSORS(16)
PEER_ACCESSORS(32)
PEER_ACCESSORS(64)

#endif
