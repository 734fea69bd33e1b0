/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each way to create: its error code comes back, and no
 * descriptor or mapping stays behind. The program runs itself under strace, which makes the call
 * fail; two calls of chdir mark where the creation begins and ends. */
#define _GNU_SOURCE
#include "host.h"

#define BEGIN "/guestmem-test/begin"
#define END "/guestmem-test/end"

/* --- in the child: one creation --------------------------------------------------------------- */

static int file;
static void *pages;
static uint64_t huge_page;

static struct guestmem_region_options options(uint64_t guest_addr, uint64_t size, uint64_t flags)
{
    struct guestmem_region_options made;
    memset(&made, 0, sizeof made);
    made.guest_addr = guest_addr;
    made.size = size;
    made.flags = flags;
    made.fd = file;
    made.host_addr = pages;
    return made;
}

static int finish(int code, struct guestmem *mem)
{
    CHECK((code == GUESTMEM_OK) == (mem != NULL));
    guestmem_unref(mem);
    return code;
}

static int create_plain(void)
{
    static const struct guestmem_range ranges[] = { { 0, PAGE }, { 2 * MIB, 4 * MIB } };
    struct guestmem *mem = NULL;
    int code = guestmem_new(ranges, 2, &mem);
    return finish(code, mem);
}

static int create_mixed(void)
{
    struct guestmem_region_options all[6];
    struct guestmem *mem = NULL;
    int code;
    all[0] = options(0, PAGE, 0);
    all[1] = options(PAGE, PAGE, GUESTMEM_REGION_FD);
    all[2] = options(2 * PAGE, PAGE, GUESTMEM_REGION_PRIVATE);
    all[3] = options(3 * PAGE, PAGE, GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE);
    all[4] = options(4 * PAGE, PAGE, GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY);
    all[5] = options(5 * PAGE, PAGE, GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD);
    code = guestmem_new_with_options(all, 6, sizeof *all, &mem);
    return finish(code, mem);
}

static int create_populated(void)
{
    struct guestmem_region_options all[2];
    struct guestmem *mem = NULL;
    int code;
    all[0] = options(0, PAGE, GUESTMEM_REGION_POPULATE);
    all[1] = options(PAGE, PAGE, GUESTMEM_REGION_POPULATE | GUESTMEM_REGION_PRIVATE);
    code = guestmem_new_with_options(all, 2, sizeof *all, &mem);
    return finish(code, mem);
}

static int create_huge(void)
{
    struct guestmem_region_options huge = options(0, huge_page, GUESTMEM_REGION_HUGETLB);
    struct guestmem *mem = NULL;
    int code = guestmem_new_with_options(&huge, 1, sizeof huge, &mem);
    return finish(code, mem);
}

static int create_region(void)
{
    struct guestmem_region_options plain = options(0, PAGE, 0);
    struct guestmem_region *region = NULL;
    int code = guestmem_region_new(&plain, sizeof plain, &region);
    CHECK((code == GUESTMEM_OK) == (region != NULL));
    guestmem_region_unref(region);
    return code;
}

static const struct {
    const char *name;
    int (*create)(void);
} ways[] = {
    { "plain", create_plain }, { "mixed", create_mixed }, { "populated", create_populated },
    { "region", create_region }, { "huge", create_huge },
};
#define WAYS (sizeof ways / sizeof *ways)

static int child(size_t way)
{
    struct guestmem_error_info info;
    uint64_t fds, mappings;
    int code;
    huge_page = meminfo("Hugepagesize") * 1024;
    file = host_memfd(PAGE);
    pages = mmap(NULL, (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    REQUIRE(pages != MAP_FAILED);
    /* Once for what is set up only once. */
    if (ways[way].create() != GUESTMEM_OK) return 2;
    fds = host_fds();
    mappings = host_mappings();
    CHECK(chdir(BEGIN) != 0);
    code = ways[way].create();
    CHECK(chdir(END) != 0);
    CHECK_OK(guestmem_last_error(&info, sizeof info));
    printf("%d %d %d %d\n", code, code == GUESTMEM_OK ? 0 : info.os_errno, host_fds() == fds,
           host_mappings() == mappings);
    return check_result();
}

/* --- the driver ------------------------------------------------------------------------------- */

/* What may fail, and the code it gives: that of memory, of a limit of the process, or of the
 * system. A question mark where the call does not exist on every architecture. */
static const struct fault {
    const char *call, *error;
    int code, os_errno;
} faults[] = {
    { "memfd_create", "EMFILE", GUESTMEM_E_TOO_LARGE, EMFILE },
    { "memfd_create", "ENOMEM", GUESTMEM_E_NO_MEMORY, ENOMEM },
    { "memfd_create", "EPERM", GUESTMEM_E_OS, EPERM },
    { "?prlimit64", "EPERM", GUESTMEM_E_OS, EPERM },
    { "?getrlimit", "EPERM", GUESTMEM_E_OS, EPERM },
    { "ftruncate", "ENOSPC", GUESTMEM_E_OS, ENOSPC },
    { "fcntl", "EMFILE", GUESTMEM_E_TOO_LARGE, EMFILE },
    { "?fstat", "EIO", GUESTMEM_E_OS, EIO },
    { "?newfstatat", "EIO", GUESTMEM_E_OS, EIO },
    { "fstatfs", "EIO", GUESTMEM_E_OS, EIO },
    { "mmap", "ENOMEM", GUESTMEM_E_NO_MEMORY, ENOMEM },
    { "mmap", "EAGAIN", GUESTMEM_E_OS, EAGAIN },
    { "madvise", "ENOMEM", GUESTMEM_E_NO_MEMORY, ENOMEM },
    { "madvise", "EBADF", GUESTMEM_E_OS, EBADF },
    { "fallocate", "ENOMEM", GUESTMEM_E_NO_MEMORY, ENOMEM },
};
#define FAULTS (sizeof faults / sizeof *faults)
#define MAX_CALLS 4096

static char program[4096], trace[512];

struct report {
    int code, os_errno, fds_same, mappings_same;
};

/* Runs the child under strace; false where that is not possible. */
static bool run(const char *trace_what, const char *inject, size_t way, struct report *report)
{
    char number[16], line[256] = "";
    int ends[2], status = 0;
    pid_t pid;
    ssize_t got;
    snprintf(number, sizeof number, "%zu", way);
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (inject == NULL)
            execlp("strace", "strace", "-f", "-o", trace, "-e", trace_what, program, number, NULL);
        else
            execlp("strace", "strace", "-f", "-o", trace, "-e", trace_what, "-e", inject, program,
                   number, NULL);
        _exit(126);
    }
    close(ends[1]);
    got = read(ends[0], line, sizeof line - 1);
    close(ends[0]);
    REQUIRE(waitpid(pid, &status, 0) == pid);
    if (got <= 0 || status != 0) return false;
    return sscanf(line, "%d %d %d %d", &report->code, &report->os_errno, &report->fds_same,
                  &report->mappings_same) == 4;
}

/* The name of the call on a line of the trace: what stands between the pid and the parenthesis. */
static bool is_call(const char *line, const char *call)
{
    size_t length;
    if (*call == '?') call++;
    length = strlen(call);
    while (*line == ' ' || (*line >= '0' && *line <= '9')) line++;
    return strncmp(line, call, length) == 0 && line[length] == '(';
}

/* Which of the call's occurrences, counted from 1, belong to the creation; in order. */
static size_t occurrences(const char *call, unsigned *which)
{
    char line[4096];
    bool inside = false;
    unsigned count = 0;
    size_t found = 0;
    FILE *stream = fopen(trace, "re");
    REQUIRE(stream != NULL);
    while (fgets(line, sizeof line, stream) != NULL) {
        if (strstr(line, BEGIN) != NULL) inside = true;
        if (strstr(line, END) != NULL) inside = false;
        if (!is_call(line, call)) continue;
        count++;
        /* A debug build asks this of each descriptor that it closes, and needs no answer. */
        if (strstr(line, "F_GETFD") != NULL) continue;
        if (inside && found < MAX_CALLS) which[found++] = count;
    }
    fclose(stream);
    return found;
}

/* Whether the call made to fail was one of the creation's. */
static bool injected(void)
{
    char line[4096];
    bool inside = false, hit = false;
    FILE *stream = fopen(trace, "re");
    REQUIRE(stream != NULL);
    while (fgets(line, sizeof line, stream) != NULL) {
        if (strstr(line, BEGIN) != NULL) inside = true;
        if (strstr(line, END) != NULL) inside = false;
        if (strstr(line, "(INJECTED)") != NULL) hit = inside;
    }
    fclose(stream);
    return hit;
}

static void fail_at(size_t way, const struct fault *fault, unsigned occurrence)
{
    struct report report = { 0, 0, 0, 0 };
    char inject[128], what[160];
    int failures = check_failures;
    snprintf(inject, sizeof inject, "inject=%s:error=%s:when=%u", fault->call, fault->error,
             occurrence);
    snprintf(what, sizeof what, "trace=chdir,%s", fault->call);
    CHECK(run(what, inject, way, &report));
    CHECK(injected());
    CHECK_EQ(report.code, fault->code);
    CHECK_EQ(report.os_errno, fault->os_errno);
    CHECK(report.fds_same);
    CHECK(report.mappings_same);
    if (failures != check_failures)
        fprintf(stderr, "  way \"%s\", %s: %s\n", ways[way].name, inject,
                guestmem_error_name(report.code));
}

static void fail_everywhere(size_t way)
{
    static unsigned which[FAULTS][MAX_CALLS];
    static size_t counts[FAULTS];
    char what[512] = "trace=chdir";
    struct report report;
    size_t steps = 0;
    for (size_t i = 0; i < FAULTS; i++) {
        size_t length = strlen(what);
        snprintf(what + length, sizeof what - length, ",%s", faults[i].call);
    }
    if (!run(what, NULL, way, &report)) SKIP("strace cannot trace here");
    CHECK_EQ(report.code, GUESTMEM_OK);
    CHECK(report.fds_same);
    CHECK(report.mappings_same);
    for (size_t i = 0; i < FAULTS; i++) steps += counts[i] = occurrences(faults[i].call, which[i]);
    CHECK(steps > 4);
    for (size_t i = 0; i < FAULTS; i++)
        for (size_t j = 0; j < counts[i]; j++) fail_at(way, &faults[i], which[i][j]);
}

static bool have_huge_pages(void)
{
    if (meminfo("Hugepagesize") == 0) return false;
    lock_huge_pages();
    return reserve_huge_pages(2);
}

static void remove_trace(void)
{
    unlink(trace);
}

static bool have_strace(void)
{
    return system("strace -V >/dev/null 2>&1") == 0;
}

int main(int argc, char **argv)
{
    const char *folder = getenv("TMPDIR");
    ssize_t length;
    int fd;
    if (argc == 2) return child((size_t)strtoul(argv[1], NULL, 10) % WAYS);
    if (host_instrumented()) SKIP("not under valgrind or a sanitizer");
    if (!have_strace()) SKIP("no strace");
    length = readlink("/proc/self/exe", program, sizeof program - 1);
    REQUIRE(length > 0);
    snprintf(trace, sizeof trace, "%s/guestmem-test-XXXXXX", folder != NULL ? folder : "/tmp");
    fd = mkstemp(trace);
    REQUIRE(fd >= 0);
    close(fd);
    atexit(remove_trace);
    for (size_t way = 0; way < WAYS; way++) {
        if (ways[way].create != create_huge || have_huge_pages()) fail_everywhere(way);
        else SKIP_PART("no huge pages and no right to reserve some");
    }
    return check_result();
}
