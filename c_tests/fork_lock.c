/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Locks are not passed on to a forked child: it is told so, can lock the memory for itself, and leaves its
 * parent's as it is. Every other policy goes with the memory.
 * runs: natively only */
#include "support/process.h"

#include <sys/resource.h>

enum { PAGES = 16, REGIONS = 3 };
#define SIZE (PAGES * PAGE)
#define LOCK GUESTMEM_POLICY_LOCK_GUEST_MEMORY
#define OTHERS GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED

/* Shared, private, and copy-on-write. */
static struct guestmem *new_memory(void)
{
    const int file = new_disk_file(SIZE);
    struct guestmem_region_options options[REGIONS];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < REGIONS; i++) options[i].guest_addr = i * SIZE, options[i].size = SIZE;
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = GUESTMEM_REGION_PRIVATE | GUESTMEM_REGION_FD, options[2].fd = file;
    CHECK_OK(guestmem_new_with_options(options, REGIONS, sizeof *options, &mem));
    REQUIRE(mem != NULL && close(file) == 0);
    return mem;
}

static uint64_t locked_kib(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmLck: %" SCNu64, &kib) == 1) break;
    REQUIRE(fclose(file) == 0);
    return kib;
}

static size_t regions_locked(const struct guestmem *mem)
{
    size_t locked = 0;
    for (size_t i = 0; i < guestmem_num_regions(mem); i++)
        locked += mapping_has(info_of(mem, i).host_addr, "lo");
    return locked;
}

static bool told(const struct guestmem *mem)
{
    char *text = NULL;
    bool found;
    CHECK_OK(guestmem_describe(mem, &text));
    found = text != NULL && strstr(text, "\"lock_guest_memory\"") != NULL;
    guestmem_free(text);
    return found;
}

static void check_lock(const struct guestmem *mem, bool locked)
{
    CHECK_EQ(guestmem_memory_policy(mem), OTHERS | (locked ? LOCK : 0));
    CHECK_EQ(regions_locked(mem), locked ? guestmem_num_regions(mem) : 0);
    CHECK(told(mem) == locked);
}

static void add_region(struct guestmem *mem, uint64_t addr)
{
    const struct guestmem_region_options options = {.guest_addr = addr, .size = SIZE};
    struct guestmem_region *region = NULL;
    CHECK_OK(guestmem_region_new(&options, sizeof options, &region));
    CHECK_OK(guestmem_add_region(mem, region));
    guestmem_region_unref(region);
}

static int grandchild(void *memory)
{
    struct guestmem *mem = memory;
    check_lock(mem, false);
    guestmem_unref(mem);
    return check_result();
}

static int child(void *memory)
{
    struct guestmem *mem = memory;
    CHECK_EQ(locked_kib(), 0);
    check_lock(mem, false);
    /* pages that take others' place, and regions that come, are as the rest */
    CHECK_OK(guestmem_remove_range(mem, 2 * SIZE, PAGE));
    add_region(mem, 8 * SIZE);
    check_lock(mem, false);
    CHECK_OK(guestmem_set_memory_policy(mem, LOCK));
    check_lock(mem, true);
    CHECK_EQ(locked_kib(), (REGIONS + 1) * SIZE / 1024);
    CHECK_OK(guestmem_remove_range(mem, 2 * SIZE + 4 * PAGE, PAGE));
    add_region(mem, 16 * SIZE);
    check_lock(mem, true);
    CHECK_EQ(locked_kib(), (REGIONS + 2) * SIZE / 1024);
    CHECK_OK(guestmem_set_memory_policy(mem, LOCK));
    CHECK_EQ(run_in_child(grandchild, mem), 0);
    check_lock(mem, true);
    guestmem_unref(mem);
    return check_result();
}

/* It may not lock so much: it is told, and nothing is. */
static int child_with_a_limit(void *memory)
{
    const struct rlimit limit = {2 * SIZE, 2 * SIZE};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    REQUIRE(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    CHECK_CODE(guestmem_set_memory_policy(memory, LOCK), GUESTMEM_E_POLICY);
    check_lock(memory, false);
    CHECK_EQ(locked_kib(), 0);
    return check_result();
}

/* What is not there cannot be locked. */
static int child_without_memory(void *memory)
{
    CHECK_EQ(guestmem_memory_policy(memory), OTHERS | GUESTMEM_POLICY_DONTFORK);
    CHECK_CODE(guestmem_set_memory_policy(memory, LOCK), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(memory), OTHERS | GUESTMEM_POLICY_DONTFORK);
    guestmem_unref(memory);
    return check_result();
}

/* Asked for in memory without regions: it holds for what comes, here. */
static int child_of_empty_memory(void *memory)
{
    check_lock(memory, false);
    add_region(memory, 0);
    check_lock(memory, false);
    return check_result();
}

int main(void)
{
    struct guestmem *mem = new_memory(), *empty = check_new(NULL, 0);
    if (!locking_works()) SKIP("pages cannot be locked here");
    CHECK_OK(guestmem_set_memory_policy(mem, LOCK | OTHERS));
    CHECK_OK(guestmem_set_memory_policy(empty, LOCK | OTHERS));
    check_lock(mem, true);
    CHECK_EQ(run_in_child(child, mem), 0);
    CHECK_EQ(run_in_child(child_with_a_limit, mem), 0);
    CHECK_EQ(run_in_child(child_of_empty_memory, empty), 0);
    check_lock(mem, true);
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK));
    CHECK_EQ(run_in_child(child_without_memory, mem), 0);
    guestmem_unref(empty);
    guestmem_unref(mem);
    return check_result();
}
