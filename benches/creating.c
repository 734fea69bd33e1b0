/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Guest memory made and thrown away, against the system calls that it takes in plain C.
 * README.md in this folder says how to run it and what the figures mean. */
#define _GNU_SOURCE
#include "cpus.h"
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>

struct plain_memory {
    uint8_t *reserved, *host;
    size_t reserved_size;
    int fd;
};

/* A sealed memfd between guard pages. */
static struct plain_memory plain_new(size_t size)
{
    const size_t guard = 4096;
    struct plain_memory mem = {.reserved_size = size + 2 * guard};
    mem.fd = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    MUST(mem.fd >= 0 && ftruncate(mem.fd, (off_t)size) == 0);
    MUST(fcntl(mem.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
    mem.reserved = mmap(NULL, mem.reserved_size, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(mem.reserved != MAP_FAILED);
    mem.host = mmap(mem.reserved + guard, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                    mem.fd, 0);
    MUST(mem.host != MAP_FAILED);
    return mem;
}

static void plain_free(const struct plain_memory *mem)
{
    MUST(munmap(mem->reserved, mem->reserved_size) == 0 && close(mem->fd) == 0);
}

static struct guestmem *ours_new(size_t size)
{
    const struct guestmem_range range = {0, size};
    struct guestmem *mem;
    MUST_OK(guestmem_new(&range, 1, &mem));
    return mem;
}

static void create_plain(const void *work, size_t first, size_t count)
{
    (void)first;
    for (; count > 0; count--) {
        const struct plain_memory mem = plain_new(*(const size_t *)work);
        plain_free(&mem);
    }
}

static void create_ours(const void *work, size_t first, size_t count)
{
    (void)first;
    for (; count > 0; count--) guestmem_unref(ours_new(*(const size_t *)work));
}

static const struct contender creators[] = {{"plain C", create_plain}, {"guestmem", create_ours}};

/* Both give memory of that size that reads as zeros. */
static void check_memories(size_t size)
{
    const struct plain_memory plain = plain_new(size);
    struct guestmem *ours = ours_new(size);
    uint64_t word = 1;
    MUST_AGREE(plain.host[0] == 0 && plain.host[size - 1] == 0);
    MUST_AGREE(guestmem_memory_size(ours) == size);
    MUST_OK(guestmem_read_u64(ours, size - 8, &word));
    MUST_AGREE(word == 0);
    plain_free(&plain);
    guestmem_unref(ours);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        size_t size;
    } sizes[] = {{"1 GiB", 1u << 30}, {"64 GiB", UINT64_C(64) << 30}};
    const char *what = "create and destroy";
    size_t i;
    parse(argc, argv);
    pin_to_first_cpu();
    print_head("creating");
    if (wanted(what)) print_columns(what, "ns each", creators, COUNT_OF(creators));
    for (i = 0; i < COUNT_OF(sizes) && wanted(what); i++) {
        struct race race = {.contenders = creators, .count = COUNT_OF(creators),
                            .work = &sizes[i].size, .total = 64, .lot = 16};
        check_memories(sizes[i].size);
        take_turns(&race);
        print_medians(what, sizes[i].name, &race);
        compare(what, sizes[i].name, &race, "guestmem", "plain C", 1.3);
    }
    print_comparisons();
    return 0;
}
