/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef BENCH_EMPTY_H
#define BENCH_EMPTY_H

#include <stdint.h>

int empty_call(const void *mem, uint64_t addr, uint64_t size, void **out);

#endif
