// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The same as shadow.c in C++, where a function can hide the constructor of the struct of its name.
// runs: asan valgrind qemu
#include "shadow_names.h"

int main()
{
    return can_be_used() ? 0 : 1;
}
