/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A policy that is refused half way leaves all mappings as they were, also those that somebody else had
 * told the kernel about; and huge pages that come unasked go on coming.
 * runs: asan valgrind, alone */
#include "support/process.h"

#include <sys/resource.h>

enum { PAGES = 8 };
#define SIZE (PAGES * PAGE)
#define THP "/sys/kernel/mm/transparent_hugepage/"

/* Four regions: private memory of the library's, its shared memory, caller's memory, and caller's memory
 * whose last pages are not mapped, which refuses whatever the kernel is asked for all of it. */
struct subject {
    struct guestmem *mem;
    uint8_t *callers, *broken;
};

static struct subject new_subject(void)
{
    struct subject subject = {NULL, new_host_memory(SIZE), new_host_memory(SIZE)};
    struct guestmem_region_options options[4];
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < 4; i++) options[i].guest_addr = i * SIZE, options[i].size = SIZE;
    options[0].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = options[3].flags = GUESTMEM_REGION_HOST;
    options[2].host_addr = subject.callers, options[3].host_addr = subject.broken;
    CHECK_OK(guestmem_new_with_options(options, 4, sizeof *options, &subject.mem));
    REQUIRE(subject.mem != NULL && munmap(subject.broken + SIZE / 2, (size_t)SIZE / 2) == 0);
    return subject;
}

static void free_subject(struct subject *subject)
{
    guestmem_unref(subject->mem);
    REQUIRE(munmap(subject->callers, (size_t)SIZE) == 0);
    REQUIRE(munmap(subject->broken, (size_t)SIZE / 2) == 0);
}

static void refuse(const struct subject *subject, uint64_t policy)
{
    CHECK_CODE(guestmem_set_memory_policy(subject->mem, policy), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(subject->mem), 0);
}

/* What the caller did to some of its pages stays, and nothing is added to the others. */
static void test_some_pages(uint64_t policy, int advice, const char *flag)
{
    struct subject subject = new_subject();
    if (madvise(subject.callers + 2 * PAGE, (size_t)(2 * PAGE), advice) != 0 ||
        !mapping_has(subject.callers + 2 * PAGE, flag)) {
        SKIP_PART("no mapping here is told %s", flag);
    } else {
        refuse(&subject, policy);
        CHECK(!mapping_has(info_of(subject.mem, 0).host_addr, flag));
        CHECK(!mapping_has(info_of(subject.mem, 1).host_addr, flag));
        CHECK(!mapping_has(subject.callers, flag) && mapping_has(subject.callers + 2 * PAGE, flag));
        CHECK(!mapping_has(subject.callers + 4 * PAGE, flag) && !mapping_has(subject.broken, flag));
    }
    free_subject(&subject);
}

static void test_some_locked_pages(void)
{
    struct subject subject = new_subject();
    REQUIRE(mlock(subject.callers + 2 * PAGE, (size_t)(2 * PAGE)) == 0);
    refuse(&subject, GUESTMEM_POLICY_LOCK_GUEST_MEMORY);
    CHECK(!mapping_has(info_of(subject.mem, 1).host_addr, "lo"));
    CHECK(!mapping_has(subject.callers, "lo") && mapping_has(subject.callers + 2 * PAGE, "lo"));
    CHECK(!mapping_has(subject.callers + 4 * PAGE, "lo") && !mapping_has(subject.broken, "lo"));
    free_subject(&subject);
}

/* A program that locked all its memory has it locked still. */
static int lock_everything(void *unused)
{
    struct subject subject = new_subject();
    (void)unused;
    if (mlockall(MCL_CURRENT) != 0) return 77;
    refuse(&subject, GUESTMEM_POLICY_LOCK_GUEST_MEMORY);
    for (size_t i = 0; i < 4; i++) CHECK(mapping_has(info_of(subject.mem, i).host_addr, "lo"));
    free_subject(&subject);
    return check_result();
}

/* ---- huge pages ---- */

/* With one of the system's settings as given. False where it cannot be set. */
static bool set(const char *path, const char *word, char *before, size_t cap)
{
    FILE *file;
    bool done;
    read_choice(path, before, cap);
    if (*before == 0 || (file = fopen(path, "we")) == NULL) return false;
    done = fputs(word, file) >= 0;
    return fclose(file) == 0 && done;
}

/* Where huge pages come unasked they are not forbidden; where they came of the advice they come no more. */
static void test_huge_pages(const char *enabled, const char *shmem, bool private_stays, bool shared_stays)
{
    char enabled_before[32], shmem_before[32], unused[32];
    if (set(THP "enabled", enabled, enabled_before, sizeof enabled_before)) {
        if (set(THP "shmem_enabled", shmem, shmem_before, sizeof shmem_before)) {
            struct subject subject = new_subject();
            void *private = info_of(subject.mem, 0).host_addr, *shared = info_of(subject.mem, 1).host_addr;
            CHECK(madvise(subject.callers + 2 * PAGE, (size_t)PAGE, MADV_NOHUGEPAGE) == 0);
            CHECK(madvise(subject.callers + 4 * PAGE, (size_t)PAGE, MADV_HUGEPAGE) == 0);
            refuse(&subject, GUESTMEM_POLICY_USE_HUGEPAGES);
            CHECK(mapping_has(private, "nh") == !private_stays);
            CHECK(mapping_has(shared, "nh") == !shared_stays);
            CHECK(mapping_has(private, "hg") == private_stays);
            CHECK(mapping_has(shared, "hg") == shared_stays);
            CHECK(mapping_has(subject.callers, "nh") == !private_stays);
            CHECK(mapping_has(subject.callers + 2 * PAGE, "nh"));
            CHECK(mapping_has(subject.callers + 4 * PAGE, "hg"));
            free_subject(&subject);
            CHECK(set(THP "shmem_enabled", shmem_before, unused, sizeof unused));
        }
        CHECK(set(THP "enabled", enabled_before, unused, sizeof unused));
    } else {
        SKIP_PART("huge pages cannot be set here");
    }
}

int main(void)
{
    test_some_pages(GUESTMEM_POLICY_DONTFORK, MADV_DONTFORK, "dc");
    if (!locking_works()) {
        SKIP_PART("pages cannot be locked here");
    } else {
        int status;
        test_some_locked_pages();
        status = run_in_child(lock_everything, NULL);
        if (status == 77) SKIP_PART("not everything can be locked here");
        else CHECK_EQ(status, 0);
    }
    test_huge_pages("madvise", "always", false, true);
    test_huge_pages("madvise", "within_size", false, true);
    test_huge_pages("always", "advise", true, false);
    test_huge_pages("madvise", "advise", false, false);
    test_huge_pages("always", "force", true, true);
    return check_result();
}
