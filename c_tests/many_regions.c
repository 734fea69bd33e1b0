/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Very many regions: every one in its place, and ten times as many take about ten times as long. The
 * system allows a process only so many mappings, which limits.c is about; regions of the caller's
 * memory need none of their own.
 * runs: asan valgrind */
#include "support/guest.h"
#include "support/snapshots.h"
#include <sys/resource.h>
#include <time.h>

/* ---- memory of many regions, each of one page, with a page of nothing behind it ---- */

struct many {
    struct guestmem *mem;
    struct guestmem_region_options *options;
    size_t count;
    uint8_t *callers;
    uint64_t callers_size;
};

/* The caller's memory is one mapping, or one for each region. */
static void many_prepare(struct many *many, size_t count, uint64_t flags, bool apart)
{
    const uint64_t distance = apart ? 2 * PAGE : PAGE;
    const int fd = flags & GUESTMEM_REGION_FD ? new_memfd(count * PAGE) : 0;
    memset(many, 0, sizeof *many);
    many->count = count;
    many->options = calloc(count, sizeof *many->options);
    many->callers_size = count * distance;
    many->callers = new_host_memory(many->callers_size);
    REQUIRE(many->options != NULL);
    for (size_t i = 0; i < count; i++) {
        struct guestmem_region_options *options = &many->options[i];
        options->guest_addr = 2 * i * PAGE, options->size = PAGE, options->flags = flags;
        options->fd = fd;
        if (flags & GUESTMEM_REGION_FD) options->fd_offset = i * PAGE;
        if (flags & GUESTMEM_REGION_HOST) options->host_addr = many->callers + i * distance;
        if (apart) REQUIRE(mprotect(many->callers + i * distance + PAGE, PAGE, PROT_NONE) == 0);
    }
}

static void many_free(struct many *many)
{
    if (many->options[0].flags & GUESTMEM_REGION_FD) REQUIRE(close(many->options[0].fd) == 0);
    free(many->options);
    REQUIRE(munmap(many->callers, many->callers_size) == 0);
}

/* ---- what is done with it ---- */

static void create(struct many *many)
{
    CHECK_OK(guestmem_new_with_options(many->options, many->count, sizeof *many->options,
                                       &many->mem));
    REQUIRE(many->mem != NULL && guestmem_num_regions(many->mem) == many->count);
}

/* Every seventh region has data. */
static void use_each(struct many *many)
{
    uint64_t value = 0;
    for (size_t i = 0; i < many->count; i += 7)
        CHECK_OK(guestmem_write_u64(many->mem, 2 * i * PAGE, i + 1));
    for (size_t i = 0; i < many->count; i++) {
        CHECK_OK(guestmem_read_u64(many->mem, 2 * i * PAGE, &value));
        CHECK_EQ(value, i % 7 == 0 ? i + 1 : 0);
        CHECK_CODE(guestmem_read_u64(many->mem, (2 * i + 1) * PAGE, &value),
                   GUESTMEM_E_INVALID_ADDRESS);
    }
}

/* One comes and one goes: each makes a table of all. */
static void change(struct many *many)
{
    struct guestmem_region_options options;
    struct guestmem_region *region = NULL, *removed = NULL;
    memset(&options, 0, sizeof options);
    options.guest_addr = (2 * (many->count / 2) + 1) * PAGE, options.size = PAGE;
    CHECK_OK(guestmem_region_new(&options, sizeof options, &region));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(guestmem_add_region(many->mem, region));
        CHECK_EQ(guestmem_num_regions(many->mem), many->count + 1);
        CHECK_OK(guestmem_remove_region(many->mem, options.guest_addr, &removed));
        guestmem_region_unref(removed);
    }
    guestmem_region_unref(region);
}

static void describe(struct many *many)
{
    char *json = NULL;
    CHECK_OK(guestmem_describe(many->mem, &json));
    CHECK(json != NULL && strlen(json) > many->count);
    guestmem_free(json);
}

static void set_policy(struct many *many)
{
    const bool callers = many->options[0].flags & GUESTMEM_REGION_HOST;
    CHECK_OK(guestmem_set_memory_policy(
        many->mem, GUESTMEM_POLICY_DONTFORK | (callers ? GUESTMEM_POLICY_MERGEABLE : 0)));
}

static void save_and_restore(struct many *many)
{
    struct image image = image_of(many->mem, NULL);
    uint64_t value = 0;
    for (size_t i = 0; i < many->count; i++)
        CHECK_OK(guestmem_write_u64(many->mem, 2 * i * PAGE, UINT64_MAX));
    CHECK_OK(image_restore(many->mem, &image));
    CHECK_OK(guestmem_read_u64(many->mem, 2 * PAGE, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_read_u64(many->mem, 0, &value));
    CHECK_EQ(value, 1);
    image_free(&image);
}

static void release(struct many *many)
{
    guestmem_unref(many->mem);
    many->mem = NULL;
}

static const struct step {
    const char *name;
    void (*take)(struct many *);
} steps[] = {
    {"create", create},     {"use", use_each},              {"add and remove", change},
    {"describe", describe}, {"snapshot", save_and_restore}, {"policy", set_policy},
    {"release", release},
};
#define STEPS (sizeof steps / sizeof *steps)

/* ---- how long it takes ---- */

static double seconds(void)
{
    struct timespec now;
    REQUIRE(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The shortest of some turns, each step by itself. */
static void measure(size_t count, uint64_t flags, bool apart, double *shortest)
{
    for (size_t i = 0; i < STEPS; i++) shortest[i] = 1e9;
    for (int turn = 0; turn < (fast() ? 1 : 3); turn++) {
        struct many many;
        many_prepare(&many, count, flags, apart);
        for (size_t i = 0; i < STEPS; i++) {
            const double begin = seconds();
            steps[i].take(&many);
            if (seconds() - begin < shortest[i]) shortest[i] = seconds() - begin;
        }
        many_free(&many);
    }
}

/* Work for each pair of regions would make it a hundred. */
#define TOO_MUCH 40

static void ten_times_as_many(const char *what, size_t count, uint64_t flags, bool apart)
{
    double few[STEPS], many[STEPS];
    measure(count, flags, apart, few);
    measure(10 * count, flags, apart, many);
    for (size_t i = 0; i < STEPS; i++) {
        printf("%-15s %7zu regions: %-14s %9.3f ms, %4.1f times that of a tenth\n", what, 10 * count,
               steps[i].name, 1e3 * many[i], many[i] / few[i]);
        /* what takes no time has no ratio; a tool's own work counts as the library's */
        if (many[i] > 1e-3 && !fast()) CHECK(many[i] < TOO_MUCH * few[i]);
    }
}

/* Changes without end come to one in time, before host memory does: each keeps a table. */
static void change_until_refused(void)
{
    struct guestmem_region_options options;
    struct guestmem_region *region, *removed = NULL;
    struct many many;
    int code;
    many_prepare(&many, 20000, GUESTMEM_REGION_HOST, false);
    create(&many);
    options = many.options[0];
    options.guest_addr = 2 * many.count * PAGE;
    CHECK_OK(guestmem_region_new(&options, sizeof options, &region));
    do {
        code = guestmem_add_region(many.mem, region);
        if (code == GUESTMEM_OK) code = guestmem_remove_region(many.mem, options.guest_addr, &removed);
        if (code == GUESTMEM_OK) guestmem_region_unref(removed);
    } while (code == GUESTMEM_OK && guestmem_generation(many.mem) < 100000);
    CHECK_EQ(code, GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(guestmem_remove_region(many.mem, 0, &removed), GUESTMEM_E_TOO_LARGE);
    CHECK(removed == NULL);
    printf("refused after %" PRIu64 " changes\n", guestmem_generation(many.mem));
    use_each(&many);
    guestmem_region_unref(region);
    release(&many);
    many_free(&many);
}

/* Each region of a file keeps a descriptor; some are needed beside. */
static size_t as_descriptors_allow(size_t some)
{
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur >= 10 * some + 64) return some;
    SKIP_PART("%zu descriptors", 10 * some);
    return (limit.rlim_cur - 64) / 10;
}

int main(void)
{
    const size_t most = fast() ? 200 : 10000, some = fast() ? 20 : 300;
    ten_times_as_many("caller's", most, GUESTMEM_REGION_HOST, false);
    ten_times_as_many("caller's, apart", some, GUESTMEM_REGION_HOST, true);
    ten_times_as_many("memfd", some, 0, false);
    ten_times_as_many("copy-on-write", as_descriptors_allow(some), GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, false);
    if (!fast()) change_until_refused();
    return check_result();
}
