/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every kind of call where the process may have no more: of addresses, of descriptors, of file sizes.
 * From nothing at all upwards, until it is enough: an error code or the right result, nothing left
 * behind, errno as it was, no signal; and once there is enough the call works. What limits of locked
 * memory do stands in policy.c, but for regions that come later.
 * runs: natively only */
#include "operations_image.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- the limits ---- */

static uint64_t addresses_in_use(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    REQUIRE(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
    return pages * PAGE;
}

/* The number that the next descriptor gets, if the ones before it are in use. */
static uint64_t next_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && close(fd) == 0);
    return (uint64_t)fd;
}

static uint64_t nothing(void)
{
    return 0;
}

static const struct limit {
    const char *name;
    unsigned resource;
    uint64_t (*in_use)(void);
    uint64_t step; /* how much more each time */
} limits[] = {
    {"addresses", RLIMIT_AS, addresses_in_use, 2 * 4096},
    {"descriptors", RLIMIT_NOFILE, next_descriptor, 1},
    {"file size", RLIMIT_FSIZE, nothing, 0x9000},
};
#define LIMITS (sizeof limits / sizeof *limits)

static struct rlimit before;

static void set_limit(const struct limit *limit, uint64_t more)
{
    struct rlimit now;
    const uint64_t in_use = limit->in_use();
    REQUIRE(getrlimit(limit->resource, &before) == 0);
    now.rlim_cur = in_use + more, now.rlim_max = before.rlim_max;
    REQUIRE(setrlimit(limit->resource, &now) == 0);
}

static void lift_limit(const struct limit *limit)
{
    REQUIRE(setrlimit(limit->resource, &before) == 0);
}

/* ---- calls that make and manage memory ---- */

static struct {
    struct guestmem *mem; /* a region that comes and goes, and caller's memory */
    struct guestmem_region *spare;
    int file, ends[2];
    void *pages;
} all;

static struct guestmem *made;

static struct guestmem_region_options backed_by(size_t index, uint64_t flags)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = index * PAGE, options.size = PAGE, options.flags = flags;
    options.fd = flags & GUESTMEM_REGION_FD ? all.file : 0;
    options.host_addr = flags & GUESTMEM_REGION_HOST ? all.pages : NULL;
    return options;
}

static int create(void)
{
    struct guestmem_region_options options[4];
    options[0] = backed_by(0, GUESTMEM_REGION_POPULATE);
    options[1] = backed_by(1, GUESTMEM_REGION_PRIVATE);
    options[2] = backed_by(2, GUESTMEM_REGION_FD);
    options[3] = backed_by(3, GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE);
    return guestmem_new_with_options(options, 4, sizeof *options, &made);
}

static int create_many(void)
{
    static struct guestmem_range ranges[300];
    for (size_t i = 0; i < 300; i++) ranges[i].guest_addr = i * 2 * PAGE, ranges[i].size = PAGE;
    return guestmem_new(ranges, 300, &made);
}

static int add_and_remove(void)
{
    struct guestmem_region *removed = NULL;
    const uint64_t generation = guestmem_generation(all.mem);
    int code = guestmem_add_region(all.mem, all.spare);
    CHECK_EQ(guestmem_generation(all.mem), generation + (code == GUESTMEM_OK));
    if (code != GUESTMEM_OK) return code;
    code = guestmem_remove_region(all.mem, 8 * PAGE, &removed);
    CHECK((code == GUESTMEM_OK) == (removed != NULL));
    guestmem_region_unref(removed);
    /* there is always a way back once there is room */
    return code;
}

static int describe(void)
{
    char *json = (char *)all.pages;
    const int code = guestmem_describe(all.mem, &json);
    CHECK((code == GUESTMEM_OK) == (json != NULL));
    guestmem_free(json);
    return code;
}

static int remove_pages(void)
{
    return guestmem_remove_range(all.mem, 4 * PAGE, PAGE);
}

static int transfer(void)
{
    const int code = guestmem_write_from_memory(all.mem, 0, all.ends[1], 64);
    return code != GUESTMEM_OK ? code : guestmem_read_to_memory(all.mem, 0, all.ends[0], 64);
}

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
    {"create", create},     {"create many", create_many},   {"add and remove", add_and_remove},
    {"describe", describe}, {"remove pages", remove_pages}, {"transfer", transfer},
};
#define CALLS (sizeof calls / sizeof *calls)

static void prepare_calls(void)
{
    struct guestmem_region_options options[2];
    all.file = new_memfd(PAGE);
    all.pages = new_host_memory(PAGE);
    options[0] = backed_by(0, 0);
    options[1] = backed_by(4, GUESTMEM_REGION_HOST);
    CHECK_OK(guestmem_new_with_options(options, 2, sizeof *options, &all.mem));
    options[0].guest_addr = 8 * PAGE;
    CHECK_OK(guestmem_region_new(options, sizeof *options, &all.spare));
    REQUIRE(pipe2(all.ends, O_CLOEXEC) == 0);
}

static void finish_calls(void)
{
    guestmem_unref(all.mem);
    guestmem_region_unref(all.spare);
    REQUIRE(munmap(all.pages, (size_t)PAGE) == 0 && close(all.file) == 0);
    REQUIRE(close(all.ends[0]) == 0 && close(all.ends[1]) == 0);
}

/* ---- one try, in a child ---- */

struct try {
    const struct limit *limit;
    size_t which; /* of the calls, then of the operations */
    uint64_t more;
};

static bool tells_of_a_limit(int code)
{
    return code == GUESTMEM_OK || code == GUESTMEM_E_NO_MEMORY || code == GUESTMEM_E_TOO_LARGE ||
           code == GUESTMEM_E_OS || code == GUESTMEM_E_IO || code == GUESTMEM_E_UNSUPPORTED;
}

static void check_code_of(int code)
{
    if (tells_of_a_limit(code)) return;
    check_fail(__FILE__, __LINE__, guestmem_error_name(code));
}

/* What went wrong is told without memory or descriptors. */
static void check_message(int code)
{
    char message[256] = "";
    if (code == GUESTMEM_OK) return;
    CHECK(last_error().code == code && guestmem_last_error_message(message, sizeof message) > 0);
}

static int try_call(const struct try *try)
{
    const uint64_t fds = count_fds(), mappings = count_mappings_but_heap();
    int code;
    set_limit(try->limit, try->more);
    errno = 4321;
    code = calls[try->which].call();
    CHECK_EQ(errno, 4321);
    check_message(code);
    if (code != GUESTMEM_OK) CHECK(made == NULL);
    guestmem_unref(made), made = NULL;
    CHECK_EQ(errno, 4321);
    lift_limit(try->limit);
    check_code_of(code);
    CHECK_EQ(count_fds(), fds);
    CHECK_EQ(count_mappings_but_heap(), mappings);
    return code;
}

static int try_saving(const struct try *try)
{
    const struct operation *op = &operations[try->which - CALLS];
    struct outcome outcome;
    uint64_t fds;
    int code;
    before_operation(op);
    fds = count_fds();
    set_limit(try->limit, try->more);
    outcome = run_operation(op, run_plainly);
    code = outcome.code;
    check_message(code);
    lift_limit(try->limit);
    check_code_of(code);
    check_outcome(op, &outcome);
    CHECK_EQ(count_fds(), fds);
    check_retry(op);
    return code;
}

enum { ENOUGH = 0, TOO_LITTLE = 10, WRONG = 20 };

static int one_try(void *argument)
{
    const struct try *try = argument;
    int code;
    check_failures = 0;
    /* the heap grows by no more than is asked for, and gives back what is over */
    (void)mallopt(M_TOP_PAD, 0), (void)malloc_trim(0);
    code = try->which < CALLS ? try_call(try) : try_saving(try);
    if (check_result() != 0) return WRONG;
    return code == GUESTMEM_OK ? ENOUGH : TOO_LITTLE;
}

/* ---- from nothing upwards ---- */

static const char *name_of(size_t which)
{
    return which < CALLS ? calls[which].name : operations[which - CALLS].name;
}

static unsigned try_from_nothing(const struct limit *limit, size_t which)
{
    struct try try = {limit, which, 0};
    unsigned refused = 0, granted = 0;
    while (granted < 2) {
        const int ending = run_in_child(one_try, &try);
        if (ending != ENOUGH && ending != TOO_LITTLE) {
            fprintf(stderr, "%s, with %" PRIu64 " more of %s: ended with %d\n", name_of(which),
                    try.more, limit->name, ending);
            check_fail(__FILE__, __LINE__, "an error code, or the right result");
            break;
        }
        if (ending == ENOUGH) granted++;
        else refused++, granted = 0;
        try.more += limit->step * (1 + refused / 8);
    }
    return refused;
}

/* ---- locked memory ---- */

/* The memory fits under the limit, a region that comes later does not. */
static int add_beyond_what_may_be_locked(void *unused)
{
    const struct rlimit limit = {2 * PAGE, 2 * PAGE};
    const struct guestmem_range range = {0, 2 * PAGE};
    struct guestmem *mem = check_new(&range, 1);
    (void)unused;
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 77;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 77;
    check_failures = 0;
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY));
    CHECK_CODE(guestmem_add_region(mem, all.spare), GUESTMEM_E_POLICY);
    CHECK(last_error().os_errno == ENOMEM && guestmem_num_regions(mem) == 1);
    CHECK(guestmem_generation(mem) == 0);
    CHECK_OK(guestmem_write_u64(mem, PAGE, 1));
    guestmem_unref(mem);
    return check_result();
}

static void *replace_on(void *mem)
{
    for (uint64_t i = 0; i < 3000; i++) CHECK_OK(guestmem_remove_range(mem, i % 2 * PAGE, PAGE));
    return NULL;
}

static void replace_by_threads(struct guestmem *mem)
{
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], NULL, replace_on, mem) == 0);
    for (size_t i = 0; i < 3; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
}

/* No more may be locked than is: pages can be replaced all the same, and what is there then is locked. */
static int replace_what_is_locked(void *unused)
{
    const struct rlimit limit = {2 * PAGE, 2 * PAGE};
    struct guestmem_region_options options = backed_by(0, GUESTMEM_REGION_FD |
                                                              GUESTMEM_REGION_PRIVATE);
    struct guestmem *mem = NULL;
    (void)unused;
    check_failures = 0;
    options.size = 2 * PAGE, options.fd = new_memfd(options.size);
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 77;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 77;
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY));
    CHECK_OK(guestmem_write_u64(mem, PAGE, 1));
    CHECK_OK(guestmem_remove_range(mem, PAGE, PAGE));
    CHECK_EQ(*(uint64_t *)((uint8_t *)info_of(mem, 0).host_addr + PAGE), 0);
    replace_by_threads(mem);
    CHECK(vm_flag((uint8_t *)info_of(mem, 0).host_addr + PAGE, "lo") == 1);
    CHECK(vm_flag(info_of(mem, 0).host_addr, "lo") == 1);
    guestmem_unref(mem);
    return check_result();
}

int main(void)
{
    int ending;
    enter_folder(fast_parent(UINT64_C(1) << 28));
    prepare_calls();
    make_states(SMALL);
    prepare_operations();
    /* what is set up only once is there before */
    for (size_t i = 0; i < CALLS; i++) {
        CHECK_OK(calls[i].call());
        guestmem_unref(made), made = NULL;
    }
    for (size_t i = 0; i < OPERATIONS; i++) (void)try_operation(&operations[i], run_plainly, false);
    for (size_t i = 0; i < LIMITS; i++) {
        unsigned refused = 0;
        for (size_t which = 0; which < CALLS + OPERATIONS; which++)
            refused += try_from_nothing(&limits[i], which);
        printf("%s: %u times too little\n", limits[i].name, refused);
        CHECK(refused > 10);
    }
    for (size_t i = 0; i < 2; i++) {
        ending = run_in_child(i == 0 ? add_beyond_what_may_be_locked : replace_what_is_locked, NULL);
        if (ending == 77) SKIP_PART("RLIMIT_MEMLOCK cannot be set");
        else CHECK_EQ(ending, 0);
    }
    finish_operations();
    finish_calls();
    return check_result();
}
