/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a plugin host does: loads the library when it runs, uses it from threads, and closes it
 * while a thread that used it still lives. Not linked against the library; GUESTMEM_SO says where
 * it is.
 * runs: asan valgrind qemu */
#include "support/check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

static struct {
    int (*create)(const struct guestmem_range *, size_t, struct guestmem **);
    void (*unref)(struct guestmem *);
    int (*read_u64)(const struct guestmem *, uint64_t, uint64_t *);
    int (*write_u64)(const struct guestmem *, uint64_t, uint64_t);
    int (*get_view)(const struct guestmem *, struct guestmem_view *, size_t);
    bool (*view_read_u64)(const struct guestmem_view *, uint64_t, uint64_t *);
    int (*last_error)(struct guestmem_error_info *, size_t);
    size_t (*last_error_message)(char *, size_t);
    const char *(*version_string)(void);
} library;

/* POSIX says that these casts work, ISO C does not: through memory, then. */
static void find(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);
    if (symbol == NULL) fprintf(stderr, "no %s\n", name);
    REQUIRE(symbol != NULL);
    memcpy(function, &symbol, sizeof symbol);
}

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
    REQUIRE(handle != NULL);
    find(handle, "guestmem_new", &library.create);
    find(handle, "guestmem_unref", &library.unref);
    find(handle, "guestmem_read_u64", &library.read_u64);
    find(handle, "guestmem_write_u64", &library.write_u64);
    find(handle, "guestmem_get_view", &library.get_view);
    find(handle, "guestmem_view_read_u64_fn", &library.view_read_u64);
    find(handle, "guestmem_last_error", &library.last_error);
    find(handle, "guestmem_last_error_message", &library.last_error_message);
    find(handle, "guestmem_version_string", &library.version_string);
    return handle;
}

static pthread_barrier_t used, closed;

static void use(uint64_t number)
{
    static const struct guestmem_range range = { 0x1000, 0x1000 };
    struct guestmem_error_info info;
    struct guestmem_view view;
    struct guestmem *mem = NULL;
    char message[128] = "";
    uint64_t value = 0;
    CHECK_EQ(library.create(&range, 1, &mem), GUESTMEM_OK);
    CHECK_EQ(library.get_view(mem, &view, sizeof view), GUESTMEM_OK);
    for (uint64_t addr = 0x1000; addr < 0x2000; addr += 8) {
        CHECK_EQ(library.write_u64(mem, addr, number + addr), GUESTMEM_OK);
        CHECK_EQ(library.read_u64(mem, addr, &value), GUESTMEM_OK);
        CHECK_EQ(value, number + addr);
        value = 0;
        CHECK(library.view_read_u64(&view, addr, &value));
        CHECK_EQ(value, number + addr);
    }
    /* A failure, so that the thread has something of the library's in its thread-locals. */
    CHECK_EQ(library.read_u64(mem, number, &value), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(library.last_error(&info, sizeof info), GUESTMEM_OK);
    CHECK_EQ(info.guest_addr, number);
    CHECK(library.last_error_message(message, sizeof message) > 0);
    library.unref(mem);
}

static void *thread(void *argument)
{
    use(*(uint64_t *)argument);
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    return NULL;
}

static void round_of_a_plugin(const char *path)
{
    static uint64_t numbers[2] = { 0x10, 0x20 };
    pthread_t threads[2];
    void *handle = load(path);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", (int)GUESTMEM_VERSION_MAJOR,
             (int)GUESTMEM_VERSION_MINOR, (int)GUESTMEM_VERSION_PATCH);
    CHECK(strcmp(library.version_string(), version) == 0);
    REQUIRE(pthread_barrier_init(&used, NULL, 3) == 0);
    REQUIRE(pthread_barrier_init(&closed, NULL, 3) == 0);
    for (size_t i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, thread, &numbers[i]) == 0);
    pthread_barrier_wait(&used);
    REQUIRE(dlclose(handle) == 0);
    pthread_barrier_wait(&closed);
    for (size_t i = 0; i < 2; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&used);
    pthread_barrier_destroy(&closed);
}

int main(void)
{
    const char *path = getenv("GUESTMEM_SO");
    if (path == NULL || *path == 0) SKIP("GUESTMEM_SO does not name the shared library");
    /* RTLD_LOCAL: its names must not be ours before, nor after. */
    CHECK(dlsym(RTLD_DEFAULT, "guestmem_new") == NULL);
    for (int i = 0; i < 3; i++) round_of_a_plugin(path);
    CHECK(dlsym(RTLD_DEFAULT, "guestmem_new") == NULL);
    return check_result();
}
