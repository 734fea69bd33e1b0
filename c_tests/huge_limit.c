/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A control group that limits how many huge pages a process takes: memory beyond that is refused when it
 * is made, and what was made can be touched, all of it. Without a limit pages are only reserved.
 * runs: asan valgrind alone */
#include "support/process.h"

#include <sched.h>
#include <sys/mount.h>

#define LIMIT 2 /* pages */

static char root[64], group[128], inner[192];
static bool enabled;

static bool put(const char *folder, const char *name, const char *text)
{
    char path[512];
    int fd;
    bool done;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    return close(fd) == 0 && done;
}

static bool has_word(const char *folder, const char *name, const char *word)
{
    char path[512], line[512] = "";
    FILE *file;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "re");
    if (file == NULL) return false;
    if (fgets(line, sizeof line, file) == NULL) line[0] = 0;
    REQUIRE(fclose(file) == 0);
    return strstr(line, word) != NULL;
}

static struct guestmem *make(uint64_t pages, uint64_t flags, int expected)
{
    struct guestmem_region_options options[2];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    /* one page by itself, the others together */
    for (size_t i = 0; i < 2; i++) options[i].flags = GUESTMEM_REGION_HUGETLB | flags, options[i].hugetlb_log2 = 21;
    options[0].size = HUGE_PAGE;
    options[1].guest_addr = HUGE_PAGE, options[1].size = (pages - 1) * HUGE_PAGE;
    CHECK_CODE(guestmem_new_with_options(options, 2, sizeof *options, &mem), expected);
    return mem;
}

static void touch_all(struct guestmem *mem, uint64_t pages)
{
    for (uint64_t page = 0; mem != NULL && page < pages; page++)
        CHECK_OK(guestmem_write_u8(mem, page * HUGE_PAGE, 1));
}

static void enter(const char *folder)
{
    char number[32];
    (void)snprintf(number, sizeof number, "%d", (int)getpid());
    REQUIRE(put(folder, "cgroup.procs", number));
}

static int limited(void *folder)
{
    enter(folder);
    for (int round = 0; round < 2; round++) { /* what was refused leaves nothing that counts */
        CHECK(make(LIMIT + 1, 0, GUESTMEM_E_NO_MEMORY) == NULL);
        CHECK(make(LIMIT + 2, GUESTMEM_REGION_POPULATE, GUESTMEM_E_NO_MEMORY) == NULL);
        for (int i = 0; i < 2; i++) {
            struct guestmem *mem = make(LIMIT, i == 0 ? 0 : GUESTMEM_REGION_POPULATE, GUESTMEM_OK);
            touch_all(mem, LIMIT);
            guestmem_unref(mem);
        }
    }
    return check_result();
}

/* Reserved, and free until they are touched. */
static int unlimited(void *folder)
{
    uint64_t before = 0, after = 0;
    struct guestmem *mem;
    if (folder != NULL) enter(folder);
    CHECK(read_number(HUGE_POOL "free_hugepages", &before));
    mem = make(LIMIT + 2, 0, GUESTMEM_OK);
    CHECK(read_number(HUGE_POOL "free_hugepages", &after));
    CHECK_EQ(after, before);
    touch_all(mem, LIMIT + 2);
    guestmem_unref(mem);
    return check_result();
}

static void set_limit(const char *folder, const char *name, bool limit)
{
    char text[32] = "max";
    if (limit) (void)snprintf(text, sizeof text, "%" PRIu64, LIMIT * HUGE_PAGE);
    CHECK(put(folder, name, text));
}

static void test_limits(const char *folder)
{
    static const char *const names[] = {"hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"};
    for (size_t i = 0; i < 2; i++) {
        set_limit(group, names[i], true);
        CHECK_EQ(run_in_child(limited, (void *)(uintptr_t)folder), 0);
        set_limit(group, names[i], false);
    }
}

/* In a mount namespace of its own, where control groups are mounted as usual or elsewhere. */
static int mounted_at(void *where)
{
    const bool usual = strcmp(where, "/sys/fs/cgroup") == 0;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) != 0) return 77;
    if (mount("none", where, "cgroup2", 0, NULL) != 0) return 77;
    (void)snprintf(root, sizeof root, "%s", (const char *)where);
    if (!has_word(root, "cgroup.controllers", "hugetlb")) return 77;
    enabled = !has_word(root, "cgroup.subtree_control", "hugetlb");
    if (enabled && !put(root, "cgroup.subtree_control", "+hugetlb")) return 77;
    (void)snprintf(group, sizeof group, "%s/guestmem-%d", root, (int)getpid());
    (void)snprintf(inner, sizeof inner, "%s/inner", group);
    REQUIRE(mkdir(group, 0755) == 0 && mkdir(inner, 0755) == 0);
    test_limits(inner); /* the limit is that of the group above */
    if (usual) CHECK_EQ(run_in_child(unlimited, inner), 0);
    CHECK(rmdir(inner) == 0);
    test_limits(group);
    if (usual) CHECK_EQ(run_in_child(unlimited, group), 0);
    CHECK(rmdir(group) == 0);
    if (enabled) (void)put(root, "cgroup.subtree_control", "-hugetlb");
    return check_result();
}

int main(void)
{
    char folder[] = "/tmp/guestmem-test-XXXXXX";
    int usual, elsewhere;
    if (!reserve_huge_pages(LIMIT + 2)) SKIP("no huge pages of 2 MiB can be reserved");
    REQUIRE(mkdtemp(folder) != NULL);
    CHECK_EQ(run_in_child(unlimited, NULL), 0);
    usual = run_in_child(mounted_at, (void *)(uintptr_t)"/sys/fs/cgroup");
    elsewhere = run_in_child(mounted_at, folder);
    REQUIRE(rmdir(folder) == 0);
    if (usual == 77 || elsewhere == 77) SKIP("no control groups that limit huge pages");
    CHECK_EQ(usual, 0);
    CHECK_EQ(elsewhere, 0);
    return check_result();
}
