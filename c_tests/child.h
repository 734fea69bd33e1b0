/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Other programs, run to their end, and a folder for the files that they are given. */
#ifndef CHILD_H
#define CHILD_H

#include "fixtures.h"
#include <sys/wait.h>

/* ---- a folder ---- */

static char folder[64];

CHECK_UNUSED static void folder_remove(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0) fprintf(stderr, "%s failed\n", command);
}

/* In /tmp, on a disk that has to be waited for, or in /dev/shm. */
CHECK_UNUSED static void folder_new(const char *where)
{
    (void)snprintf(folder, sizeof folder, "%s/guestmem-test-XXXXXX", where);
    REQUIRE(mkdtemp(folder) != NULL && atexit(folder_remove) == 0);
}

/* The path of a numbered file in the folder; good until sixteen more were asked for. */
CHECK_UNUSED static char *path_of(const char *name, unsigned number)
{
    static char paths[16][128];
    static unsigned next;
    char *path = paths[next++ % 16];
    (void)snprintf(path, sizeof paths[0], "%s/%s%u", folder, name, number);
    return path;
}

CHECK_UNUSED static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "we");
    REQUIRE(file != NULL && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

/* All of an open file, with a NUL behind it. */
CHECK_UNUSED static uint8_t *read_fd(int fd, size_t *len)
{
    struct stat st;
    uint8_t *bytes;
    size_t done = 0;
    REQUIRE(fstat(fd, &st) == 0);
    bytes = malloc((size_t)st.st_size + 1);
    REQUIRE(bytes != NULL);
    while (done < (size_t)st.st_size) {
        ssize_t n = pread(fd, bytes + done, (size_t)st.st_size - done, (off_t)done);
        REQUIRE(n > 0);
        done += (size_t)n;
    }
    bytes[done] = 0;
    *len = done;
    return bytes;
}

CHECK_UNUSED static uint8_t *read_file(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes;
    REQUIRE(fd >= 0);
    bytes = read_fd(fd, len);
    REQUIRE(close(fd) == 0);
    return bytes;
}

/* ---- a program ---- */

struct child {
    int code; /* what it exited with; -1 when a signal ended it */
    char *out, *err;
    size_t out_len;
};

/* Does not wait. The program is 127 when it cannot be run. */
CHECK_UNUSED static pid_t child_start(char *const *words, int out, int err)
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

CHECK_UNUSED static int child_wait(pid_t pid)
{
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The last word is NULL. */
CHECK_UNUSED static struct child child_run(char *const *words)
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

CHECK_UNUSED static void child_free(struct child *child)
{
    free(child->out);
    free(child->err);
}

/* Where a program lies that the suite did not build. */
CHECK_UNUSED static char *program_path(const char *variable, const char *otherwise)
{
    char *path = getenv(variable);
    static char standard[128];
    if (path != NULL && *path != 0) return path;
    (void)snprintf(standard, sizeof standard, "%s", otherwise);
    return standard;
}

#endif
