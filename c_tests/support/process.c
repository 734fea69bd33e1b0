/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "process.h"

static uint64_t count_entries(const char *path)
{
    uint64_t entries = 0;
    DIR *dir = opendir(path);
    REQUIRE(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (entry->d_name[0] != '.') entries++;
    closedir(dir);
    return entries;
}

uint64_t count_fds(void)
{
    return count_entries("/proc/self/fd");
}

uint64_t count_threads(void)
{
    return count_entries("/proc/self/task");
}

uint64_t count_mappings(void)
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

uint64_t count_mappings_but_heap(void)
{
    static char lines[1 << 16];
    uint64_t count = 0;
    size_t len = 0;
    ssize_t got;
    int fd;
    if (fast()) return 0;
    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    while ((got = read(fd, lines + len, sizeof lines - 1 - len)) > 0) len += (size_t)got;
    REQUIRE(close(fd) == 0 && len < sizeof lines - 1);
    lines[len] = 0;
    for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n"))
        count += strstr(line, "[heap]") == NULL;
    return count;
}

void steady_allocator(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_ARENA_MAX, 1);
#endif
}

bool find_mapping(const void *address, struct mapping *found)
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

bool page_present(const void *host)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)host / PAGE * sizeof entry)) ==
            (ssize_t)sizeof entry);
    REQUIRE(close(fd) == 0);
    return (entry >> 62) != 0; /* present or swapped */
}

size_t pages_present(const void *host, size_t count)
{
    size_t present = 0, i;
    for (i = 0; i < count; i++) present += page_present((const uint8_t *)host + i * PAGE);
    return present;
}

bool smaps_line(const void *host, const char *key, char *line, size_t cap)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    bool inside = false, found = false;
    unsigned long start, end;
    REQUIRE(file != NULL);
    while (!found && fgets(line, (int)cap, file) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = start <= (uintptr_t)host && (uintptr_t)host < end;
        else
            found = inside && strncmp(line, key, strlen(key)) == 0;
    }
    REQUIRE(fclose(file) == 0);
    return found;
}

int vm_flag(const void *address, const char *flag)
{
    char line[512], padded[8];
    if (!smaps_line(address, "VmFlags:", line, sizeof line)) return -1;
    (void)snprintf(padded, sizeof padded, " %s ", flag);
    return strstr(line, padded) != NULL;
}

bool mapping_has(const void *host, const char *flag)
{
    return vm_flag(host, flag) == 1;
}

uint64_t peak_kib(void)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    uint64_t peak = 0;
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %" SCNu64, &peak) == 1) break;
    REQUIRE(fclose(file) == 0);
    return peak;
}

void *new_shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return memory;
}

int run_in_child(int (*function)(void *), void *argument)
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
        status = function(argument);
        fflush(NULL);
        _exit(status);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int touch(void *address)
{
    return *(volatile uint8_t *)address == 0 ? 0 : 1;
}

int poke(void *address)
{
    *(volatile uint8_t *)address = 1;
    return 0;
}
