/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A plugin with both libraries in it. */
#include "use.h"

#ifdef __cplusplus
extern "C"
#endif
int plugin_main(void);

int plugin_main(void)
{
    return use_both();
}
