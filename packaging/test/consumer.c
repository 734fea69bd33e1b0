/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A program as a user of an installed libguestmem writes it. */
#include <guestmem.h>
#include <stdio.h>

int main(void)
{
    const struct guestmem_range ram = {0x10000, 0x10000};
    struct guestmem *mem;
    uint32_t answer = 0;
    int code = guestmem_new(&ram, 1, &mem);
    if (code == GUESTMEM_OK) code = guestmem_write_u32(mem, 0x10ffc, 42);
    if (code == GUESTMEM_OK) code = guestmem_read_u32(mem, 0x10ffc, &answer);
    if (code != GUESTMEM_OK || answer != 42) {
        fprintf(stderr, "%s\n", guestmem_strerror(code));
        return 1;
    }
    guestmem_unref(mem);
    printf("guestmem %s works\n", guestmem_version_string());
    return 0;
}
