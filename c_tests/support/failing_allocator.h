/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An allocator that can be made to fail, in place of the C library's. */
#ifndef FAILING_ALLOCATOR_H
#define FAILING_ALLOCATOR_H

#include "check.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_FAIL true
#else
#define CAN_FAIL false
#endif

/* While armed, allocations are counted from 1: those from `first` to `last` fail. */
extern unsigned asked, first, last;
extern int armed;

/* What the function asks for may be refused. */
void run_short_of_memory(void (*function)(void *), void *argument);

#endif
