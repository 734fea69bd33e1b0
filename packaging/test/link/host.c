/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* host PLUGIN...: runs plugins beside each other. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int (*plugin_main)(void);
        void *plugin = dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL);
        void *symbol = plugin == NULL ? NULL : dlsym(plugin, "plugin_main");
        if (symbol == NULL) return printf("%s\n", dlerror()), 1;
        memcpy(&plugin_main, &symbol, sizeof symbol);
        if (plugin_main() != 0) return printf("%s fails\n", argv[i]), 1;
    }
    return argc < 2;
}
