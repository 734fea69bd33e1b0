/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Section 3 where a limit is met: of the address space, of the process, of the system. An error
 * code comes back, no signal, and nothing is left behind.
 * runs: asan valgrind */
#include "support/process.h"

#include <sys/resource.h>

#define TOP (UINT64_MAX - PAGE + 1) /* the last page below 2^64 */

static int try_ranges(const struct guestmem_range *ranges, size_t count)
{
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_new(ranges, count, &mem);
    CHECK((mem != NULL) == (code == GUESTMEM_OK));
    guestmem_unref(mem);
    return code;
}

/* Valgrind refuses large mappings by an errno of its own. */
static bool too_much(int code)
{
    return code == GUESTMEM_E_TOO_LARGE || code == GUESTMEM_E_NO_MEMORY ||
           (fast() && code == GUESTMEM_E_OS);
}

static void more_than_any_machine_maps(void)
{
    static const uint64_t half = (uint64_t)1 << 63;
    static const uint64_t sizes[] = { TOP, (uint64_t)1 << 63, ((uint64_t)1 << 63) - PAGE,
                                      (uint64_t)1 << 62, (uint64_t)1 << 57 };
    struct guestmem_range ranges[2];
    ranges[0].guest_addr = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ranges[0].size = sizes[i];
        CHECK(too_much(try_ranges(ranges, 1)));
    }
    /* Together more than a file can be long, and each by itself too. */
    ranges[1].guest_addr = half;
    ranges[1].size = half - PAGE;
    ranges[0].size = half;
    CHECK(too_much(try_ranges(ranges, 2)));
    ranges[0].size = half - PAGE;
    CHECK(too_much(try_ranges(ranges, 2)));
}

/* Such an array cannot exist, so there is nothing to read. */
static void counts_that_no_array_has(void)
{
    static const size_t counts[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 8 + 1 };
    struct guestmem_range range = { 0, PAGE };
    struct guestmem_region_options options;
    struct guestmem_region *region = NULL;
    memset(&options, 0, sizeof options);
    options.size = PAGE;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct guestmem *out = (struct guestmem *)(uintptr_t)64;
        CHECK(try_ranges(&range, counts[i]) != GUESTMEM_OK);
        CHECK(guestmem_new_with_options(&options, counts[i], sizeof options, &out) != GUESTMEM_OK);
        CHECK(out == NULL);
        out = (struct guestmem *)(uintptr_t)64;
        CHECK(guestmem_from_regions(&region, counts[i], &out) != GUESTMEM_OK);
        CHECK(out == NULL);
    }
    guestmem_region_unref(region);
}

/* More regions than the system lets a process have mappings: those made go again. */
static void more_mappings_than_allowed(void)
{
    uint64_t allowed = 0, before;
    struct guestmem_range *ranges;
    size_t count;
    if (!read_number("/proc/sys/vm/max_map_count", &allowed) || allowed > 100000 ||
        fast()) {
        SKIP_PART("the limit of mappings takes too long to reach here");
        return;
    }
    count = (size_t)allowed;
    ranges = calloc(count, sizeof *ranges);
    REQUIRE(ranges != NULL);
    for (size_t i = 0; i < count; i++) {
        ranges[i].guest_addr = i * 2 * PAGE;
        ranges[i].size = PAGE;
    }
    CHECK_OK(try_ranges(ranges, 100));
    before = count_mappings();
    CHECK(too_much(try_ranges(ranges, count)));
    /* The allocator may have taken some for itself, for the lists of so many regions. */
    CHECK(count_mappings() < before + 8);
    CHECK_OK(try_ranges(ranges, 100));
    free(ranges);
}

/* ftruncate past this limit would send SIGXFSZ. */
static int create_beyond_the_file_size_limit(void *unused)
{
    struct guestmem_range range = { 0, 64 * PAGE };
    struct rlimit limit = { PAGE, PAGE };
    struct guestmem *mem = NULL;
    (void)unused;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 77;
    return guestmem_new(&range, 1, &mem) == GUESTMEM_E_TOO_LARGE && mem == NULL ? 0 : 1;
}

static int create_without_free_descriptors(void *unused)
{
    struct guestmem_range range = { 0, PAGE };
    struct rlimit limit = { 0, 0 };
    struct guestmem_error_info info;
    struct guestmem *mem = NULL;
    int code;
    (void)unused;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 77;
    code = guestmem_new(&range, 1, &mem);
    guestmem_last_error(&info, sizeof info);
    if (mem != NULL || info.os_errno != EMFILE) return 1;
    return code == GUESTMEM_E_OS || code == GUESTMEM_E_TOO_LARGE ? 0 : 1;
}

static void limits_of_the_process(void)
{
    int result = run_in_child(create_beyond_the_file_size_limit, NULL);
    if (result == 77) SKIP_PART("RLIMIT_FSIZE cannot be set");
    else CHECK_EQ(result, 0);
    result = run_in_child(create_without_free_descriptors, NULL);
    if (result == 77) SKIP_PART("RLIMIT_NOFILE cannot be set");
    else CHECK_EQ(result, 0);
}

int main(void)
{
    more_than_any_machine_maps();
    counts_that_no_array_has();
    more_mappings_than_allowed();
    limits_of_the_process();
    return check_result();
}
