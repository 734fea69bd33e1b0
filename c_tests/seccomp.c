/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* docs/seccomp.md is right: each section works under a filter of exactly the system calls that stand
 * there, whichever thread it is called from, each of those that are said to be needed is, and each
 * that is optional can be refused.
 * runs: natively only */
#include "seccomp_calls.h"
#include "sections.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- in the child: the filter, and what runs into it ---- */

enum ending { PASSED, FAILED, TRAPPED };

static struct shared {
    long trapped;
} *shared;

/* The name is told by the parent: here not even that is safe. */
static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    shared->trapped = info->si_syscall;
    _exit(TRAPPED);
}

/* What becomes of the rows of a column: `without` is trapped, and all those that are `refused`. */
struct filter {
    size_t column;
    const struct row *without;
    const struct row *refused; /* NULL: none */
    bool refuses_all;          /* that are optional */
    int error;                 /* which they get */
};

enum { MOST_STEPS = 2 * MOST_ROWS * MOST_NAMES + 16 };

struct program {
    struct sock_filter steps[MOST_STEPS];
    unsigned short count;
};

static void add_step(struct program *program, unsigned code, uint32_t value, uint8_t if_not)
{
    const struct sock_filter step = {(uint16_t)code, 0, if_not, value};
    REQUIRE(program->count < MOST_STEPS);
    program->steps[program->count++] = step;
}

static void add_answer(struct program *program, long call, uint32_t answer)
{
    add_step(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 1);
    add_step(program, BPF_RET | BPF_K, answer, 0);
}

static bool is_refused(const struct filter *filter, const struct row *row)
{
    return row == filter->refused ||
           (filter->refuses_all && use_in(row, filter->column) == OPTIONAL);
}

/* What the program itself needs to report and end: the library writes to no such descriptor. */
static void add_own_calls(struct program *program)
{
    add_answer(program, SYS_exit_group, SECCOMP_RET_ALLOW);
    add_step(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 4);
    add_step(program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]), 0);
    add_step(program, BPF_JMP | BPF_JEQ | BPF_K, STDERR_FILENO, 1);
    add_step(program, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0);
    add_step(program, BPF_RET | BPF_K, SECCOMP_RET_TRAP, 0);
}

static void build(struct program *built, const struct filter *filter)
{
    add_step(built, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0);
    add_own_calls(built);
    for (size_t i = 0; i < row_count; i++) {
        uint32_t answer = SECCOMP_RET_ALLOW;
        if (use_in(&rows[i], filter->column) == UNUSED || &rows[i] == filter->without) continue;
        if (is_refused(filter, &rows[i])) answer = SECCOMP_RET_ERRNO | (uint32_t)filter->error;
        for (size_t j = 0; j < rows[i].names; j++)
            add_answer(built, rows[i].numbers[j], answer);
    }
    add_step(built, BPF_RET | BPF_K, SECCOMP_RET_TRAP, 0);
}

/* For the calling thread, and those that it starts. */
static void install(struct program *program)
{
    const struct sock_fprog installed = {program->count, program->steps};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &installed) == 0);
}

/* Who calls the library. The C library makes a thread's arena at its first allocation, and asks for
 * the number of processors when it has made many. */
enum caller { MAIN_THREAD, NEW_THREAD, ONE_OF_MANY, CALLERS };
static const char *const caller_names[CALLERS] = {"the main thread", "a new thread", "one of many"};

static struct program program; /* the filter of this child */

/* Allocates nothing before the filter is installed. */
static void *run_filtered(void *section)
{
    sigset_t pipes;
    /* one that waits, and is to go on waiting when the library takes its own back */
    REQUIRE(sigemptyset(&pipes) == 0 && sigaddset(&pipes, SIGPIPE) == 0);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &pipes, NULL) == 0 && raise(SIGPIPE) == 0);
    check_failures = 0;
    install(&program);
    ((const struct section *)section)->run();
    _exit(check_failures == 0 ? PASSED : FAILED);
}

static void *allocate_and_stay(void *all_allocated)
{
    void *volatile block = malloc(64); /* volatile: not to be left out */
    free(block);
    (void)pthread_barrier_wait(all_allocated);
    (void)pause();
    return NULL;
}

/* As many as have arenas before glibc asks how many there may be. */
static void start_neighbours(void)
{
    enum { NEIGHBOURS = 8 };
    pthread_barrier_t all_allocated;
    pthread_t neighbour;
    REQUIRE(pthread_barrier_init(&all_allocated, NULL, NEIGHBOURS + 1) == 0);
    for (size_t i = 0; i < NEIGHBOURS; i++)
        REQUIRE(pthread_create(&neighbour, NULL, allocate_and_stay, &all_allocated) == 0);
    (void)pthread_barrier_wait(&all_allocated);
}

static void call_from(enum caller caller, const struct section *section)
{
    void *argument = (void *)(uintptr_t)section;
    pthread_t thread;
    if (caller == MAIN_THREAD) run_filtered(argument);
    if (caller == ONE_OF_MANY) start_neighbours();
    REQUIRE(pthread_create(&thread, NULL, run_filtered, argument) == 0);
    (void)pthread_join(thread, NULL); /* which ends the process */
}

static int ending_of(pid_t child)
{
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* The section, which was prepared, under the filter. Minus the signal that ended it. */
static int run_under(const struct section *section, const struct filter *filter, enum caller caller)
{
    pid_t child;
    shared->trapped = -1;
    (void)fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_trap, action.sa_flags = SA_SIGINFO;
        REQUIRE(sigaction(SIGSYS, &action, NULL) == 0);
        build(&program, filter);
        call_from(caller, section);
    }
    return ending_of(child);
}

/* ---- a program's first allocation ---- */

enum { PROGRAM_FD = 3 };

/* All that happens in this program: nothing was allocated before. */
static int allocate_first(void)
{
    const struct guestmem_range range = {0, PAGE};
    struct guestmem *mem = NULL;
    REQUIRE(read(PROGRAM_FD, &program, sizeof program) == (ssize_t)sizeof program);
    install(&program);
    CHECK_OK(guestmem_new(&range, 1, &mem));
    guestmem_unref(mem);
    _exit(check_failures == 0 ? PASSED : FAILED);
}

static int run_fresh(const struct filter *filter)
{
    char name[] = "seccomp", first[] = "first";
    char *const words[] = {name, first, NULL};
    pid_t child;
    (void)fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const int file = new_memfd(0);
        build(&program, filter);
        REQUIRE(pwrite(file, &program, sizeof program, 0) == (ssize_t)sizeof program);
        REQUIRE(file == PROGRAM_FD ? fcntl(file, F_SETFD, 0) == 0 : dup2(file, PROGRAM_FD) >= 0);
        (void)execv("/proc/self/exe", words);
        _exit(FAILED);
    }
    return ending_of(child);
}

/* ---- what must come of it ---- */

static void complain(const struct section *section, const char *what, const struct row *row,
                     enum caller caller, int ending)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s from %s: %s %s: ended with %d, %s (%ld) was trapped",
                   section->name, caller_names[caller], what, row == NULL ? "" : row->name, ending,
                   call_name(shared->trapped), shared->trapped);
    check_fail(__FILE__, __LINE__, line);
}

static void must_pass(const struct section *section, const char *what, struct filter filter)
{
    for (enum caller caller = MAIN_THREAD; caller < CALLERS; caller++) {
        int ending = run_under(section, &filter, caller);
        if (ending != PASSED) complain(section, what, filter.refused, caller, ending);
    }
}

static bool is_in(const struct row *row, long call)
{
    for (size_t i = 0; i < row->names; i++)
        if (row->numbers[i] == call) return true;
    return false;
}

static void must_need(const struct section *section, size_t column, const struct row *row)
{
    const struct filter filter = {column, row, NULL, false, 0};
    const int ending = run_under(section, &filter, MAIN_THREAD);
    /* the C library lets no signal through while it ends a thread, and gives up its stack there */
    const bool untold = ending == -SIGSYS && is_in(row, SYS_madvise);
    if ((ending != TRAPPED || !is_in(row, shared->trapped)) && !untold)
        complain(section, "without", row, MAIN_THREAD, ending);
}

/* Which calls the C library makes for what it is asked is its own matter; the document tells of one
 * on one processor. */
static bool is_the_documents_system(void)
{
#if defined(__x86_64__) && defined(__GLIBC__)
    return true;
#else
    return false;
#endif
}

static void try_section(const struct section *section)
{
    const size_t column = column_of(section->name);
    const struct filter exact = {column, NULL, NULL, false, 0};
    must_pass(section, "under the filter", exact);
    for (size_t i = 0; i < row_count; i++) {
        const enum use use = use_in(&rows[i], column);
        const struct filter refused = {column, NULL, &rows[i], false, ENOSYS};
        if (use == NEEDED && is_the_documents_system()) must_need(section, column, &rows[i]);
        if (use == OPTIONAL) must_pass(section, "refused by ENOSYS", refused);
    }
    if (column < column_count) {
        const struct filter none = {column, NULL, NULL, true, EPERM};
        must_pass(section, "with all that is optional refused by EPERM", none);
    }
}

static void try_first_allocation(void)
{
    const struct filter exact = {column_of("create"), NULL, NULL, false, 0};
    const int ending = run_fresh(&exact);
    if (ending != PASSED) fprintf(stderr, "the first allocation ended with %d\n", ending);
    CHECK(ending == PASSED);
}

int main(int words, char **unused)
{
    const char *path = getenv("GUESTMEM_SECCOMP_MD");
    size_t with_calls = 0;
    (void)unused;
    if (words > 1) return allocate_first();
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) SKIP("no seccomp filters");
    read_table(path != NULL ? path : "../docs/seccomp.md");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    for (size_t i = 0; i < SECTIONS; i++) {
        with_calls += column_of(sections[i].name) < column_count;
        sections[i].prepare();
        try_section(&sections[i]);
        sections[i].finish();
    }
    try_first_allocation();
    CHECK_EQ(with_calls, column_count); /* no column is left out */
    return check_result();
}
