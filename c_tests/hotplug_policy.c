/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The policies of a memory reach the regions that are added to it; one that the kernel refuses for
 * such a region leaves the memory and the region as they were.
 * runs: asan valgrind tsan */
#include "support/regions.h"
#include "support/process.h"
#include <sys/resource.h>
#include <sys/wait.h>

#define ADDR ((uint64_t)0x40000)

/* One private region, so that pages of it can be merged. */
static struct guestmem *private_memory(uint64_t policy)
{
    struct guestmem *mem = check_new(NULL, 0);
    struct guestmem_region *region = new_region(0, PAGE, GUESTMEM_REGION_PRIVATE);
    REQUIRE(guestmem_add_region(mem, region) == GUESTMEM_OK);
    guestmem_region_unref(region);
    REQUIRE(guestmem_set_memory_policy(mem, policy) == GUESTMEM_OK);
    return mem;
}

/* Where a region lies that is in no memory. */
static uint8_t *host_of_region(struct guestmem_region *region)
{
    struct guestmem *mem = NULL;
    uint8_t *host;
    REQUIRE(guestmem_from_regions(&region, 1, &mem) == GUESTMEM_OK);
    host = info_of(mem, 0).host_addr;
    guestmem_unref(mem);
    return host;
}

static void reach_what_is_added(uint64_t policy, const char *flag)
{
    struct guestmem *mem = private_memory(policy), *empty = check_new(NULL, 0);
    struct guestmem_region *region = new_region(ADDR, 2 * PAGE, GUESTMEM_REGION_PRIVATE);
    const uint8_t *host = host_of_region(region);
    CHECK(!mapping_has(host, flag));
    CHECK_OK(guestmem_add_region(empty, region));
    CHECK(!mapping_has(host, flag)); /* that memory has no policy */
    CHECK_OK(guestmem_add_region(mem, region));
    CHECK(mapping_has(host, flag) && mapping_has(host + PAGE, flag));
    CHECK_EQ(guestmem_memory_policy(mem), policy);
    CHECK_EQ(guestmem_memory_policy(empty), 0);
    CHECK_OK(guestmem_write_u64(mem, ADDR, 1));
    guestmem_region_unref(region);
    guestmem_unref(empty);
    guestmem_unref(mem);
}

/* All of them, put in force while there is nothing to apply them to. */
static void reach_an_empty_memory(void)
{
    const uint64_t both = GUESTMEM_POLICY_DONTFORK | GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED;
    struct guestmem *mem = check_new(NULL, 0);
    pid_t child;
    int status;
    uint8_t *host;
    CHECK_OK(guestmem_set_memory_policy(mem, both));
    plug(mem, ADDR, PAGE);
    host = host_of(mem, ADDR);
    CHECK(mapping_has(host, "dc"));
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        unsigned char vector;
        _exit(mincore(host, (size_t)PAGE, &vector) == 0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* what is put in force later reaches what was added before */
    plug(mem, 0, PAGE);
    CHECK(mapping_has(host_of(mem, 0), "dc"));
    guestmem_unref(mem);
}

/* --- refused -------------------------------------------------------------------------------- */

/* Gives the errno that the kernel refused with. */
static int check_refused(struct guestmem *mem, struct guestmem_region *region, const char *name)
{
    const uint64_t policy = guestmem_memory_policy(mem), generation = guestmem_generation(mem);
    struct guestmem_error_info info;
    char message[256];
    uint8_t byte = 0;
    errno = 4711;
    CHECK_CODE(guestmem_add_region(mem, region), GUESTMEM_E_POLICY);
    CHECK_EQ(errno, 4711);
    info = last_error();
    CHECK_EQ(info.code, GUESTMEM_E_POLICY);
    CHECK_EQ(info.guest_addr, ADDR);
    CHECK(info.size != 0);
    (void)guestmem_last_error_message(message, sizeof message);
    CHECK(strcasestr(message, name) != NULL);
    CHECK_EQ(guestmem_memory_policy(mem), policy);
    CHECK_EQ(guestmem_generation(mem), generation);
    CHECK_EQ(guestmem_num_regions(mem), 1);
    CHECK_CODE(guestmem_read_u8(mem, ADDR, &byte), GUESTMEM_E_INVALID_ADDRESS);
    return info.os_errno;
}

/* Shared pages are never merged: the kernel would say yes and do nothing. */
static void merging_is_refused_for_shared_memory(void)
{
    struct guestmem *mem = private_memory(GUESTMEM_POLICY_MERGEABLE | GUESTMEM_POLICY_DONTFORK);
    struct guestmem *other = check_new(NULL, 0);
    struct guestmem_region *region = new_region(ADDR, PAGE, 0);
    const uint8_t *host = host_of_region(region);
    (void)check_refused(mem, region, "merg");
    CHECK(!mapping_has(host, "dc")); /* nor has it the other one of the two */
    /* What another memory asked for is not taken back. */
    CHECK_OK(guestmem_set_memory_policy(other, GUESTMEM_POLICY_DONTFORK));
    CHECK_OK(guestmem_add_region(other, region));
    CHECK(mapping_has(host, "dc"));
    (void)check_refused(mem, region, "merg");
    CHECK(mapping_has(host, "dc"));
    guestmem_unref(other);
    guestmem_region_unref(region);
    region = new_region(ADDR, PAGE, GUESTMEM_REGION_PRIVATE);
    CHECK_OK(guestmem_add_region(mem, region));
    CHECK(mapping_has(host_of(mem, ADDR), "mg") && mapping_has(host_of(mem, ADDR), "dc"));
    guestmem_region_unref(region);
    guestmem_unref(mem);
}

/* The first region fits under the limit, what is added does not. In a child, so that the limits and
 * rights of this process stay. */
static void lock_beyond_the_limit(void)
{
    const struct rlimit limit = { 0x4000, 0x4000 };
    struct guestmem_region *large, *small;
    struct guestmem *mem;
    const uint8_t *host;
    int os_errno;
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    REQUIRE(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    mem = private_memory(GUESTMEM_POLICY_LOCK_GUEST_MEMORY | GUESTMEM_POLICY_DONTFORK);
    large = new_region(ADDR, 16 * PAGE, 0);
    small = new_region(ADDR, 2 * PAGE, 0);
    host = host_of_region(large);
    os_errno = check_refused(mem, large, "lock");
    CHECK(os_errno == ENOMEM || os_errno == EAGAIN || os_errno == EPERM);
    CHECK(!mapping_has(host, "lo") && !mapping_has(host, "dc"));
    CHECK(mapping_has(host_of(mem, 0), "lo"));
    CHECK_OK(guestmem_add_region(mem, small));
    CHECK(mapping_has(host_of(mem, ADDR), "lo") && mapping_has(host_of(mem, ADDR), "dc"));
    /* Removed and released, it counts no more against the limit. */
    unplug(mem, ADDR);
    guestmem_region_unref(small);
    for (int round = 0; round < 5; round++) {
        plug(mem, ADDR, 2 * PAGE);
        CHECK(mapping_has(host_of(mem, ADDR), "lo"));
        unplug(mem, ADDR);
    }
    guestmem_region_unref(large);
    guestmem_unref(mem);
}

static void locking_is_refused_beyond_the_limit(void)
{
    int status;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        lock_beyond_the_limit();
        _exit(check_failures != 0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    reach_what_is_added(GUESTMEM_POLICY_DONTFORK, "dc");
    reach_an_empty_memory();
    if (locking_works()) {
        reach_what_is_added(GUESTMEM_POLICY_LOCK_GUEST_MEMORY, "lo");
        locking_is_refused_beyond_the_limit();
    } else {
        SKIP_PART("pages cannot be locked here");
    }
    if (access("/sys/kernel/mm/ksm/run", F_OK) == 0) {
        reach_what_is_added(GUESTMEM_POLICY_MERGEABLE, "mg");
        merging_is_refused_for_shared_memory();
    } else {
        SKIP_PART("the kernel merges no pages");
    }
    return check_result();
}
