/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "failing_allocator.h"

#include <errno.h>

int armed;
unsigned asked, first, last;

#if CAN_FAIL
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

static bool refused(void)
{
    unsigned number;
    if (!__atomic_load_n(&armed, __ATOMIC_SEQ_CST)) return false;
    number = __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    if (number < first || number > last) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return refused() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *made = refused() ? NULL : __libc_memalign(alignment, size);
    if (made == NULL) return ENOMEM;
    *out = made;
    return 0;
}
#endif

void run_short_of_memory(void (*function)(void *), void *argument)
{
    __atomic_store_n(&armed, 1, __ATOMIC_SEQ_CST);
    function(argument);
    __atomic_store_n(&armed, 0, __ATOMIC_SEQ_CST);
}
