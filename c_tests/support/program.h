/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Other programs, run to their end. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "files.h"

#include <sys/wait.h>

struct child {
    int code; /* what it exited with; -1 when a signal ended it */
    char *out, *err;
    size_t out_len;
};

/* Does not wait. The program is 127 when it cannot be run. */
pid_t child_start(char *const *words, int out, int err);
int child_wait(pid_t pid);
/* The last word is NULL. */
struct child child_run(char *const *words);
void child_free(struct child *child);
/* Where a program lies that the suite did not build. */
char *program_path(const char *variable, const char *otherwise);

#endif
