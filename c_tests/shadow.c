/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The headers compile in C with -Wshadow, whatever names the program has.
 * runs: asan valgrind qemu */
#include "shadow_names.h"

int main(void)
{
    return can_be_used() ? 0 : 1;
}
