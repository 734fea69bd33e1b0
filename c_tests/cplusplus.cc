// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The header in a C++11 program: handles in unique_ptr, memory shared between threads, and every
// function found under its C name (a C++ name would not link).
// runs: asan valgrind qemu
#include "support/check.h"

#include <sys/uio.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

struct Release {
    void operator()(guestmem *mem) const { guestmem_unref(mem); }
    void operator()(guestmem_region *region) const { guestmem_region_unref(region); }
    void operator()(char *text) const { guestmem_free(text); }
};

using Memory = std::unique_ptr<guestmem, Release>;
using Region = std::unique_ptr<guestmem_region, Release>;
using Text = std::unique_ptr<char, Release>;

static_assert(std::is_standard_layout<guestmem_region_options>::value, "plain data");
static_assert(std::is_standard_layout<struct guestmem_region_info>::value, "plain data");
static_assert(std::is_standard_layout<guestmem_snapshot_options>::value, "plain data");
static_assert(sizeof(guestmem_slice) == sizeof(iovec), "arrays of slices go to readv");
static_assert(sizeof(guestmem_range) == 16 && sizeof(guestmem_error_info) == 32, "as in C");
static_assert(sizeof(guestmem_access) == 24, "as in C");
static_assert(sizeof(guestmem_region_options) == 64, "as in C");
static_assert(sizeof(guestmem_view) == 56 && sizeof(guestmem_chunk) == 16, "as in C");

using AnyFunction = void (*)();

#define F(name) reinterpret_cast<AnyFunction>(&name)
#define WORDS(name) F(name##8), F(name##16), F(name##32), F(name##64)
// An inline function and its exported twin.
#define TWINS(name) F(name), F(name##_fn)
#define TWIN_WORDS(name) TWINS(name##8), TWINS(name##16), TWINS(name##32), TWINS(name##64)

const AnyFunction functions[] = {
    F(guestmem_version), F(guestmem_version_string), F(guestmem_strerror), F(guestmem_error_name),
    F(guestmem_errno), F(guestmem_last_error), F(guestmem_last_error_message), F(guestmem_new),
    F(guestmem_new_with_options), F(guestmem_region_new), F(guestmem_from_regions),
    F(guestmem_region_ref), F(guestmem_region_unref), F(guestmem_ref), F(guestmem_unref),
    F(guestmem_end_addr), F(guestmem_memory_size), F(guestmem_num_regions),
    F(guestmem_region_info), F(guestmem_find_region), F(guestmem_address_in_range),
    F(guestmem_range_overlap), F(guestmem_checked_offset), F(guestmem_is_valid_range),
    F(guestmem_describe), F(guestmem_free), F(guestmem_get_host_address),
    F(guestmem_get_host_address_range), F(guestmem_get_guest_address), F(guestmem_shm_region),
    F(guestmem_offset_region), F(guestmem_offset_from_base), F(guestmem_get_slice),
    F(guestmem_get_slices), F(guestmem_translate), F(guestmem_get_host_address_range_writable),
    F(guestmem_get_slice_writable), F(guestmem_get_slices_writable), F(guestmem_translate_for),
    F(guestmem_read), F(guestmem_write),
    F(guestmem_read_exact), F(guestmem_write_all), F(guestmem_dma_read), F(guestmem_dma_write),
    F(guestmem_dma_copy), F(guestmem_dma_fill), F(guestmem_read_obj_volatile),
    F(guestmem_write_obj_volatile), F(guestmem_slice_sub), F(guestmem_slice_read),
    F(guestmem_slice_write), F(guestmem_slice_fill), F(guestmem_slice_copy),
    F(guestmem_slice_is_zero), F(guestmem_read_to_memory), F(guestmem_write_from_memory),
    F(guestmem_read_to_memory_at), F(guestmem_write_from_memory_at), F(guestmem_remove_range),
    F(guestmem_set_memory_policy), F(guestmem_memory_policy), F(guestmem_snapshot),
    F(guestmem_snapshot_write), F(guestmem_restore), F(guestmem_restore_read),
    F(guestmem_add_region), F(guestmem_remove_region), F(guestmem_generation),
    WORDS(guestmem_read_u), WORDS(guestmem_write_u), WORDS(guestmem_read_volatile_u),
    WORDS(guestmem_write_volatile_u), WORDS(guestmem_load_u), WORDS(guestmem_store_u),
    WORDS(guestmem_compare_exchange_u),
    F(guestmem_get_view), TWINS(guestmem_view_is_current), TWINS(guestmem_view_ptr),
    TWINS(guestmem_view_ptr_writable),
    TWIN_WORDS(guestmem_view_read_u), TWIN_WORDS(guestmem_view_write_u),
    TWIN_WORDS(guestmem_view_load_u), TWIN_WORDS(guestmem_view_store_u),
    TWIN_WORDS(guestmem_slice_load_u), TWIN_WORDS(guestmem_slice_store_u),
};

#undef F
#undef WORDS
#undef TWINS
#undef TWIN_WORDS

Memory make(const std::vector<guestmem_range> &ranges)
{
    guestmem *mem = nullptr;
    REQUIRE(guestmem_new(ranges.data(), ranges.size(), &mem) == GUESTMEM_OK);
    return Memory(mem);
}

void every_function_has_its_c_name()
{
    for (AnyFunction function : functions) CHECK(function != nullptr);
}

void owned_by_unique_ptr()
{
    Memory mem = make({{0x1000, 0x1000}, {0x2000, 0x1000}});
    std::uint32_t value = 0;
    CHECK_OK(guestmem_write_u32(mem.get(), 0x1ffc, 0xdeadbeef));
    Memory moved = std::move(mem);
    CHECK(!mem);
    CHECK_OK(guestmem_read_u32(moved.get(), 0x1ffc, &value));
    CHECK_EQ(value, 0xdeadbeef);

    char *json = nullptr;
    CHECK_OK(guestmem_describe(moved.get(), &json));
    Text text(json);
    CHECK(std::string(text.get()).find("regions") != std::string::npos);
}

void built_from_regions()
{
    std::vector<Region> regions;
    std::vector<guestmem_region *> handles;
    for (std::uint64_t i = 3; i-- > 0;) {
        guestmem_region_options options = {};
        guestmem_region *region = nullptr;
        options.guest_addr = i * 0x2000;
        options.size = 0x1000;
        options.flags = i == 0 ? GUESTMEM_REGION_READ_ONLY : GUESTMEM_REGION_PRIVATE;
        REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
        regions.emplace_back(region);
        handles.push_back(region);
    }
    guestmem *raw = nullptr;
    REQUIRE(guestmem_from_regions(handles.data(), handles.size(), &raw) == GUESTMEM_OK);
    Memory mem(raw);
    regions.clear();
    CHECK_EQ(guestmem_num_regions(mem.get()), 3);
    CHECK_CODE(guestmem_write_u8(mem.get(), 0, 1), GUESTMEM_E_READ_ONLY);
    CHECK_OK(guestmem_write_u8(mem.get(), 0x2000, 1));
}

void shared_between_threads()
{
    Memory mem = make({{0, 0x1000}});
    std::atomic<int> wrong(0);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        guestmem *mine = guestmem_ref(mem.get());
        threads.emplace_back([mine, &wrong] {
            Memory held(mine);
            for (int round = 0; round < 1000; round++) {
                std::uint64_t seen = 0;
                bool done = false;
                wrong += guestmem_load_u64(held.get(), 8, GUESTMEM_RELAXED, &seen) != GUESTMEM_OK;
                while (!done)
                    wrong += guestmem_compare_exchange_u64(held.get(), 8, &seen, seen + 1,
                                                           GUESTMEM_SEQ_CST, &done) != GUESTMEM_OK;
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    std::uint64_t total = 0;
    CHECK_OK(guestmem_read_u64(mem.get(), 8, &total));
    CHECK_EQ(total, 4000);
    CHECK_EQ(wrong.load(), 0);
}

std::int64_t append(void *user, const void *bytes, std::size_t len)
{
    auto *sink = static_cast<std::string *>(user);
    sink->append(static_cast<const char *>(bytes), len);
    return static_cast<std::int64_t>(len);
}

void snapshot_into_a_string()
{
    Memory mem = make({{0, 0x4000}});
    std::string bytes;
    char *metadata = nullptr;
    CHECK_OK(guestmem_write_u64(mem.get(), 0x2000, 0x1234));
    CHECK_OK(guestmem_snapshot_write(mem.get(), append, &bytes, nullptr, 0, &metadata));
    Text text(metadata);
    REQUIRE(text != nullptr);
    CHECK_EQ(bytes.size(), 0x1000);
    CHECK(std::string(text.get()).find("guestmem") != std::string::npos);
}

} // namespace

int main()
{
    every_function_has_its_c_name();
    owned_by_unique_ptr();
    built_from_regions();
    shared_between_threads();
    snapshot_into_a_string();
    return check_result();
}
