/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A program, in C or C++, with both libraries in it. */
#include "use.h"

int main(void)
{
    return use_both();
}
