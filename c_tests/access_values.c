/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Single values: plain, volatile, atomic, and objects moved in volatile accesses; at every
 * alignment, at every region edge, in every memory order.
 * runs: asan valgrind qemu musl */
#include "support/guest.h"

static struct world world;

static const uint64_t hole = 0x1c000, rom = 0x20000;

/* Writes the bytes into the shadow and says whether memory now agrees with it. */
static bool wrote(uint64_t addr, const void *value, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++) *shadow_at(&world, addr + i) = ((const uint8_t *)value)[i];
    return world_agrees(&world);
}

static bool holds(uint64_t addr, const void *value, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++)
        if (*shadow_at(&world, addr + i) != ((const uint8_t *)value)[i]) return false;
    return true;
}

/* What an access of `size` bytes gives that must be inside one region. */
static int expected_code(uint64_t addr, uint64_t size, bool aligned, bool write)
{
    const struct area *area = area_at(&world, addr);
    if (area == NULL) return GUESTMEM_E_INVALID_ADDRESS;
    if (size > area->start + area->size - addr) return GUESTMEM_E_INVALID_RANGE;
    if (aligned && addr % size != 0) return GUESTMEM_E_MISALIGNED;
    return write && area->read_only ? GUESTMEM_E_READ_ONLY : GUESTMEM_OK;
}

static bool load_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_ACQUIRE || order == GUESTMEM_SEQ_CST;
}

static bool store_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_RELEASE || order == GUESTMEM_SEQ_CST;
}

static bool any_order(uint32_t order)
{
    return load_order(order) || store_order(order) || order == GUESTMEM_ACQ_REL;
}

static const uint32_t orders[] = {0, 1,   2,   3,       4,          5,          6,         7,
                                  8, 255, 256, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
enum { ORDERS = sizeof orders / sizeof orders[0] };

/* The same tests for each width: values of the type T through the calls ending in uW. */
#define TESTS_OF_WIDTH(W, T)                                                                       \
    static void plain_u##W(uint64_t addr, T value)                                                 \
    {                                                                                              \
        int code = expected_code(addr, sizeof(T), false, false);                                   \
        T out = (T) ~(T)0;                                                                         \
        CHECK_CODE(guestmem_read_u##W(world.mem, addr, &out), code);                               \
        CHECK(code == GUESTMEM_OK ? holds(addr, &out, sizeof out) : out == 0);                     \
        code = expected_code(addr, sizeof(T), false, true);                                        \
        CHECK_CODE(guestmem_write_u##W(world.mem, addr, value), code);                             \
        CHECK(wrote(addr, &value, code == GUESTMEM_OK ? sizeof value : 0));                        \
    }                                                                                              \
                                                                                                   \
    static void volatile_u##W(uint64_t addr, T value)                                              \
    {                                                                                              \
        int code = expected_code(addr, sizeof(T), true, false);                                    \
        T out = (T) ~(T)0;                                                                         \
        CHECK_CODE(guestmem_read_volatile_u##W(world.mem, addr, &out), code);                      \
        CHECK(code == GUESTMEM_OK ? holds(addr, &out, sizeof out) : out == 0);                     \
        code = expected_code(addr, sizeof(T), true, true);                                         \
        CHECK_CODE(guestmem_write_volatile_u##W(world.mem, addr, value), code);                    \
        CHECK(wrote(addr, &value, code == GUESTMEM_OK ? sizeof value : 0));                        \
    }                                                                                              \
                                                                                                   \
    static void load_store_u##W(uint64_t addr, T value, uint32_t order)                            \
    {                                                                                              \
        int code = load_order(order) ? expected_code(addr, sizeof(T), true, false)                 \
                                     : GUESTMEM_E_INVALID_ARGUMENT;                                \
        T out = (T) ~(T)0;                                                                         \
        CHECK_CODE(guestmem_load_u##W(world.mem, addr, order, &out), code);                        \
        CHECK(code == GUESTMEM_OK ? holds(addr, &out, sizeof out) : out == 0);                     \
        code = store_order(order) ? expected_code(addr, sizeof(T), true, true)                     \
                                  : GUESTMEM_E_INVALID_ARGUMENT;                                   \
        CHECK_CODE(guestmem_store_u##W(world.mem, addr, value, order), code);                      \
        CHECK(wrote(addr, &value, code == GUESTMEM_OK ? sizeof value : 0));                        \
    }                                                                                              \
                                                                                                   \
    static void exchange_u##W(uint64_t addr, T value, uint32_t order)                              \
    {                                                                                              \
        int code = any_order(order) ? expected_code(addr, sizeof(T), true, true)                   \
                                    : GUESTMEM_E_INVALID_ARGUMENT;                                 \
        bool exchanged = true;                                                                     \
        T expected = 0x5a, was = 0;                                                                \
        if (code != GUESTMEM_OK) {                                                                 \
            CHECK_CODE(guestmem_compare_exchange_u##W(world.mem, addr, &expected, value, order,    \
                                                      &exchanged),                                 \
                       code);                                                                      \
            CHECK(!exchanged && expected == 0x5a && world_agrees(&world));                         \
            CHECK_CODE(                                                                            \
                guestmem_compare_exchange_u##W(world.mem, addr, &expected, value, order, NULL),    \
                code);                                                                             \
            CHECK(expected == 0x5a && world_agrees(&world));                                       \
            return;                                                                                \
        }                                                                                          \
        CHECK_OK(guestmem_read_u##W(world.mem, addr, &was));                                       \
        expected = (T)(was + 1);                                                                   \
        CHECK_OK(                                                                                  \
            guestmem_compare_exchange_u##W(world.mem, addr, &expected, value, order, &exchanged)); \
        CHECK(!exchanged && expected == was && world_agrees(&world));                              \
        exchanged = false;                                                                         \
        CHECK_OK(                                                                                  \
            guestmem_compare_exchange_u##W(world.mem, addr, &expected, value, order, &exchanged)); \
        CHECK(exchanged && expected == was && wrote(addr, &value, sizeof value));                  \
        expected = (T)~value;                                                                      \
        CHECK_OK(guestmem_compare_exchange_u##W(world.mem, addr, &expected, was, order, NULL));    \
        CHECK(expected == value && world_agrees(&world));                                          \
        CHECK_OK(guestmem_compare_exchange_u##W(world.mem, addr, &expected, was, order, NULL));    \
        CHECK(wrote(addr, &was, sizeof was));                                                      \
    }                                                                                              \
                                                                                                   \
    static void test_u##W(void)                                                                    \
    {                                                                                              \
        const uint64_t far_ends[] = {                                                              \
            0, 1, 0x8000, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 8, UINT64_MAX};       \
        uint64_t value = 0, edge;                                                                  \
        size_t i, j;                                                                               \
        int distance;                                                                              \
        for (i = 0; i < 2 * WORLD_AREAS; i++)                                                      \
            for (distance = -9; distance <= 9; distance++) {                                       \
                edge = world.area[i / 2].start + (i % 2 ? world.area[i / 2].size : 0);             \
                edge += (uint64_t)(int64_t)distance;                                               \
                value = value * 0x9e3779b97f4a7c15 + 0x123456789abcdef1;                           \
                plain_u##W(edge, (T)value);                                                        \
                volatile_u##W(edge, (T)(value >> 3));                                              \
                for (j = 0; j < ORDERS; j += fast() ? 4 : 1) {                                     \
                    load_store_u##W(edge, (T)(value >> j), orders[j]);                             \
                    exchange_u##W(edge, (T)(value >> (j + 7)), orders[j]);                         \
                }                                                                                  \
            }                                                                                      \
        for (i = 0; i < sizeof far_ends / sizeof far_ends[0]; i++) {                               \
            plain_u##W(far_ends[i], 1);                                                            \
            volatile_u##W(far_ends[i], 1);                                                         \
            load_store_u##W(far_ends[i], 1, GUESTMEM_SEQ_CST);                                     \
            exchange_u##W(far_ends[i], 1, GUESTMEM_SEQ_CST);                                       \
        }                                                                                          \
        for (i = 0; i < 16; i++) plain_u##W(0x12340 + i, (T)(value >> i));                         \
        for (i = 0; i < 64; i += sizeof(T))                                                        \
            for (j = 0; j < ORDERS; j++) {                                                         \
                load_store_u##W(0x15000 + i, (T)(value >> i % 32), orders[j]);                     \
                exchange_u##W(0x19100 + i, (T)(value >> i % 32), orders[j]);                       \
            }                                                                                      \
    }

TESTS_OF_WIDTH(8, uint8_t)
TESTS_OF_WIDTH(16, uint16_t)
TESTS_OF_WIDTH(32, uint32_t)
TESTS_OF_WIDTH(64, uint64_t)

/* ---- what comes first when several things are wrong ---- */

static void test_priority(void)
{
    uint64_t out = 1, expected = 7;
    uint32_t out32 = 1;
    bool exchanged = true;
    /* enum before address */
    CHECK_CODE(guestmem_load_u64(world.mem, hole, 1, &out), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_EQ(out, 0);
    CHECK_CODE(guestmem_store_u64(world.mem, hole, 1, 99), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_compare_exchange_u64(world.mem, hole, &expected, 1, 6, &exchanged),
               GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(!exchanged && expected == 7);
    /* address before alignment */
    CHECK_CODE(guestmem_load_u64(world.mem, hole + 1, GUESTMEM_ACQUIRE, &out),
               GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_read_volatile_u32(world.mem, hole + 1, &out32), GUESTMEM_E_INVALID_ADDRESS);
    /* range before alignment */
    CHECK_CODE(guestmem_load_u64(world.mem, 0x1aff9, GUESTMEM_ACQUIRE, &out),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_volatile_u32(world.mem, 0x1affe, 1), GUESTMEM_E_INVALID_RANGE);
    /* range before read-only */
    CHECK_CODE(guestmem_write_u64(world.mem, rom + 0x1ffc, 1), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_store_u32(world.mem, rom + 0x1fff, 1, GUESTMEM_RELEASE),
               GUESTMEM_E_INVALID_RANGE);
    /* alignment before read-only */
    CHECK_CODE(guestmem_store_u32(world.mem, rom + 1, 1, GUESTMEM_RELEASE), GUESTMEM_E_MISALIGNED);
    CHECK_CODE(guestmem_write_volatile_u64(world.mem, rom + 4, 1), GUESTMEM_E_MISALIGNED);
    CHECK_CODE(
        guestmem_compare_exchange_u64(world.mem, rom + 4, &expected, 1, GUESTMEM_SEQ_CST, NULL),
        GUESTMEM_E_MISALIGNED);
    CHECK_CODE(guestmem_write_obj_volatile(world.mem, rom + 4, &out, 8), GUESTMEM_E_MISALIGNED);
    CHECK(world_agrees(&world));
}

static void test_error_detail(void)
{
    struct guestmem_error_info info;
    char message[200];
    CHECK_CODE(guestmem_write_u32(world.mem, 0x1affe, 1), GUESTMEM_E_INVALID_RANGE);
    info = last_error();
    CHECK_EQ(info.guest_addr, 0x1affe);
    CHECK_EQ(info.size, 4);
    CHECK_EQ(info.completed, 0);
    CHECK_EQ(info.os_errno, 0);
    CHECK(guestmem_last_error_message(message, sizeof message) == strlen(message));
    CHECK(strstr(message, "0x1affe") != NULL && strstr(message, "0x4") != NULL);
}

/* ---- objects ---- */

static size_t width_of(size_t size)
{
    return size % 8 == 0 ? 8 : size % 4 == 0 ? 4 : size % 2 == 0 ? 2 : 1;
}

static int expected_object(uint64_t addr, size_t size, bool write)
{
    int code = expected_code(addr, size, false, write);
    if (code != GUESTMEM_OK && code != GUESTMEM_E_READ_ONLY) return code;
    return addr % width_of(size) != 0 ? GUESTMEM_E_MISALIGNED : code;
}

static void object_at(uint64_t addr, size_t size, size_t in_buffer)
{
    uint8_t buffer[192], same[192];
    int code = expected_object(addr, size, false);
    memset(buffer, 0xa5, sizeof buffer);
    memset(same, 0xa5, sizeof same);
    CHECK_CODE(guestmem_read_obj_volatile(world.mem, addr, buffer + in_buffer, size), code);
    if (code == GUESTMEM_OK) {
        CHECK(holds(addr, buffer + in_buffer, size));
        memcpy(same + in_buffer, buffer + in_buffer, size);
    }
    CHECK(memcmp(buffer, same, sizeof same) == 0);

    code = expected_object(addr, size, true);
    fill_random(buffer, sizeof buffer, addr + size);
    CHECK_CODE(guestmem_write_obj_volatile(world.mem, addr, buffer + in_buffer, size), code);
    CHECK(wrote(addr, buffer + in_buffer, code == GUESTMEM_OK ? size : 0));
}

static void test_objects(void)
{
    size_t size, i, in_buffer = 0;
    int distance;
    for (size = 1; size <= 72; size += fast() ? 7 : 1)
        for (i = 0; i < 2 * WORLD_AREAS; i++)
            for (distance = -24; distance <= 9; distance += size % 5 == 0 ? 1 : 3) {
                uint64_t edge = world.area[i / 2].start + (i % 2 ? world.area[i / 2].size : 0);
                object_at(edge + (uint64_t)(int64_t)distance, size, in_buffer++ % 9);
            }
    for (size = 1; size <= 80; size++)
        for (i = 0; i < 16; i++) object_at(0x15230 + i, size, in_buffer++ % 17);
}

static void test_objects_of_strange_size(void)
{
    uint8_t byte = 0xa5;
    /* nothing at all, wherever it is in memory */
    CHECK_OK(guestmem_read_obj_volatile(world.mem, 0x10000, &byte, 0));
    CHECK_OK(guestmem_read_obj_volatile(world.mem, 0x10003, NULL, 0));
    CHECK_OK(guestmem_write_obj_volatile(world.mem, 0x13fff, NULL, 0));
    CHECK_OK(guestmem_write_obj_volatile(world.mem, rom, &byte, 0));
    /* more than there is */
    CHECK_CODE(guestmem_read_obj_volatile(world.mem, 0x10000, &byte, SIZE_MAX),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_read_obj_volatile(world.mem, 0x10000, &byte, SIZE_MAX - 7),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_read_obj_volatile(world.mem, 0x10000, &byte, SIZE_MAX - 0xffff),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_obj_volatile(world.mem, 0x10000, &byte, 0x4001),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_obj_volatile(world.mem, 0x10000, &byte, 0x4008),
               GUESTMEM_E_INVALID_RANGE);
    CHECK(byte == 0xa5 && world_agrees(&world));
}

/* A large object arrives whole, in accesses of eight bytes. */
static void test_large_object(void)
{
    static uint64_t object[0x800], back[0x800];
    fill_random(object, sizeof object, 5);
    CHECK_OK(guestmem_write_obj_volatile(world.mem, 0x10000, object, 0x4000));
    CHECK(wrote(0x10000, object, 0x4000));
    CHECK_OK(guestmem_read_obj_volatile(world.mem, 0x10000, back, 0x4000));
    CHECK(memcmp(object, back, sizeof object) == 0);
}

int main(void)
{
    world_new(&world);
    test_u8();
    test_u16();
    test_u32();
    test_u64();
    test_priority();
    test_error_detail();
    test_objects();
    test_objects_of_strange_size();
    test_large_object();
    world_free(&world);
    return check_result();
}
