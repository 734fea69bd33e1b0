/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A forked child: what it shares with its parent, what it has to itself, and what it may do, with
 * every backing, with GUESTMEM_POLICY_DONTFORK and without, and while threads use the library.
 * runs: asan valgrind musl */
#include "support/process.h"
#include "support/snapshots.h"
#include <pthread.h>
#include <sched.h>

enum { PAGES = 4 };
#define SIZE (PAGES * PAGE)
#define BEFORE 0x11u /* what memory holds at the fork, and what is written on either side after it */
#define BY_CHILD 0x22u
#define BY_PARENT 0x33u

static const struct kind {
    const char *name;
    uint64_t flags;
    bool shared;
} kinds[] = {
    {"memfd", 0, true},
    {"private", GUESTMEM_REGION_PRIVATE, false},
    {"file", GUESTMEM_REGION_FD, true},
    {"copy-on-write", GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, false},
    {"caller's, private", GUESTMEM_REGION_HOST, false},
    {"caller's, shared", GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD, true},
};
#define KINDS (sizeof kinds / sizeof *kinds)

struct subject {
    const struct kind *kind;
    struct guestmem *mem;
    uint8_t *host;
    int go[2]; /* the parent tells the child that it has written */
};

static struct subject subject_of(const struct kind *kind)
{
    struct subject subject = {kind, NULL, NULL, {-1, -1}};
    const int file = new_disk_file(SIZE);
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.size = SIZE, options.flags = kind->flags, options.fd = file;
    if (kind->flags & GUESTMEM_REGION_HOST)
        options.host_addr =
            kind->shared ? mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, options.fd, 0)
                         : new_host_memory(SIZE);
    REQUIRE(options.host_addr != MAP_FAILED);
    if (!(kind->flags & GUESTMEM_REGION_FD)) options.fd = 0;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &subject.mem));
    REQUIRE(subject.mem != NULL && pipe2(subject.go, O_CLOEXEC) == 0 && close(file) == 0);
    subject.host = info_of(subject.mem, 0).host_addr;
    CHECK_OK(guestmem_dma_fill(subject.mem, 0, BEFORE, 2 * PAGE));
    return subject;
}

static void subject_free(struct subject *subject)
{
    guestmem_unref(subject->mem);
    if (subject->kind->flags & GUESTMEM_REGION_HOST) REQUIRE(munmap(subject->host, SIZE) == 0);
    REQUIRE(close(subject->go[0]) == 0 && close(subject->go[1]) == 0);
}

static pid_t start(int (*function)(struct subject *), struct subject *subject)
{
    pid_t child;
    (void)fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        check_failures = 0;
        signal(SIGSEGV, SIG_DFL);
        _exit(function(subject));
    }
    return child;
}

/* Its exit status, or minus the signal that ended it. */
static int end_of(pid_t child)
{
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static uint8_t byte_at(const struct guestmem *mem, uint64_t addr)
{
    uint8_t byte = 0xff;
    CHECK_OK(guestmem_read_u8(mem, addr, &byte));
    return byte;
}

/* ---- without a policy ---- */

/* The child has the data of a snapshot that its parent took no part in: that of the fork, whatever
 * is written since, where memory is not shared. */
static void snapshot_in_child(const struct subject *subject)
{
    struct image image = image_of(subject->mem, NULL);
    uint8_t *bytes = copy_of(subject->mem);
    CHECK(check_metadata(subject->mem, image.metadata, NULL, true) >= 1);
    CHECK_OK(guestmem_dma_fill(subject->mem, 0, 0x44, SIZE));
    CHECK_OK(image_restore(subject->mem, &image));
    CHECK(memory_is(subject->mem, bytes));
    free(bytes);
    image_free(&image);
}

/* Every section works: nobody else was in the library at the fork. */
static int use_in_child(struct subject *subject)
{
    const struct guestmem_range range = {0, PAGE};
    struct guestmem *own;
    char *json = NULL;
    uint8_t byte;
    CHECK_EQ(byte_at(subject->mem, PAGE), BEFORE);
    REQUIRE(read(subject->go[0], &byte, 1) == 1);
    CHECK_EQ(byte_at(subject->mem, 0), subject->kind->shared ? BY_PARENT : BEFORE);
    CHECK_OK(guestmem_write_u8(subject->mem, PAGE, BY_CHILD));
    snapshot_in_child(subject);
    CHECK_OK(guestmem_remove_range(subject->mem, 2 * PAGE, PAGE));
    CHECK_OK(guestmem_describe(subject->mem, &json));
    guestmem_free(json);
    own = check_new(&range, 1);
    CHECK_OK(guestmem_write_u8(own, 0, 1));
    guestmem_unref(own);
    guestmem_unref(subject->mem);
    CHECK_CODE(guestmem_write_u8(subject->mem, 0, 1), GUESTMEM_E_BAD_HANDLE);
    return check_result();
}

static void fork_and_share(const struct kind *kind)
{
    struct subject subject = subject_of(kind);
    const pid_t child = start(use_in_child, &subject);
    const uint8_t told = BY_PARENT;
    CHECK_OK(guestmem_write_u8(subject.mem, 0, told));
    REQUIRE(write(subject.go[1], &told, 1) == 1);
    CHECK_EQ(end_of(child), 0);
    /* what the child released is still here */
    CHECK_EQ(byte_at(subject.mem, 0), BY_PARENT);
    CHECK_EQ(byte_at(subject.mem, PAGE), kind->shared ? BY_CHILD : BEFORE);
    snapshot_in_child(&subject);
    subject_free(&subject);
}

/* ---- with GUESTMEM_POLICY_DONTFORK ---- */

static int access_in_child(struct subject *subject)
{
    (void)byte_at(subject->mem, 0);
    return 0;
}

static bool is_free(const void *page)
{
    unsigned char vector;
    return mincore((void *)(uintptr_t)page, (size_t)PAGE, &vector) != 0 && errno == ENOMEM;
}

/* The child may use memory of its own, and release what it cannot use. At the addresses of that may
 * lie something else by now, which stays. */
static int live_in_child(struct subject *subject)
{
    const struct guestmem_range range = {0, SIZE};
    struct guestmem *own = check_new(&range, 1);
    uint8_t *place;
    CHECK_OK(guestmem_dma_fill(own, 0, 1, SIZE));
    CHECK(byte_at(own, SIZE - 1) == 1);
    guestmem_unref(own);
    CHECK(guestmem_num_regions(subject->mem) == 1 && guestmem_memory_size(subject->mem) == SIZE);
    CHECK(info_of(subject->mem, 0).host_addr == subject->host && is_free(subject->host));
    place = mmap(subject->host, SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    REQUIRE(place == subject->host);
    *place = 7;
    guestmem_unref(subject->mem);
    CHECK(!is_free(place) && *place == 7);
    return check_result();
}

static int live_as_the_first(struct subject *subject)
{
    REQUIRE(getpid() == 1);
    return live_in_child(subject);
}

static void fork_and_keep(const struct kind *kind)
{
    struct subject subject = subject_of(kind);
    CHECK_OK(guestmem_set_memory_policy(subject.mem, GUESTMEM_POLICY_DONTFORK));
    CHECK_EQ(end_of(start(access_in_child, &subject)), -SIGSEGV);
    CHECK_EQ(end_of(start(live_in_child, &subject)), 0);
    CHECK_EQ(byte_at(subject.mem, PAGE), BEFORE);
    snapshot_in_child(&subject);
    /* pages that were replaced meanwhile are kept to oneself as well */
    CHECK_OK(guestmem_remove_range(subject.mem, 0, PAGE));
    CHECK_EQ(end_of(start(access_in_child, &subject)), -SIGSEGV);
    subject_free(&subject);
}

/* A child may have its parent's number, each in a namespace of its own: it is another process. */
static int be_the_first(struct subject *unused)
{
    struct subject subject = subject_of(&kinds[0]);
    (void)unused;
    CHECK_OK(guestmem_set_memory_policy(subject.mem, GUESTMEM_POLICY_DONTFORK));
    REQUIRE(getpid() == 1 && unshare(CLONE_NEWPID) == 0);
    CHECK_EQ(end_of(start(live_as_the_first, &subject)), 0);
    subject_free(&subject);
    return check_result();
}

static int enter_namespace(struct subject *unused)
{
    if (unshare(CLONE_NEWPID) != 0) return 77;
    return end_of(start(be_the_first, unused));
}

static void fork_with_the_same_number(void)
{
    const int ending = end_of(start(enter_namespace, NULL));
    if (ending == 77) SKIP_PART("no namespaces of processes");
    else CHECK_EQ(ending, 0);
}

/* ---- while other threads are in the library ---- */

static volatile bool stop;
static struct guestmem *busy;

static void *keep_busy(void *unused)
{
    const struct guestmem_range range = {0, PAGE};
    (void)unused;
    while (!stop) {
        struct guestmem *mem = NULL;
        char *json = NULL;
        (void)guestmem_new(&range, 1, &mem);
        (void)guestmem_set_memory_policy(busy, GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED);
        (void)guestmem_describe(mem, &json);
        guestmem_free(json);
        guestmem_unref(mem);
    }
    return NULL;
}

/* What takes no lock: access, translation, transfers, questions, and references that are not the
 * last. Whatever a thread was doing at the fork, the child does not wait for it. */
static int go_on_in_child(struct subject *subject)
{
    struct guestmem *mem = subject->mem;
    struct guestmem_slice slice;
    struct guestmem_view view;
    uint64_t value = 0;
    void *host = NULL;
    uint8_t bytes[16];
    CHECK_EQ(byte_at(mem, PAGE), BEFORE);
    CHECK_OK(guestmem_store_u64(mem, 0, 5, GUESTMEM_RELEASE));
    CHECK_OK(guestmem_load_u64(mem, 0, GUESTMEM_ACQUIRE, &value));
    CHECK_OK(guestmem_dma_copy(mem, 3 * PAGE, 0, PAGE));
    CHECK_OK(guestmem_get_host_address(mem, 0, &host));
    CHECK_OK(guestmem_get_slice(mem, 0, 64, &slice));
    CHECK_OK(guestmem_get_view(mem, &view, sizeof view));
    CHECK(guestmem_view_read_u64(&view, 3 * PAGE, &value) && value == 5 && slice.addr == host);
    CHECK(info_of(mem, 0).size == SIZE && guestmem_is_valid_range(mem, 0, SIZE));
    CHECK_OK(guestmem_write_from_memory(mem, 0, subject->go[1], sizeof bytes));
    CHECK_OK(guestmem_read_to_memory(mem, PAGE, subject->go[0], sizeof bytes));
    CHECK_CODE(guestmem_read_u64(mem, SIZE, &value), GUESTMEM_E_INVALID_ADDRESS);
    CHECK(guestmem_ref(mem) == mem);
    guestmem_unref(mem);
    return check_result();
}

static void fork_among_threads(void)
{
    enum { THREADS = 3 };
    const unsigned rounds = 400;
    struct subject subject = subject_of(&kinds[1]);
    pthread_t threads[THREADS];
    busy = subject.mem;
    for (size_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, keep_busy, NULL) == 0);
    for (unsigned round = 0; round < rounds; round++)
        CHECK_EQ(end_of(start(go_on_in_child, &subject)), 0);
    stop = true;
    for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    subject_free(&subject);
}

int main(void)
{
    for (size_t i = 0; i < KINDS; i++) {
        const int failures = check_failures;
        fork_and_share(&kinds[i]);
        fork_and_keep(&kinds[i]);
        if (failures != check_failures) fprintf(stderr, "  with memory of kind %s\n", kinds[i].name);
    }
    fork_with_the_same_number();
    /* what those had allocated is lost to a child, of which the tools complain */
    if (fast()) SKIP_PART("forking while threads use the library");
    else fork_among_threads();
    return check_result();
}
