/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Sections 1 and 2: the version, the texts of the errors, and the detail of the last one.
 * runs: asan valgrind qemu */
#include "support/process.h"

#include <pthread.h>

static const struct {
    int code;
    const char *name;
} codes[] = {
#define CODE(name) { name, #name }
    CODE(GUESTMEM_OK),
    CODE(GUESTMEM_E_INVALID_ARGUMENT),
    CODE(GUESTMEM_E_BAD_HANDLE),
    CODE(GUESTMEM_E_NO_MEMORY),
    CODE(GUESTMEM_E_INVALID_ADDRESS),
    CODE(GUESTMEM_E_INVALID_RANGE),
    CODE(GUESTMEM_E_INVALID_SIZE),
    CODE(GUESTMEM_E_NOT_ALIGNED),
    CODE(GUESTMEM_E_MISALIGNED),
    CODE(GUESTMEM_E_OVERLAP),
    CODE(GUESTMEM_E_UNSORTED),
    CODE(GUESTMEM_E_TOO_LARGE),
    CODE(GUESTMEM_E_READ_ONLY),
    CODE(GUESTMEM_E_SHORT_READ),
    CODE(GUESTMEM_E_SHORT_WRITE),
    CODE(GUESTMEM_E_BACKING),
    CODE(GUESTMEM_E_OS),
    CODE(GUESTMEM_E_IO),
    CODE(GUESTMEM_E_POLICY),
    CODE(GUESTMEM_E_METADATA),
    CODE(GUESTMEM_E_MISMATCH),
    CODE(GUESTMEM_E_SNAPSHOT_SHORT),
    CODE(GUESTMEM_E_SNAPSHOT_LONG),
    CODE(GUESTMEM_E_CORRUPT),
    CODE(GUESTMEM_E_TAINTED),
    CODE(GUESTMEM_E_CANCELLED),
    CODE(GUESTMEM_E_FAULT),
    CODE(GUESTMEM_E_NOT_FOUND),
    CODE(GUESTMEM_E_UNSUPPORTED),
    CODE(GUESTMEM_E_BUSY),
    CODE(GUESTMEM_E_INTERNAL),
#undef CODE
};
#define CODES (sizeof codes / sizeof *codes)

static void versions_agree(void)
{
    char text[64];
    uint32_t header = (uint32_t)GUESTMEM_VERSION_MAJOR << 16 |
                      (uint32_t)GUESTMEM_VERSION_MINOR << 8 | (uint32_t)GUESTMEM_VERSION_PATCH;
    CHECK_EQ(guestmem_version(), header);
    snprintf(text, sizeof text, "%d.%d.%d", (int)GUESTMEM_VERSION_MAJOR,
             (int)GUESTMEM_VERSION_MINOR, (int)GUESTMEM_VERSION_PATCH);
    REQUIRE(guestmem_version_string() != NULL);
    CHECK(strcmp(guestmem_version_string(), text) == 0);
}

/* Codes are frozen: the numbers are part of the contract. */
static void numbers_are_frozen(void)
{
    for (size_t i = 0; i + 1 < CODES; i++) CHECK_EQ(codes[i].code, -(int)i);
    CHECK_EQ(GUESTMEM_E_INTERNAL, -99);
}

static void every_code_has_its_texts(void)
{
    for (size_t i = 0; i < CODES; i++) {
        const char *text = guestmem_strerror(codes[i].code);
        REQUIRE(text != NULL && guestmem_error_name(codes[i].code) != NULL);
        CHECK(strlen(text) > 0);
        CHECK(strcmp(guestmem_error_name(codes[i].code), codes[i].name) == 0);
        CHECK(text == guestmem_strerror(codes[i].code));
        for (size_t j = 0; j < i; j++) CHECK(strcmp(text, guestmem_strerror(codes[j].code)) != 0);
    }
}

static void unknown_codes_have_texts_too(void)
{
    static const int unknown[] = { 1, 99, -30, -98, -100, 0x7fffffff, -0x7fffffff - 1 };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        const char *text = guestmem_strerror(unknown[i]);
        const char *name = guestmem_error_name(unknown[i]);
        REQUIRE(text != NULL && name != NULL);
        CHECK(strlen(text) > 0 && strlen(name) > 0);
        for (size_t j = 0; j < CODES; j++) CHECK(strcmp(name, codes[j].name) != 0);
        CHECK(guestmem_errno(unknown[i]) > 0);
    }
}

static void codes_become_errno_values(void)
{
    CHECK_EQ(guestmem_errno(GUESTMEM_OK), 0);
    for (size_t i = 1; i < CODES; i++) {
        CHECK(guestmem_errno(codes[i].code) > 0);
        CHECK(guestmem_errno(codes[i].code) < 4096);
    }
    CHECK_EQ(guestmem_errno(GUESTMEM_E_INVALID_ARGUMENT), EINVAL);
    CHECK_EQ(guestmem_errno(GUESTMEM_E_NO_MEMORY), ENOMEM);
    CHECK_EQ(guestmem_errno(GUESTMEM_E_INVALID_ADDRESS), EFAULT);
    CHECK_EQ(guestmem_errno(GUESTMEM_E_BUSY), EBUSY);
    CHECK_EQ(guestmem_errno(GUESTMEM_E_IO), EIO);
    CHECK_EQ(guestmem_errno(GUESTMEM_E_CANCELLED), ECANCELED);
}

static struct guestmem_error_info last_detail(void)
{
    struct guestmem_error_info info;
    memset(&info, 0xee, sizeof info);
    CHECK_EQ(guestmem_last_error(&info, sizeof info), GUESTMEM_OK);
    return info;
}

static void nothing_has_failed_yet(void)
{
    struct guestmem_error_info info = last_detail();
    static const struct guestmem_error_info none;
    char message[64];
    memset(message, 0xee, sizeof message);
    CHECK(memcmp(&info, &none, sizeof info) == 0);
    CHECK(guestmem_last_error_message(NULL, 0) == guestmem_last_error_message(message, 64));
    CHECK(memchr(message, 0, sizeof message) != NULL);
}

static void detail_is_that_of_the_call(struct guestmem *mem)
{
    struct guestmem_error_info info;
    uint8_t buffer[32];
    uint64_t value;

    CHECK_CODE(guestmem_read_u64(mem, 0x1ffc, &value), GUESTMEM_E_INVALID_RANGE);
    info = last_detail();
    CHECK_EQ(info.code, GUESTMEM_E_INVALID_RANGE);
    CHECK_EQ(info.guest_addr, 0x1ffc);
    CHECK_EQ(info.size, 8);
    CHECK_EQ(info.completed, 0);
    CHECK_EQ(info.os_errno, 0);

    CHECK_CODE(guestmem_read_exact(mem, 0x1ff8, buffer, 16), GUESTMEM_E_SHORT_READ);
    info = last_detail();
    CHECK_EQ(info.code, GUESTMEM_E_SHORT_READ);
    CHECK_EQ(info.guest_addr, 0x1ff8);
    CHECK_EQ(info.size, 16);
    CHECK_EQ(info.completed, 0);

    /* A success leaves the detail of the failure before it. */
    CHECK_OK(guestmem_read_u64(mem, 0x1000, &value));
    info = last_detail();
    CHECK_EQ(info.code, GUESTMEM_E_SHORT_READ);
    CHECK_EQ(info.guest_addr, 0x1ff8);

    CHECK_CODE(guestmem_dma_fill(mem, UINT64_MAX - 3, 1, UINT64_MAX), GUESTMEM_E_INVALID_ADDRESS);
    info = last_detail();
    CHECK_EQ(info.code, GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(info.guest_addr, UINT64_MAX - 3);
    CHECK_EQ(info.size, UINT64_MAX);
}

static void detail_has_the_errno_of_the_system(struct guestmem *mem)
{
    struct guestmem_region_options options = { 0 };
    struct guestmem_region *region = NULL;
    struct guestmem_error_info info;
    int fd = new_memfd(PAGE);

    options.size = PAGE;
    options.flags = GUESTMEM_REGION_FD;
    options.fd = fd;
    close(fd);
    CHECK_CODE(guestmem_region_new(&options, sizeof options, &region), GUESTMEM_E_BACKING);
    CHECK_EQ(last_detail().os_errno, EBADF);

    CHECK_CODE(guestmem_read_to_memory(mem, 0x1000, fd, 8), GUESTMEM_E_IO);
    info = last_detail();
    CHECK_EQ(info.os_errno, EBADF);
    CHECK_EQ(info.guest_addr, 0x1000);
    CHECK_EQ(info.size, 8);
    /* Not left over for a failure that no system call caused. */
    CHECK_CODE(guestmem_dma_fill(mem, 0, 1, 1), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(last_detail().os_errno, 0);
}

static void detail_says_how_far_it_got(struct guestmem *mem)
{
    int ends[2];
    uint8_t bytes[100];
    struct guestmem_error_info info;
    memset(bytes, 0x5a, sizeof bytes);
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(write(ends[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    close(ends[1]);
    CHECK_CODE(guestmem_read_to_memory(mem, 0x1100, ends[0], 200), GUESTMEM_E_SHORT_READ);
    info = last_detail();
    CHECK_EQ(info.completed, 100);
    CHECK_EQ(info.guest_addr, 0x1100);
    CHECK_EQ(info.size, 200);
    CHECK_CODE(guestmem_dma_fill(mem, 0, 1, 1), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(last_detail().completed, 0);
    close(ends[0]);
}

static void info_struct_may_be_of_any_size(struct guestmem *mem)
{
    struct {
        struct guestmem_error_info info;
        uint8_t tail[24];
    } large;
    uint8_t small[sizeof(struct guestmem_error_info)];
    struct guestmem_error_info info;

    CHECK_CODE(guestmem_dma_fill(mem, 0x77, 1, 1), GUESTMEM_E_INVALID_ADDRESS);
    memset(&large, 0xee, sizeof large);
    CHECK_OK(guestmem_last_error(&large.info, sizeof large));
    CHECK_EQ(large.info.guest_addr, 0x77);
    for (size_t i = 0; i < sizeof large.tail; i++) CHECK_EQ(large.tail[i], 0);

    info = last_detail();
    for (size_t size = 1; size < sizeof small; size++) {
        memset(small, 0xee, sizeof small);
        CHECK_OK(guestmem_last_error((struct guestmem_error_info *)(void *)small, size));
        CHECK(memcmp(small, &info, size) == 0);
        for (size_t i = size; i < sizeof small; i++) CHECK_EQ(small[i], 0xee);
    }
    CHECK_CODE(guestmem_last_error(&info, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_last_error(NULL, sizeof info), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_last_error(NULL, 0), GUESTMEM_E_INVALID_ARGUMENT);
}

static void message_follows_the_rules_of_snprintf(struct guestmem *mem)
{
    char full[512], part[512];
    size_t length;

    CHECK_CODE(guestmem_dma_fill(mem, 0x1fff8, 1, 0x10), GUESTMEM_E_INVALID_ADDRESS);
    length = guestmem_last_error_message(full, sizeof full);
    REQUIRE(length > 0 && length < sizeof full);
    CHECK_EQ(strlen(full), length);
    CHECK(strstr(full, "0x1fff8") != NULL);
    CHECK(strstr(full, "0x10") != NULL);
    CHECK_EQ(guestmem_last_error_message(NULL, 0), length);
    CHECK_EQ(guestmem_last_error_message(NULL, 10), length);
    for (size_t cap = 0; cap <= length + 2; cap++) {
        size_t fits = cap == 0 ? 0 : cap - 1 < length ? cap - 1 : length;
        memset(part, 0xee, sizeof part);
        CHECK_EQ(guestmem_last_error_message(part, cap), length);
        CHECK(memcmp(part, full, fits) == 0);
        if (cap > 0) CHECK_EQ(part[fits], 0);
        for (size_t i = cap == 0 ? 0 : fits + 1; i < sizeof part; i++)
            CHECK_EQ((uint8_t)part[i], 0xee);
    }
}

static void message_shows_the_largest_numbers(struct guestmem *mem)
{
    char text[512];
    CHECK_CODE(guestmem_dma_fill(mem, UINT64_MAX, 1, UINT64_MAX - 1), GUESTMEM_E_INVALID_ADDRESS);
    CHECK(guestmem_last_error_message(text, sizeof text) < sizeof text);
    CHECK(strstr(text, "0xffffffffffffffff") != NULL);
    CHECK(strstr(text, "0xfffffffffffffffe") != NULL);
}

static void *fail_in_another_thread(void *argument)
{
    struct guestmem *mem = argument;
    CHECK_EQ(last_detail().code, GUESTMEM_OK);
    CHECK_CODE(guestmem_dma_fill(mem, 0xbbb, 1, 2), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(last_detail().guest_addr, 0xbbb);
    return NULL;
}

static void detail_belongs_to_the_thread(struct guestmem *mem)
{
    pthread_t thread;
    CHECK_CODE(guestmem_dma_fill(mem, 0xaaa, 1, 1), GUESTMEM_E_INVALID_ADDRESS);
    REQUIRE(pthread_create(&thread, NULL, fail_in_another_thread, mem) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    CHECK_EQ(last_detail().guest_addr, 0xaaa);
    CHECK_EQ(last_detail().size, 1);
}

/* A bit of everything, with and without success; errno must come through untouched. */
#define KEEPS_ERRNO(call)                                                                         \
    do {                                                                                          \
        errno = 4711;                                                                             \
        (void)(call);                                                                             \
        CHECK_EQ(errno, 4711);                                                                    \
    } while (0)

static void errno_is_left_as_it_was(void)
{
    struct guestmem_range range = { 0x1000, PAGE }, empty = { 0x1000, 0 };
    struct guestmem_region_options options = { 0 };
    struct guestmem_error_info info;
    struct guestmem_region *region = NULL;
    struct guestmem *mem = NULL, *other = NULL;
    char message[64], *text = NULL;
    uint64_t value;
    const int closed = 999;

    options.size = PAGE;
    options.flags = GUESTMEM_REGION_FD;
    options.fd = closed;
    KEEPS_ERRNO(guestmem_region_new(&options, sizeof options, &region));
    options.flags = GUESTMEM_REGION_PRIVATE | GUESTMEM_REGION_POPULATE;
    KEEPS_ERRNO(guestmem_region_new(&options, sizeof options, &region));
    KEEPS_ERRNO(guestmem_from_regions(&region, 1, &other));
    KEEPS_ERRNO(guestmem_new(&empty, 1, &mem));
    KEEPS_ERRNO(guestmem_new(&range, 1, &mem));
    KEEPS_ERRNO(guestmem_describe(mem, &text));
    KEEPS_ERRNO(guestmem_read_u64(mem, 0x1000, &value));
    KEEPS_ERRNO(guestmem_read_u64(mem, 0, &value));
    KEEPS_ERRNO(guestmem_read_u64(NULL, 0, &value));
    KEEPS_ERRNO(guestmem_read_to_memory(mem, 0x1000, closed, 8));
    KEEPS_ERRNO(guestmem_write_from_memory_at(mem, 0x1000, closed, 0, 8));
    KEEPS_ERRNO(guestmem_remove_range(mem, 0x1000, PAGE));
    KEEPS_ERRNO(guestmem_remove_range(other, 0, PAGE));
    KEEPS_ERRNO(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE));
    KEEPS_ERRNO(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK));
    KEEPS_ERRNO(guestmem_last_error(&info, sizeof info));
    KEEPS_ERRNO(guestmem_last_error_message(message, sizeof message));
    KEEPS_ERRNO(guestmem_strerror(-5));
    KEEPS_ERRNO(guestmem_free(text));
    text = NULL;
    KEEPS_ERRNO(guestmem_snapshot(mem, closed, NULL, 0, &text));
    CHECK(text == NULL);
    KEEPS_ERRNO(guestmem_region_unref(region));
    KEEPS_ERRNO(guestmem_unref(other));
    KEEPS_ERRNO(guestmem_unref(mem));
    KEEPS_ERRNO(guestmem_unref(NULL));
}

/* Standard output and error go to a file meanwhile, which must stay empty. */
static void nothing_is_printed(void)
{
    struct stat status;
    int sink = new_memfd(0);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    int failures = check_failures;
    REQUIRE(out >= 0 && err >= 0);
    fflush(NULL);
    REQUIRE(dup2(sink, STDOUT_FILENO) >= 0 && dup2(sink, STDERR_FILENO) >= 0);
    errno_is_left_as_it_was();
    fflush(NULL);
    REQUIRE(dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0);
    REQUIRE(fstat(sink, &status) == 0);
    if (check_failures == failures) CHECK_EQ(status.st_size, 0);
    close(sink);
    close(out);
    close(err);
}

int main(void)
{
    static const struct guestmem_range range = { 0x1000, 0x1000 };
    struct guestmem *mem;
    nothing_has_failed_yet();
    versions_agree();
    numbers_are_frozen();
    every_code_has_its_texts();
    unknown_codes_have_texts_too();
    codes_become_errno_values();
    mem = check_new(&range, 1);
    detail_is_that_of_the_call(mem);
    detail_has_the_errno_of_the_system(mem);
    detail_says_how_far_it_got(mem);
    info_struct_may_be_of_any_size(mem);
    message_follows_the_rules_of_snprintf(mem);
    message_shows_the_largest_numbers(mem);
    detail_belongs_to_the_thread(mem);
    errno_is_left_as_it_was();
    nothing_is_printed();
    guestmem_unref(mem);
    return check_result();
}
