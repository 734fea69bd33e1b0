/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Reads more guest memory than its buffer holds: AddressSanitizer must stop it, see ./awake. */
#include <guestmem.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    struct guestmem_range range = {0, 0x10000};
    struct guestmem *mem;
    void *buf = malloc(100);
    if (buf == NULL || guestmem_new(&range, 1, &mem) != GUESTMEM_OK) return 2;
    if (guestmem_read_exact(mem, 8, buf, 101) != GUESTMEM_OK) return 2;
    puts("not noticed");
    return 0;
}
