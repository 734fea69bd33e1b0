// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* A template image and its clones: each is mapped at once, shares what it does not write, and keeps
 * its writes to itself. */
#include <guestmem.h>
#include <stdio.h>
#include <stdlib.h>

static void must(int code)
{
    char why[200];
    if (code == GUESTMEM_OK) return;
    guestmem_last_error_message(why, sizeof why);
    fprintf(stderr, "clone: %s\n", why);
    exit(1);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "template.img";
    const struct guestmem_range ram = {0, 256 << 20};
    const struct guestmem_load_options map = {.flags = GUESTMEM_LOAD_MAP};
    struct guestmem *template, *clones[3];

    must(guestmem_new(&ram, 1, &template));
    must(guestmem_write_all(template, 0x1000, "booted", 7)); /* a real guest boots here */
    must(guestmem_save(template, path, NULL, 0));
    guestmem_unref(template);

    for (int i = 0; i < 3; i++) {
        must(guestmem_load(path, &map, sizeof map, &clones[i]));
        must(guestmem_write_u64(clones[i], 0x2000, (uint64_t)i));
    }
    for (int i = 0; i < 3; i++) {
        char text[7];
        uint64_t own;
        must(guestmem_read_exact(clones[i], 0x1000, text, sizeof text));
        must(guestmem_read_u64(clones[i], 0x2000, &own));
        printf("clone %d: \"%s\" from the template, %d of its own\n", i, text, (int)own);
        guestmem_unref(clones[i]);
    }
    return 0;
}
