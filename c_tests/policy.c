/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory policies: what each does to the mappings, that they add up, and that what the kernel
 * refuses or would ignore is an error and leaves no trace.
 * runs: asan valgrind */
#include "support/process.h"
#include <sys/resource.h>
#include <sys/wait.h>

static const struct guestmem_range two_regions[] = {{0x10000, 0x10000}, {0x40000, 0x20000}};

static struct guestmem *private_memory(void)
{
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    memset(&options, 0, sizeof options);
    options.guest_addr = 0x10000, options.size = 0x10000, options.flags = GUESTMEM_REGION_PRIVATE;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    return mem;
}

/* One private region, then a shared one. */
static struct guestmem *mixed_memory(void)
{
    struct guestmem_region_options options[2];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    options[0].guest_addr = 0x10000, options[0].size = 0x10000,
    options[0].flags = GUESTMEM_REGION_PRIVATE;
    options[1].guest_addr = 0x40000, options[1].size = 0x10000;
    CHECK_OK(guestmem_new_with_options(options, 2, sizeof options[0], &mem));
    REQUIRE(mem != NULL);
    return mem;
}

static bool region_has(const struct guestmem *mem, size_t index, const char *flag)
{
    return mapping_has(info_of(mem, index).host_addr, flag);
}

static void test_arguments(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    unsigned bit;
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    CHECK_OK(guestmem_set_memory_policy(mem, 0));
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    for (bit = 5; bit < 64; bit++) {
        CHECK_CODE(guestmem_set_memory_policy(mem, UINT64_C(1) << bit),
                   GUESTMEM_E_INVALID_ARGUMENT);
        CHECK_CODE(guestmem_set_memory_policy(mem, UINT64_C(1) << bit | GUESTMEM_POLICY_DONTFORK),
                   GUESTMEM_E_INVALID_ARGUMENT);
    }
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    CHECK(!region_has(mem, 0, "dc"));
    guestmem_unref(mem);
}

static void test_policies_add_up(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    const uint64_t both = GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED | GUESTMEM_POLICY_DONTFORK;
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED));
    CHECK_EQ(guestmem_memory_policy(mem), GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED);
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK));
    CHECK_EQ(guestmem_memory_policy(mem), both);
    CHECK_OK(guestmem_set_memory_policy(mem, 0));
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK));
    CHECK_EQ(guestmem_memory_policy(mem), both);
    /* what fails later takes nothing of it away */
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(mem), both);
    CHECK(region_has(mem, 0, "dc") && region_has(mem, 1, "dc"));
    guestmem_unref(mem);
}

/* ---- locking ---- */

static void test_lock(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    CHECK(!region_has(mem, 0, "lo"));
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY));
    CHECK_EQ(guestmem_memory_policy(mem), GUESTMEM_POLICY_LOCK_GUEST_MEMORY);
    CHECK(region_has(mem, 0, "lo") && region_has(mem, 1, "lo"));
    CHECK_OK(guestmem_write_u64(mem, 0x40000, 1));
    guestmem_unref(mem);
}

/* The first region fits under the limit, the second does not: neither is locked afterwards. */
static void lock_beyond_the_limit(struct guestmem *mem)
{
    const struct rlimit limit = {0x18000, 0x18000};
    char message[256];
    int os_errno;
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    REQUIRE(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY),
               GUESTMEM_E_POLICY);
    os_errno = last_error().os_errno;
    CHECK(os_errno == ENOMEM || os_errno == EPERM || os_errno == EAGAIN);
    (void)guestmem_last_error_message(message, sizeof message);
    CHECK(strcasestr(message, "lock") != NULL);
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    CHECK(!region_has(mem, 0, "lo") && !region_has(mem, 1, "lo"));
    /* together with one that works: what is shown is what is in force */
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY |
                                                   GUESTMEM_POLICY_DONTFORK),
               GUESTMEM_E_POLICY);
    CHECK(((guestmem_memory_policy(mem) & GUESTMEM_POLICY_DONTFORK) != 0) ==
          region_has(mem, 0, "dc"));
    CHECK(region_has(mem, 0, "dc") == region_has(mem, 1, "dc"));
    CHECK((guestmem_memory_policy(mem) & GUESTMEM_POLICY_LOCK_GUEST_MEMORY) == 0);
    CHECK(!region_has(mem, 0, "lo") && !region_has(mem, 1, "lo"));
    CHECK_OK(guestmem_write_u64(mem, 0x40000, 1));
}

/* In a child, so that the limits and rights of this process stay. */
static void test_lock_refused(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    int status;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        lock_beyond_the_limit(mem);
        _exit(check_failures != 0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    guestmem_unref(mem);
}

/* ---- not inherited ---- */

static bool mapped(const void *host)
{
    unsigned char vector;
    return mincore((void *)(uintptr_t)host, PAGE, &vector) == 0;
}

static void test_dontfork(void)
{
    struct guestmem *with = check_new(two_regions, 2), *without = check_new(two_regions, 2);
    int status;
    pid_t child;
    CHECK_OK(guestmem_set_memory_policy(with, GUESTMEM_POLICY_DONTFORK));
    CHECK_EQ(guestmem_memory_policy(with), GUESTMEM_POLICY_DONTFORK);
    CHECK(region_has(with, 0, "dc") && region_has(with, 1, "dc") && !region_has(without, 0, "dc"));
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        _exit(mapped(info_of(with, 0).host_addr) || mapped(info_of(with, 1).host_addr) ||
              !mapped(info_of(without, 0).host_addr));
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_OK(guestmem_write_u64(with, 0x40000, 1));
    guestmem_unref(with);
    guestmem_unref(without);
}

/* ---- merging ---- */

static void test_mergeable(void)
{
    struct guestmem *shared = check_new(two_regions, 2), *mixed = mixed_memory(),
                    *mem = private_memory();
    char message[256];
    CHECK_CODE(guestmem_set_memory_policy(shared, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    (void)guestmem_last_error_message(message, sizeof message);
    CHECK(strcasestr(message, "merg") != NULL);
    CHECK_EQ(guestmem_memory_policy(shared), 0);
    CHECK_CODE(guestmem_set_memory_policy(mixed, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(mixed), 0);
    CHECK(!region_has(mixed, 0, "mg"));
    if (access("/sys/kernel/mm/ksm/run", F_OK) == 0) {
        CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE));
        CHECK_EQ(guestmem_memory_policy(mem), GUESTMEM_POLICY_MERGEABLE);
        CHECK(region_has(mem, 0, "mg"));
    } else {
        CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
        CHECK_EQ(guestmem_memory_policy(mem), 0);
    }
    guestmem_unref(shared);
    guestmem_unref(mixed);
    guestmem_unref(mem);
}

/* ---- huge pages ---- */

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* Whether the kernel heeds the wish of a mapping that comes from files in memory. */
static bool shmem_hugepages_allowed(void)
{
    char choice[32], sized[32];
    read_choice(THP "shmem_enabled", choice, sizeof choice);
    if (strcmp(choice, "deny") == 0) return false;
    read_choice(THP "hugepages-2048kB/shmem_enabled", sized, sizeof sized);
    if (*sized != 0 && strcmp(sized, "inherit") != 0) return strcmp(sized, "never") != 0;
    return *choice != 0 && strcmp(choice, "never") != 0;
}

static bool private_hugepages_allowed(void)
{
    char choice[32];
    read_choice(THP "enabled", choice, sizeof choice);
    return strcmp(choice, "madvise") == 0 || strcmp(choice, "always") == 0;
}

static void check_hugepages(struct guestmem *mem, bool allowed, size_t regions)
{
    size_t i;
    char message[256];
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_USE_HUGEPAGES),
               allowed ? GUESTMEM_OK : GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(mem), allowed ? GUESTMEM_POLICY_USE_HUGEPAGES : 0);
    for (i = 0; i < regions; i++) CHECK(region_has(mem, i, "hg") == allowed);
    if (!allowed) {
        (void)guestmem_last_error_message(message, sizeof message);
        CHECK(strcasestr(message, "huge") != NULL);
    }
    guestmem_unref(mem);
}

static void test_hugepages(void)
{
    const bool shmem = shmem_hugepages_allowed(), anonymous = private_hugepages_allowed();
    check_hugepages(private_memory(), anonymous, 1);
    check_hugepages(check_new(two_regions, 2), shmem, 2);
    check_hugepages(mixed_memory(), shmem && anonymous, 2);
}

/* Nothing to apply it to, but in force for what comes. */
static void test_empty_memory(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    const uint64_t both = GUESTMEM_POLICY_DONTFORK | GUESTMEM_POLICY_LOCK_GUEST_MEMORY;
    CHECK_OK(guestmem_set_memory_policy(mem, both));
    CHECK_EQ(guestmem_memory_policy(mem), both);
    guestmem_unref(mem);
}

int main(void)
{
    test_arguments();
    test_policies_add_up();
    if (locking_works())
        test_lock(), test_lock_refused();
    else
        SKIP_PART("pages cannot be locked here");
    test_dontfork();
    test_mergeable();
    test_hugepages();
    test_empty_memory();
    return check_result();
}
