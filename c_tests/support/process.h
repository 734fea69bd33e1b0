/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a test asks of the process that it runs in: descriptors, mappings, pages, and whether touching an
 * address kills. */
#ifndef PROCESS_H
#define PROCESS_H

#include "guest.h"
#include "system.h"

#include <malloc.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

struct mapping {
    uintptr_t start, end;
    char perms[8];
};

/* One too many, always: the one that reads the directory. */
uint64_t count_fds(void);
uint64_t count_threads(void);
/* Plain reads into a static buffer, so that counting maps nothing itself. */
uint64_t count_mappings(void);
/* Mappings of the process but for the allocator's heap, which falls apart into several where it
 * grew after a fork. valgrind and the sanitizers have many more of their own. */
uint64_t count_mappings_but_heap(void);
/* Large buffers come and go, so that the number of mappings is that of the library. */
void steady_allocator(void);
bool find_mapping(const void *address, struct mapping *found);
/* The page is in host memory (a file's page that is cached, but not mapped here, does not count).
 */
bool page_present(const void *host);
size_t pages_present(const void *host, size_t count);
/* Reads what follows `key` in the smaps entry of the mapping that holds `host`. */
bool smaps_line(const void *host, const char *key, char *line, size_t cap);
/* Whether the mapping that holds the address has this flag in smaps ("dd": not in core dumps);
 * -1 where the kernel does not say. */
int vm_flag(const void *address, const char *flag);
/* One of the two-letter flags of the mapping that holds `host`. */
bool mapping_has(const void *host, const char *flag);
/* The most host memory that there was at once. */
uint64_t peak_kib(void);
/* Zeros that children share with their parent. */
void *new_shared_memory(size_t size);
/* Runs the function in a child; its exit status, or minus the signal that ended it. */
int run_in_child(int (*function)(void *), void *argument);
int touch(void *address);
int poke(void *address);

#endif
