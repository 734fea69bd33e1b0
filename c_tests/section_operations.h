/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Calls of every section of the interface but those of images (image_operations.h), as operations
 * that may be made to fail: what they work on, and what must hold after they failed. A program that
 * includes this defines _GNU_SOURCE first. */
#ifndef SECTION_OPERATIONS_H
#define SECTION_OPERATIONS_H

#include "host.h"
#include "sections.h"

/* ---- what the operations work on: memory with a region of every backing ---- */

#define SIZE (2 * PAGE)
enum { BACKINGS = 8, PRIVATE = 1, READ_ONLY = 4 };

static const uint64_t backings[BACKINGS] = {
    0,
    GUESTMEM_REGION_PRIVATE,
    GUESTMEM_REGION_FD,
    GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE,
    GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY,
    GUESTMEM_REGION_HOST,                       /* private */
    GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD,  /* shared */
    GUESTMEM_REGION_HOST,                       /* shared */
};

struct operation {
    const char *name;
    void (*before)(void);
    int (*call)(void);
    void (*after)(int code); /* looks at what became of it, and takes everything down */
    uint64_t argument;
    bool calls_nothing; /* of the system */
};

static const struct operation *current;

static struct {
    int file, appended, pipe[2];
    uint8_t *host[BACKINGS];
    bool huge_pages;
    struct guestmem *mem, *other, *out;
    struct guestmem_region *region, *removed;
    char *text;
    struct stream stream;
} ground;

static void prepare_ground(void)
{
    ground.file = new_memfd(BACKINGS * SIZE);
    ground.appended = reopen(ground.file, O_RDWR | O_APPEND);
    REQUIRE(pipe2(ground.pipe, O_CLOEXEC) == 0);
    ground.huge_pages = !fast() && reserve_huge_pages(1);
    stream_new(&ground.stream, 4 * BACKINGS * SIZE);
}

/* Anew for each try, as advice stays with the caller's memory. */
static void map_callers_memory(void)
{
    for (size_t i = 0; i < BACKINGS; i++) {
        if (!(backings[i] & GUESTMEM_REGION_HOST)) continue;
        ground.host[i] = i == 5 ? new_host_memory(SIZE)
                                : mmap(NULL, (size_t)SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                                       ground.file, (off_t)(i * SIZE));
        REQUIRE(ground.host[i] != MAP_FAILED);
    }
}

static void unmap_callers_memory(void)
{
    for (size_t i = 0; i < BACKINGS; i++)
        if (ground.host[i] != NULL) REQUIRE(munmap(ground.host[i], (size_t)SIZE) == 0);
}

static struct guestmem_region_options backed(size_t index)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = index * SIZE, options.size = SIZE, options.flags = backings[index];
    if (backings[index] & GUESTMEM_REGION_FD) options.fd = ground.file;
    if (backings[index] & GUESTMEM_REGION_FD) options.fd_offset = index * SIZE;
    options.host_addr = ground.host[index];
    return options;
}

static int make(size_t from, size_t count, struct guestmem **out)
{
    struct guestmem_region_options options[BACKINGS];
    for (size_t i = 0; i < count; i++) options[i] = backed(from + i);
    return guestmem_new_with_options(options, count, sizeof *options, out);
}

/* ---- its content ---- */

/* No two pages are alike. */
static uint8_t byte_of(uint64_t addr)
{
    return (uint8_t)(addr / PAGE + 1);
}

static void fill(const struct guestmem *mem)
{
    for (size_t i = 0; i < guestmem_num_regions(mem); i++) {
        const struct guestmem_region_info info = info_of(mem, i);
        uint8_t page[4096];
        for (uint64_t at = 0; at < info.size; at += PAGE) {
            memset(page, byte_of(info.guest_addr + at), sizeof page);
            if (info.flags & GUESTMEM_REGION_READ_ONLY)
                REQUIRE(pwrite(info.fd, page, sizeof page, (off_t)(info.fd_offset + at)) ==
                        (ssize_t)sizeof page);
            else memcpy((uint8_t *)info.host_addr + at, page, sizeof page);
        }
    }
}

static bool page_is(uint64_t addr, uint8_t byte)
{
    const uint8_t *page = NULL;
    REQUIRE(guestmem_get_host_address(ground.mem, addr, (void **)&page) == GUESTMEM_OK);
    for (size_t i = 0; i < PAGE; i++)
        if (page[i] != byte) return false;
    return true;
}

/* All pages are what they were, but perhaps that at `addr`. */
static void check_content(uint64_t addr)
{
    for (size_t i = 0; i < guestmem_num_regions(ground.mem); i++) {
        const struct guestmem_region_info info = info_of(ground.mem, i);
        for (uint64_t at = info.guest_addr; at < info.guest_addr + info.size; at += PAGE)
            if (at != addr) CHECK(page_is(at, byte_of(at)));
    }
}

static void before_all(void)
{
    REQUIRE(make(0, BACKINGS, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

static void before_private(void)
{
    REQUIRE(make(PRIVATE, 1, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

/* With one region of the caller's, about each of which the library asks the system. */
static void before_policy(void)
{
    REQUIRE(make(0, BACKINGS - 2, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

static void release(void)
{
    guestmem_unref(ground.mem), guestmem_unref(ground.other), guestmem_unref(ground.out);
    guestmem_region_unref(ground.region);
    ground.mem = ground.other = ground.out = NULL;
    ground.region = NULL;
}

/* ---- creating ---- */

static void before_nothing(void)
{
}

/* Memory that was made works, to the last page of its last region. */
static void after_creating(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.out != NULL || ground.region != NULL));
    if (ground.out != NULL) {
        uint8_t byte = 0;
        const uint64_t end = guestmem_end_addr(ground.out);
        CHECK_OK(guestmem_read_u8(ground.out, end - 1, &byte));
    }
    release();
}

static int call_new(void)
{
    static const struct guestmem_range ranges[] = {{0, PAGE}, {2 * MIB, 4 * MIB}};
    return guestmem_new(ranges, 2, &ground.out);
}

static int call_mixed(void)
{
    return make(0, BACKINGS, &ground.out);
}

static int call_populated(void)
{
    struct guestmem_region_options options[2];
    options[0] = backed(0), options[1] = backed(PRIVATE);
    options[0].flags |= GUESTMEM_REGION_POPULATE, options[1].flags |= GUESTMEM_REGION_POPULATE;
    return guestmem_new_with_options(options, 2, sizeof *options, &ground.out);
}

/* So much that threads share the work; pages that are only read are had for little. */
static int call_populated_by_threads(void)
{
    struct guestmem_region_options options = backed(PRIVATE);
    options.size = 128 * MIB;
    options.flags |= GUESTMEM_REGION_READ_ONLY | GUESTMEM_REGION_POPULATE;
    return guestmem_new_with_options(&options, 1, sizeof options, &ground.out);
}

static int call_huge(void)
{
    struct guestmem_region_options options = backed(0);
    options.size = HUGE_PAGE, options.flags = GUESTMEM_REGION_HUGETLB;
    options.hugetlb_log2 = (uint32_t)current->argument;
    return guestmem_new_with_options(&options, 1, sizeof options, &ground.out);
}

static int call_region_new(void)
{
    const struct guestmem_region_options options = backed((size_t)current->argument);
    return guestmem_region_new(&options, sizeof options, &ground.region);
}

static void before_from_regions(void)
{
    const struct guestmem_region_options options = backed(0);
    REQUIRE(guestmem_region_new(&options, sizeof options, &ground.region) == GUESTMEM_OK);
}

static int call_from_regions(void)
{
    return guestmem_from_regions(&ground.region, 1, &ground.out);
}

static void after_from_regions(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.out != NULL));
    guestmem_unref(ground.out);
    ground.out = NULL;
    /* the caller's reference is what it was */
    REQUIRE(guestmem_from_regions(&ground.region, 1, &ground.mem) == GUESTMEM_OK);
    release();
}

/* ---- access and translation, of which nothing can fail ---- */

static int call_access(void)
{
    access_run();
    return GUESTMEM_OK;
}

static void after_access(int code)
{
    CHECK_OK(code);
    world_finish();
}

/* ---- transfers: from the last page of one region to the first of the next and back ---- */

#define MOVED_ADDR (2 * SIZE + PAGE)
enum { INTO = 1, AT = 2, APPENDED = 4 };

static void before_transfer(void)
{
    uint8_t bytes[2 * 4096];
    before_all();
    memset(bytes, 0xab, sizeof bytes);
    if ((current->argument & (INTO | AT)) == INTO)
        REQUIRE(write(ground.pipe[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    REQUIRE(pwrite(ground.file, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
}

static int call_transfer(void)
{
    const uint64_t how = current->argument, count = 2 * PAGE;
    const int file = how & APPENDED ? ground.appended : ground.file;
    if (how & AT)
        return how & INTO ? guestmem_read_to_memory_at(ground.mem, MOVED_ADDR, file, 0, count)
                          : guestmem_write_from_memory_at(ground.mem, MOVED_ADDR, file, 0, count);
    return how & INTO ? guestmem_read_to_memory(ground.mem, MOVED_ADDR, ground.pipe[0], count)
                      : guestmem_write_from_memory(ground.mem, MOVED_ADDR, ground.pipe[1], count);
}

/* What the other side holds: all that was moved, or all of what it held before. */
static void check_written(int code)
{
    const bool done = code == GUESTMEM_OK;
    uint8_t bytes[2 * 4096];
    ssize_t got = current->argument & AT ? pread(ground.file, bytes, sizeof bytes, 0) : 0;
    if (!(current->argument & AT) && done) got = read(ground.pipe[0], bytes, sizeof bytes);
    for (ssize_t i = 0; i < got; i++)
        if (bytes[i] != (done ? byte_of(MOVED_ADDR + (uint64_t)i) : 0xab)) {
            check_fail(__FILE__, __LINE__, "a byte of the file is another's");
            break;
        }
    if (done) CHECK_EQ(got, sizeof bytes);
}

static void after_transfer(int code)
{
    if (code != GUESTMEM_OK) CHECK_EQ(last_error().completed, 0);
    if (!(current->argument & INTO)) {
        check_written(code);
        check_content(UINT64_MAX);
    } else if (code == GUESTMEM_OK) {
        CHECK(page_is(MOVED_ADDR, 0xab) && page_is(MOVED_ADDR + PAGE, 0xab));
    } else {
        uint8_t unread[2 * 4096];
        check_content(UINT64_MAX);
        if (!(current->argument & AT))
            CHECK_EQ(read(ground.pipe[0], unread, sizeof unread), sizeof unread);
    }
    release();
}

/* ---- managing ---- */

static bool takes_policy(uint64_t policy)
{
    return guestmem_set_memory_policy(ground.mem, policy) == GUESTMEM_OK;
}

static void before_locked(void)
{
    before_all();
    REQUIRE(takes_policy(GUESTMEM_POLICY_LOCK_GUEST_MEMORY));
}

static int call_remove_range(void)
{
    return guestmem_remove_range(ground.mem, current->argument * SIZE, PAGE);
}

/* The page is as it was or gone, never half of it, and of no other a byte is lost. */
static void after_remove_range(int code)
{
    const uint64_t addr = current->argument * SIZE;
    if (code == GUESTMEM_OK) CHECK(page_is(addr, 0));
    else if (code == GUESTMEM_E_UNSUPPORTED) CHECK(page_is(addr, byte_of(addr)));
    else CHECK(page_is(addr, byte_of(addr)) || page_is(addr, 0));
    check_content(addr);
    release();
}

static int call_policy(void)
{
    return guestmem_set_memory_policy(ground.mem, current->argument);
}

static const struct {
    uint64_t policy;
    const char *flag;
} flags_of_policies[] = {
    {GUESTMEM_POLICY_USE_HUGEPAGES, " hg "},
    {GUESTMEM_POLICY_LOCK_GUEST_MEMORY, " lo "},
    {GUESTMEM_POLICY_DONTFORK, " dc "},
    {GUESTMEM_POLICY_MERGEABLE, " mg "},
};

/* The kernel has been told of these policies for the memory at `host`, and of no others. */
static void check_flags(const void *host, uint64_t policies)
{
    char line[512];
    REQUIRE(smaps_line(host, "VmFlags:", line, sizeof line));
    for (size_t i = 0; i < sizeof flags_of_policies / sizeof *flags_of_policies; i++) {
        const bool wanted = (policies & flags_of_policies[i].policy) != 0;
        if ((strstr(line, flags_of_policies[i].flag) != NULL) != wanted)
            check_fail(__FILE__, __LINE__, flags_of_policies[i].flag);
    }
}

static void after_policy(int code)
{
    const uint64_t shown = guestmem_memory_policy(ground.mem);
    CHECK((code == GUESTMEM_OK) == (shown == current->argument));
    CHECK((shown & ~current->argument) == 0);
    for (size_t i = 0; i < guestmem_num_regions(ground.mem); i++)
        check_flags(info_of(ground.mem, i).host_addr, shown);
    check_content(UINT64_MAX);
    release();
}

static int call_describe(void)
{
    return guestmem_describe(ground.mem, &ground.text);
}

static void after_describe(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.text != NULL));
    if (ground.text != NULL) CHECK(json_valid(ground.text));
    guestmem_free(ground.text);
    ground.text = NULL;
    check_content(UINT64_MAX);
    release();
}

/* ---- regions that come and go ---- */

#define IN_FORCE (GUESTMEM_POLICY_DONTFORK | GUESTMEM_POLICY_LOCK_GUEST_MEMORY)

/* Memory with policies in force, and the region that is to come. */
static void before_adding(void)
{
    struct guestmem_region_options options = backed((size_t)current->argument);
    before_private();
    REQUIRE(takes_policy(IN_FORCE));
    options.guest_addr = 64 * SIZE;
    REQUIRE(guestmem_region_new(&options, sizeof options, &ground.region) == GUESTMEM_OK);
}

static int call_add_region(void)
{
    return guestmem_add_region(ground.mem, ground.region);
}

static void after_adding(int code)
{
    const bool added = code == GUESTMEM_OK;
    CHECK_EQ(guestmem_num_regions(ground.mem), 1 + added);
    CHECK_EQ(guestmem_generation(ground.mem), added);
    CHECK_EQ(guestmem_address_in_range(ground.mem, 64 * SIZE), added);
    REQUIRE(guestmem_from_regions(&ground.region, 1, &ground.other) == GUESTMEM_OK);
    check_flags(info_of(ground.other, 0).host_addr, added ? IN_FORCE : 0);
    release();
}

static int call_remove_region(void)
{
    return guestmem_remove_region(ground.mem, 0, &ground.removed);
}

static void after_removing(int code)
{
    const bool gone = code == GUESTMEM_OK;
    CHECK_EQ(ground.removed != NULL, gone);
    CHECK_EQ(guestmem_num_regions(ground.mem), BACKINGS - gone);
    CHECK_EQ(guestmem_generation(ground.mem), gone);
    CHECK_EQ(guestmem_address_in_range(ground.mem, 0), !gone);
    check_content(UINT64_MAX);
    guestmem_region_unref(ground.removed);
    ground.removed = NULL;
    release();
}

static int call_get_view(void)
{
    struct guestmem_view view;
    return guestmem_get_view(ground.mem, &view, sizeof view);
}

static void after_view(int code)
{
    CHECK_OK(code);
    release();
}

/* ---- snapshots to and from a callback ---- */

/* Without the read-only region, which is not to be restored. */
static void before_stream(void)
{
    REQUIRE(make(0, READ_ONLY, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
    ground.stream.at = ground.stream.len = 0;
}

static int call_snapshot_write(void)
{
    return guestmem_snapshot_write(ground.mem, stream_write, &ground.stream, NULL, 0, &ground.text);
}

static int call_restore_read(void)
{
    return guestmem_restore_read(ground.mem, ground.text, strlen(ground.text), stream_read,
                                 &ground.stream, NULL, 0);
}

static void after_snapshot_write(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.text != NULL));
    check_content(UINT64_MAX);
    if (code == GUESTMEM_OK) {
        ground.stream.at = 0;
        CHECK_OK(guestmem_dma_fill(ground.mem, 0, 0xee, READ_ONLY * SIZE));
        CHECK_OK(call_restore_read());
        check_content(UINT64_MAX);
    }
    guestmem_free(ground.text);
    ground.text = NULL;
    release();
}

static void before_restore_read(void)
{
    before_stream();
    REQUIRE(call_snapshot_write() == GUESTMEM_OK);
    ground.stream.at = 0;
    CHECK_OK(guestmem_dma_fill(ground.mem, 0, 0xee, READ_ONLY * SIZE));
}

static bool all_is(uint8_t byte)
{
    for (uint64_t at = 0; at < READ_ONLY * SIZE; at += PAGE)
        if (!page_is(at, byte)) return false;
    return true;
}

/* All of it, or nothing, or tainted; and the whole once more makes up for that. */
static void after_restore_read(int code)
{
    if (code == GUESTMEM_OK) check_content(UINT64_MAX);
    else CHECK(all_is(0xee) || is_tainted(ground.mem));
    ground.stream.at = 0;
    CHECK_OK(call_restore_read());
    check_content(UINT64_MAX);
    CHECK(!is_tainted(ground.mem));
    guestmem_free(ground.text);
    ground.text = NULL;
    release();
}

/* ---- releasing ---- */

static int call_unref(void)
{
    guestmem_unref(ground.mem);
    ground.mem = NULL;
    return GUESTMEM_OK;
}

static void before_region(void)
{
    const struct guestmem_region_options options = backed((size_t)current->argument);
    REQUIRE(guestmem_region_new(&options, sizeof options, &ground.region) == GUESTMEM_OK);
}

static int call_region_unref(void)
{
    guestmem_region_unref(ground.region);
    ground.region = NULL;
    return GUESTMEM_OK;
}

/* The last look that a caller can take: handles that are gone are told. */
static void after_release(int code)
{
    CHECK_OK(code);
    CHECK_EQ(guestmem_num_regions(ground.mem), 0);
}

/* ---- all of them ---- */

#define CREATE(name, call, argument) {name, before_nothing, call, after_creating, argument, false}
#define TRANSFER(name, how) {name, before_transfer, call_transfer, after_transfer, how, false}
#define REMOVE(name, before, region) \
    {"remove_range, " name, before, call_remove_range, after_remove_range, region, false}
#define POLICY(name, before, policy) {name, before, call_policy, after_policy, policy, false}

static const struct operation operations[] = {
    CREATE("new", call_new, 0),
    CREATE("new_with_options, every backing", call_mixed, 0),
    CREATE("new_with_options, populated", call_populated, 0),
    CREATE("new_with_options, populated by threads", call_populated_by_threads, 0),
    CREATE("new_with_options, huge pages of the usual size", call_huge, 0),
    CREATE("new_with_options, huge pages", call_huge, 21),
    CREATE("region_new", call_region_new, 0),
    CREATE("region_new, file", call_region_new, 2),
    {"from_regions", before_from_regions, call_from_regions, after_from_regions, 0, true},
    {"access, translation, questions", world_prepare, call_access, after_access, 0, true},
    TRANSFER("write_from_memory", 0),
    TRANSFER("read_to_memory", INTO),
    TRANSFER("write_from_memory_at", AT),
    TRANSFER("read_to_memory_at", INTO | AT),
    TRANSFER("write_from_memory_at, append", AT | APPENDED),
    REMOVE("memfd", before_all, 0),
    REMOVE("private", before_all, 1),
    REMOVE("file", before_all, 2),
    REMOVE("private file", before_all, 3),
    REMOVE("caller's, private", before_all, 5),
    REMOVE("caller's, with its file", before_all, 6),
    REMOVE("caller's, shared", before_all, 7),
    REMOVE("memfd, locked", before_locked, 0),
    REMOVE("private, locked", before_locked, 1),
    REMOVE("private file, locked", before_locked, 3),
    REMOVE("caller's, private, locked", before_locked, 5),
    POLICY("policy: huge pages", before_private, GUESTMEM_POLICY_USE_HUGEPAGES),
    POLICY("policy: merge", before_private, GUESTMEM_POLICY_MERGEABLE),
    POLICY("policy: lock, and not for children", before_policy, IN_FORCE),
    {"describe", before_all, call_describe, after_describe, 0, false},
    {"add_region", before_adding, call_add_region, after_adding, 0, false},
    {"add_region, private", before_adding, call_add_region, after_adding, 1, false},
    {"add_region, file", before_adding, call_add_region, after_adding, 2, false},
    {"add_region, caller's", before_adding, call_add_region, after_adding, 5, false},
    {"remove_region", before_all, call_remove_region, after_removing, 0, true},
    {"get_view", before_all, call_get_view, after_view, 0, true},
    {"snapshot_write", before_stream, call_snapshot_write, after_snapshot_write, 0, false},
    {"restore_read", before_restore_read, call_restore_read, after_restore_read, 0, false},
    {"unref", before_all, call_unref, after_release, 0, false},
    {"region_unref", before_region, call_region_unref, after_release, 0, false},
};
#define OPERATIONS (sizeof operations / sizeof *operations)

static bool can_be_had(const struct operation *op)
{
    return op->call != call_huge || ground.huge_pages;
}

/* The C library keeps stacks for further threads. */
static bool starts_threads(const struct operation *op)
{
    return op->call == call_populated_by_threads;
}

/* Pages that were replaced are a mapping of their own until the region goes. */
static bool changes_mappings(const struct operation *op)
{
    return op->call == call_remove_range || starts_threads(op);
}

/* Runs one, fit to fail while it is armed, between looks at what the process holds. */
static int try_operation(const struct operation *op, int *armed, bool leaks)
{
    uint64_t fds = host_fds(), mappings = mappings_but_heap(), fds_before, mappings_before;
    int code, errno_after;
    current = op;
    map_callers_memory();
    op->before();
    fds_before = host_fds(), mappings_before = mappings_but_heap();
    errno = 4321;
    __atomic_store_n(armed, 1, __ATOMIC_SEQ_CST);
    code = op->call();
    __atomic_store_n(armed, 0, __ATOMIC_SEQ_CST);
    errno_after = errno;
    CHECK_EQ(errno_after, 4321);
    if (code != GUESTMEM_OK && !leaks) {
        CHECK_EQ(host_fds(), fds_before);
        if (!changes_mappings(op)) CHECK_EQ(mappings_but_heap(), mappings_before);
    }
    op->after(code);
    unmap_callers_memory();
    if (leaks) return code;
    CHECK_EQ(host_fds(), fds);
    if (!starts_threads(op)) CHECK_EQ(mappings_but_heap(), mappings);
    return code;
}

#endif
