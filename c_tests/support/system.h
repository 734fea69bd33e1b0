/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the system counts and allows, and its pool of huge pages, which a test may have to fill. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include "check.h"

#include <fcntl.h>

#define HUGE_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_PAGE (UINT64_C(2) << 20)

bool read_number(const char *path, uint64_t *out);
bool write_number(const char *path, uint64_t value);
/* The number behind a name such as HugePages_Free in /proc/meminfo, or 0. */
uint64_t meminfo(const char *name);
/* The word in brackets, as in "always [madvise] never"; empty where there is no such file. */
void read_choice(const char *path, char *out, size_t cap);
/* Pages of 2 MiB that are neither used nor reserved. */
uint64_t free_huge_pages(void);
/* The pool belongs to the whole system: one program at a time counts and changes it, to its end. */
void lock_huge_pages(void);
/* So many pages of 2 MiB are free to take, until the program ends. Needs root. */
bool reserve_huge_pages(uint64_t pages);
/* mlock2(2) and munlock(2) do what they are for. valgrind does not know the first one, and
 * AddressSanitizer makes the second one do nothing. */
bool locking_works(void);

#endif
