/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The table of docs/seccomp.md, read into memory: for each row its system calls, and how each section
 * uses them. */
#ifndef SECCOMP_CALLS_H
#define SECCOMP_CALLS_H

#include "support/check.h"
#include <sys/syscall.h>

enum use {
    UNUSED,
    NEEDED,   /* yes */
    OPTIONAL, /* opt */
    POSSIBLE  /* may */
};

enum { MOST_ROWS = 80, MOST_NAMES = 3, MOST_COLUMNS = 8, MOST_CELLS = MOST_COLUMNS + 2 };

struct row {
    long numbers[MOST_NAMES]; /* of the names that this processor knows */
    size_t names;
    char name[64]; /* all of them, as they stand there */
    enum use use[MOST_COLUMNS];
};

static struct row rows[MOST_ROWS];
static size_t row_count;
static char columns[MOST_COLUMNS][16];
static size_t column_count;

static const struct {
    const char *name;
    long number; /* -1 where this processor has no such call */
} known_calls[] = {
#define CALL(name) {#name, SYS_##name}
    CALL(brk),
    CALL(clone),
    CALL(clone3),
    CALL(close),
    CALL(exit),
    CALL(fadvise64),
    CALL(fallocate),
    CALL(fchmod),
    CALL(fcntl),
    CALL(fdatasync),
    CALL(fstat),
    CALL(fstatfs),
    CALL(fsync),
    CALL(ftruncate),
    CALL(futex),
    CALL(getpid),
    CALL(getrandom),
    CALL(gettid),
    CALL(ioctl),
    CALL(linkat),
    CALL(lseek),
    CALL(madvise),
    CALL(memfd_create),
    CALL(mlock2),
    CALL(mmap),
    CALL(mprotect),
    CALL(mremap),
    CALL(msync),
    CALL(munlock),
    CALL(munmap),
    CALL(newfstatat),
    CALL(openat),
    CALL(pread64),
    CALL(preadv),
    CALL(prlimit64),
    CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(pwritev),
    CALL(pwritev2),
    CALL(read),
    CALL(readlinkat),
    CALL(readv),
    CALL(renameat),
    CALL(rseq),
    CALL(rt_sigaction),
    CALL(rt_sigpending),
    CALL(rt_sigprocmask),
    CALL(rt_sigtimedwait),
    CALL(sched_getaffinity),
    CALL(set_robust_list),
    CALL(sync_file_range),
    CALL(tgkill),
    CALL(unlinkat),
    CALL(userfaultfd),
    CALL(write),
    CALL(writev),
#ifdef SYS_readlink
    CALL(readlink),
#else
    {"readlink", -1},
#endif
#undef CALL
};
#define KNOWN_CALLS (sizeof known_calls / sizeof *known_calls)

/* "a call" where this program cannot tell. */
static const char *call_name(long number)
{
    for (size_t i = 0; i < KNOWN_CALLS; i++)
        if (known_calls[i].number == number) return known_calls[i].name;
    return "a call";
}

/* The cells of a row, without the blanks around them. */
static size_t split(char *line, char **cells)
{
    size_t count = 0;
    char *end = strrchr(line, '|');
    if (*line != '|' || end == line) return 0;
    *end = 0;
    for (char *cell = line + 1; cell != NULL && count < MOST_CELLS; count++) {
        char *next = strchr(cell, '|'), *last;
        if (next != NULL) *next++ = 0;
        cell += strspn(cell, " ");
        for (last = cell + strlen(cell); last > cell && last[-1] == ' ';) *--last = 0;
        cells[count] = cell;
        cell = next;
    }
    return count;
}

static enum use use_of(const char *cell)
{
    static const char *const words[] = {"", "yes", "opt", "may"};
    for (size_t i = 0; i < 4; i++)
        if (strcmp(cell, words[i]) == 0) return (enum use)i;
    fprintf(stderr, "\"%s\" is no word for a use\n", cell);
    exit(1);
}

static void add_name(struct row *row, const char *name)
{
    for (size_t i = 0; i < KNOWN_CALLS; i++) {
        if (strcmp(known_calls[i].name, name) != 0) continue;
        REQUIRE(row->names < MOST_NAMES);
        if (known_calls[i].number >= 0) row->numbers[row->names++] = known_calls[i].number;
        return;
    }
    fprintf(stderr, "%s is not among the known calls\n", name);
    exit(1);
}

/* First cell: one name or several, each in backquotes. */
static void add_row(char **cells)
{
    struct row *row = &rows[row_count++];
    char *rest = cells[0];
    REQUIRE(row_count <= MOST_ROWS);
    (void)snprintf(row->name, sizeof row->name, "%s", cells[0]);
    for (char *name = strtok_r(rest, "`, ", &rest); name != NULL; name = strtok_r(NULL, "`, ", &rest))
        add_name(row, name);
    for (size_t i = 0; i < column_count; i++) row->use[i] = use_of(cells[1 + i]);
}

/* The table whose first heading is "Call": its other headings but the last are the columns. */
static void read_table(const char *path)
{
    char line[1024], *cells[MOST_CELLS];
    FILE *file = fopen(path, "re");
    if (file == NULL) perror(path);
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t count = split(line, cells);
        if (count < 3) continue;
        if (strcmp(cells[0], "Call") == 0)
            for (column_count = 0; column_count + 2 < count; column_count++)
                (void)snprintf(columns[column_count], sizeof columns[0], "%s",
                               cells[1 + column_count]);
        if (*cells[0] == '`' && column_count + 2 == count) add_row(cells);
    }
    REQUIRE(fclose(file) == 0 && row_count > 0);
}

/* The column of a section; column_count for one that makes no calls. */
static size_t column_of(const char *section)
{
    size_t column = 0;
    while (column < column_count && strcmp(columns[column], section) != 0) column++;
    return column;
}

static enum use use_in(const struct row *row, size_t column)
{
    return column < column_count ? row->use[column] : UNUSED;
}

#endif
