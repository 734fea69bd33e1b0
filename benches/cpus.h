/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The CPUs that this process may use, and threads that stay on one of them. */
#ifndef BENCH_CPUS_H
#define BENCH_CPUS_H

#include "must.h"
#include <sched.h>
#include <stdbool.h>

static cpu_set_t allowed_cpus;

/* The highest first: the lowest one serves most interrupts. -1: there are not as many. */
static inline int nth_cpu(int nth)
{
    int cpu;
    for (cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET((size_t)cpu, &allowed_cpus) && nth-- == 0) return cpu;
    return -1;
}

/* The calling thread's. */
static inline void pin_to_cpu(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    MUST(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* To be called first, once. */
static inline void pin_to_first_cpu(void)
{
    MUST(sched_getaffinity(0, sizeof allowed_cpus, &allowed_cpus) == 0);
    pin_to_cpu(nth_cpu(0));
}

#endif
