/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The inline functions of the header as functions that the target `calls` can link to. */
#define GUESTMEM_INLINE
#include <guestmem.h>
