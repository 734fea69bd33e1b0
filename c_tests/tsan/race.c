/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Two threads let the library write to one place: ThreadSanitizer must notice, see ./awake. */
#include <guestmem.h>
#include <pthread.h>
#include <stdio.h>

static struct guestmem *mem;
static uint64_t value;

static void *load(void *unused)
{
    if (guestmem_read_u64(mem, 8, &value) != GUESTMEM_OK) puts("not read");
    return unused;
}

int main(void)
{
    const struct guestmem_range range = {0, 0x10000};
    pthread_t thread;
    if (guestmem_new(&range, 1, &mem) != GUESTMEM_OK) return 2;
    if (pthread_create(&thread, NULL, load, NULL) != 0) return 2;
    load(NULL);
    if (pthread_join(thread, NULL) != 0) return 2;
    puts("not noticed");
    return 0;
}
