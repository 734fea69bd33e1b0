/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What tests ask of the process they run in: its descriptors and mappings, temporary files, and
 * whether touching an address kills. A program that includes this defines _GNU_SOURCE first. */
#ifndef HOST_H
#define HOST_H

#include "system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096)
#define MIB ((uint64_t)1 << 20)

/* Set under valgrind and AddressSanitizer: every instruction is expensive, so fewer rounds. */
CHECK_UNUSED static bool host_instrumented(void)
{
    const char *fast = getenv("GUESTMEM_TEST_FAST");
    return (fast != NULL && *fast != 0 && strcmp(fast, "0") != 0) ||
           getenv("GUESTMEM_TEST_NO_INJECTION") != NULL;
}

CHECK_UNUSED static uint64_t host_entries(const char *path)
{
    uint64_t entries = 0;
    DIR *dir = opendir(path);
    REQUIRE(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (entry->d_name[0] != '.') entries++;
    closedir(dir);
    return entries;
}

/* One too many, always: the one that reads the directory. */
CHECK_UNUSED static uint64_t host_fds(void)
{
    return host_entries("/proc/self/fd");
}

CHECK_UNUSED static uint64_t host_threads(void)
{
    return host_entries("/proc/self/task");
}

/* Plain reads into a static buffer, so that counting maps nothing itself. */
CHECK_UNUSED static uint64_t host_mappings(void)
{
    static char buffer[1 << 16];
    uint64_t lines = 0;
    ssize_t got;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++) lines += buffer[i] == '\n';
    close(fd);
    return lines;
}

/* Mappings of the process but for the allocator's heap, which falls apart into several where it
 * grew after a fork. valgrind and the sanitizers have many more of their own. */
CHECK_UNUSED static uint64_t mappings_but_heap(void)
{
    static char lines[1 << 16];
    uint64_t count = 0;
    size_t len = 0;
    ssize_t got;
    int fd;
    if (host_instrumented()) return 0;
    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    while ((got = read(fd, lines + len, sizeof lines - 1 - len)) > 0) len += (size_t)got;
    REQUIRE(close(fd) == 0 && len < sizeof lines - 1);
    lines[len] = 0;
    for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n"))
        count += strstr(line, "[heap]") == NULL;
    return count;
}

/* Large buffers come and go, so that the number of mappings is that of the library. */
CHECK_UNUSED static void steady_allocator(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_ARENA_MAX, 1);
#endif
}

/* The line of /proc/self/maps that holds the address: its permissions and bounds. */
struct host_mapping {
    uintptr_t start, end;
    char perms[8];
};

CHECK_UNUSED static bool host_find_mapping(const void *address, struct host_mapping *found)
{
    char line[1024];
    bool hit = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    REQUIRE(maps != NULL);
    while (!hit && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &found->start, &found->end,
                   found->perms) != 3)
            continue;
        hit = (uintptr_t)address >= found->start && (uintptr_t)address < found->end;
    }
    fclose(maps);
    return hit;
}

/* Whether the mapping that holds the address has this flag in smaps ("dd": not in core dumps);
 * -1 where the kernel does not say. */
CHECK_UNUSED static int host_vm_flag(const void *address, const char *flag)
{
    char line[1024];
    uintptr_t start, end;
    bool here = false;
    int answer = -1;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    if (smaps == NULL) return -1;
    while (fgets(line, sizeof line, smaps) != NULL) {
        char perms[8];
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &start, &end, perms) == 3)
            here = (uintptr_t)address >= start && (uintptr_t)address < end;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            answer = strstr(line + 8, flag) != NULL;
    }
    fclose(smaps);
    return answer;
}

/* An unlinked file in $TMPDIR, opened for reading and writing. */
CHECK_UNUSED static int host_temp_file(uint64_t size)
{
    char path[512];
    const char *folder = getenv("TMPDIR");
    int fd;
    snprintf(path, sizeof path, "%s/guestmem-test-XXXXXX", folder != NULL ? folder : "/tmp");
    fd = mkostemp(path, O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(unlink(path) == 0);
    REQUIRE(ftruncate(fd, (off_t)size) == 0);
    return fd;
}

CHECK_UNUSED static int host_memfd(uint64_t size)
{
    int fd = memfd_create("a file of the test", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, (off_t)size) == 0);
    return fd;
}

/* The same file once more, in another mode. */
CHECK_UNUSED static int host_reopen(int fd, int flags)
{
    char path[64];
    int again;
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    again = open(path, flags | O_CLOEXEC);
    REQUIRE(again >= 0);
    return again;
}

/* Zeros that children share with their parent. */
CHECK_UNUSED static void *host_shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return memory;
}

/* Runs the function in a child; its exit status, or minus the signal that ended it. */
CHECK_UNUSED static int host_in_child(int (*function)(void *), void *argument)
{
    int status = 0;
    pid_t child;
    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        /* Sanitizers catch these; here the plain death is what is asked about. */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        _exit(function(argument));
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

CHECK_UNUSED static int host_touch(void *address)
{
    return *(volatile uint8_t *)address == 0 ? 0 : 1;
}

CHECK_UNUSED static int host_poke(void *address)
{
    *(volatile uint8_t *)address = 1;
    return 0;
}

#endif
