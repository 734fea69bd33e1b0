/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A plugin host whose memory is used up: the first failure of a thread, in a library loaded by
 * dlopen, gives its code and its message, in threads from before and after the loading. Not linked
 * against the library; GUESTMEM_SO says where it is.
 * runs: natively only */
#include "support/failing_allocator.h"
#include "support/process.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>

static struct {
    int (*create)(const struct guestmem_range *, size_t, struct guestmem **);
    void (*unref)(struct guestmem *);
    int (*read_exact)(const struct guestmem *, uint64_t, void *, size_t);
    int (*read_u64)(const struct guestmem *, uint64_t, uint64_t *);
    int (*dma_write)(const struct guestmem *, uint64_t, const void *, size_t);
    int (*last_error)(struct guestmem_error_info *, size_t);
    size_t (*last_error_message)(char *, size_t);
} library;

static struct guestmem *mem;

/* POSIX says that these casts work, ISO C does not: through memory, then. */
static void find(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);
    if (symbol == NULL) fprintf(stderr, "no %s\n", name);
    REQUIRE(symbol != NULL);
    memcpy(function, &symbol, sizeof symbol);
}

static void load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
    REQUIRE(handle != NULL);
    find(handle, "guestmem_new", &library.create);
    find(handle, "guestmem_unref", &library.unref);
    find(handle, "guestmem_read_exact", &library.read_exact);
    find(handle, "guestmem_read_u64", &library.read_u64);
    find(handle, "guestmem_dma_write", &library.dma_write);
    find(handle, "guestmem_last_error", &library.last_error);
    find(handle, "guestmem_last_error_message", &library.last_error_message);
}

/* ---- what a thread does first ---- */

static const uint64_t hole = 0x5000;

static int reads_a_value(void)
{
    uint64_t value;
    return library.read_u64(mem, hole, &value);
}

static int reads_bytes(void)
{
    char bytes[16];
    return library.read_exact(mem, hole, bytes, sizeof bytes);
}

static int writes_bytes(void)
{
    return library.dma_write(mem, hole, "bytes", 5);
}

static int asks_what_failed(void)
{
    struct guestmem_error_info info;
    const int code = library.last_error(&info, sizeof info);
    return code != GUESTMEM_OK || info.code != GUESTMEM_OK ? 1 : reads_a_value();
}

static int (*const firsts[])(void) = {reads_a_value, reads_bytes, writes_bytes, asks_what_failed};
#define FIRSTS (sizeof firsts / sizeof *firsts)

struct seen {
    int code;
    struct guestmem_error_info info;
    char message[128];
    size_t length;
};

static struct seen seen[2][FIRSTS];
static pthread_barrier_t loaded, used_up;

/* Nothing here may print: that allocates. */
static void look(struct seen *into, int (*begin)(void))
{
    into->code = begin();
    (void)library.last_error(&into->info, sizeof into->info);
    into->length = library.last_error_message(into->message, sizeof into->message);
}

static void *from_before(void *argument)
{
    const size_t i = *(const size_t *)argument;
    (void)pthread_barrier_wait(&loaded);
    (void)pthread_barrier_wait(&used_up);
    look(&seen[0][i], firsts[i]);
    return NULL;
}

static void *from_after(void *argument)
{
    const size_t i = *(const size_t *)argument;
    (void)pthread_barrier_wait(&used_up);
    look(&seen[1][i], firsts[i]);
    return NULL;
}

static pthread_t threads[2][FIRSTS];
static size_t numbers[FIRSTS];

static void start(size_t kind, void *(*thread)(void *))
{
    for (size_t i = 0; i < FIRSTS; i++) {
        numbers[i] = i;
        REQUIRE(pthread_create(&threads[kind][i], NULL, thread, &numbers[i]) == 0);
    }
}

static void join_all(void *unused)
{
    (void)unused;
    (void)pthread_barrier_wait(&used_up);
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < FIRSTS; i++) (void)pthread_join(threads[kind][i], NULL);
}

static void check_seen(const struct seen *what)
{
    CHECK_EQ(what->code, GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(what->info.code, GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(what->info.guest_addr, hole);
    CHECK(what->length > 0 && strlen(what->message) == what->length);
}

int main(void)
{
    static const struct guestmem_range range = {0x1000, 0x1000};
    const char *path = getenv("GUESTMEM_SO");
    if (path == NULL || *path == 0) SKIP("GUESTMEM_SO does not name the shared library");
    if (!CAN_FAIL) SKIP("no allocator that can be made to fail");
    REQUIRE(pthread_barrier_init(&loaded, NULL, FIRSTS + 1) == 0);
    REQUIRE(pthread_barrier_init(&used_up, NULL, 2 * FIRSTS + 1) == 0);
    start(0, from_before);
    load(path);
    REQUIRE(library.create(&range, 1, &mem) == GUESTMEM_OK);
    (void)pthread_barrier_wait(&loaded);
    start(1, from_after);
    last = UINT_MAX;
    run_short_of_memory(join_all, NULL);
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < FIRSTS; i++) check_seen(&seen[kind][i]);
    library.unref(mem);
    return check_result();
}
