/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "program.h"

pid_t child_start(char *const *words, int out, int err)
{
    pid_t pid;
    (void)fflush(NULL);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
            execvp(words[0], words);
        _exit(127);
    }
    return pid;
}

int child_wait(pid_t pid)
{
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct child child_run(char *const *words)
{
    struct child child;
    size_t err_len;
    int out = new_memfd(0), err = new_memfd(0);
    child.code = child_wait(child_start(words, out, err));
    child.out = (char *)read_fd(out, &child.out_len);
    child.err = (char *)read_fd(err, &err_len);
    REQUIRE(close(out) == 0 && close(err) == 0);
    return child;
}

void child_free(struct child *child)
{
    free(child->out);
    free(child->err);
}

char *program_path(const char *variable, const char *otherwise)
{
    char *path = getenv(variable);
    static char standard[128];
    if (path != NULL && *path != 0) return path;
    (void)snprintf(standard, sizeof standard, "%s", otherwise);
    return standard;
}
