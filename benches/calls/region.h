/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A region as the contenders that are not ours get it: on memory that ours has mapped. */
#ifndef BENCH_REGION_H
#define BENCH_REGION_H

#include <stdbool.h>
#include <stdint.h>

struct region {
    uint64_t start, size;
    uint8_t *host;
    bool read_only;
};

#endif
