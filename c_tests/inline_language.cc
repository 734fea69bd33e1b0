// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Every inline function and its twin in C++11, with the types that the contract gives them.
// runs: asan valgrind qemu
#include "support/check.h"
#include "support/inline_functions.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace {

static_assert(std::is_standard_layout<guestmem_view>::value, "plain data");
static_assert(std::is_trivial<guestmem_view>::value, "plain data");
static_assert(sizeof(guestmem_view) <= 64, "one cache line");

using Pointer = void *(*)(const guestmem_view *, std::uint64_t, std::uint64_t);
using IsCurrent = bool (*)(const guestmem_view *, const guestmem *);

const std::uint64_t base = 0x10000, size = 0x1000;

struct Setting {
    guestmem *mem = nullptr;
    guestmem_view view = {};
    guestmem_slice slice = {};

    Setting()
    {
        const guestmem_range range = {base, size};
        REQUIRE(guestmem_new(&range, 1, &mem) == GUESTMEM_OK);
        REQUIRE(guestmem_get_view(mem, &view, sizeof view) == GUESTMEM_OK);
        REQUIRE(guestmem_get_slice(mem, base, size, &slice) == GUESTMEM_OK);
    }
    ~Setting() { guestmem_unref(mem); }
    Setting(const Setting &) = delete;
    Setting &operator=(const Setting &) = delete;
};

template <class T, class Functions> void values(const Setting &setting, const Functions &call)
{
    const guestmem_view *view = &setting.view;
    const T value = static_cast<T>(0x1122334455667788);
    T out = 0;
    CHECK(call.write(view, base + 35, value));
    CHECK(call.read(view, base + 35, &out) && out == value);
    CHECK(call.store(view, base + 16, value, GUESTMEM_RELEASE));
    CHECK(call.load(view, base + 16, GUESTMEM_ACQUIRE, &out) && out == value);
    CHECK(call.slice_load(setting.slice, 16, GUESTMEM_ACQUIRE, &out) && out == value);
    CHECK(call.slice_store(setting.slice, 24, value, GUESTMEM_RELEASE));
    CHECK(call.load(view, base + 24, GUESTMEM_SEQ_CST, &out) && out == value);

    CHECK(!call.write(view, base + size, value));
    CHECK(!call.store(view, base + size, value, GUESTMEM_RELAXED));
    CHECK(!call.store(view, base, value, GUESTMEM_ACQUIRE));
    CHECK(!call.slice_store(setting.slice, size, value, GUESTMEM_RELAXED));
    CHECK(!call.slice_store(setting.slice, 0, value, GUESTMEM_ACQUIRE));
    out = value;
    CHECK(!call.read(view, base - 1, &out) && out == 0);
    out = value;
    CHECK(!call.load(view, base, GUESTMEM_RELEASE, &out) && out == 0);
    out = value;
    CHECK(!call.slice_load(setting.slice, 0, GUESTMEM_RELEASE, &out) && out == 0);
    CHECK(call.read(view, base, &out) && out == 0);
}

void pointers(const Setting &setting, Pointer pointer, IsCurrent is_current)
{
    CHECK(pointer(&setting.view, base, size) == setting.slice.addr);
    CHECK(pointer(&setting.view, base, size + 1) == nullptr);
    CHECK(pointer(&setting.view, base, 0) == nullptr);
    CHECK(is_current(&setting.view, setting.mem));
    CHECK(!is_current(&setting.view, nullptr));
}

// Called by name, so that the compiler puts them in line.
std::uint64_t in_line(const Setting &setting)
{
    std::uint8_t u8 = 0;
    std::uint16_t u16 = 0;
    std::uint32_t u32 = 0;
    std::uint64_t u64 = 0;
    const guestmem_view *view = &setting.view;
    CHECK(guestmem_view_write_u64(view, base, 0x0807060504030201));
    CHECK(guestmem_view_read_u8(view, base, &u8) && guestmem_view_read_u16(view, base + 1, &u16) &&
          guestmem_view_load_u32(view, base + 4, GUESTMEM_ACQUIRE, &u32) &&
          guestmem_slice_load_u64(setting.slice, 0, GUESTMEM_RELAXED, &u64));
    return u8 + u16 + u32 + u64;
}

} // namespace

int main()
{
    Setting setting;
    errno = 4711;
    pointers(setting, guestmem_view_ptr, guestmem_view_is_current);
    pointers(setting, guestmem_view_ptr_fn, guestmem_view_is_current_fn);
    pointers(setting, guestmem_view_ptr_writable, guestmem_view_is_current);
    pointers(setting, guestmem_view_ptr_writable_fn, guestmem_view_is_current_fn);
    values<std::uint8_t>(setting, functions_u8 FUNCTIONS(8, ));
    values<std::uint16_t>(setting, functions_u16 FUNCTIONS(16, ));
    values<std::uint32_t>(setting, functions_u32 FUNCTIONS(32, ));
    values<std::uint64_t>(setting, functions_u64 FUNCTIONS(64, ));
    values<std::uint8_t>(setting, functions_u8 FUNCTIONS(8, _fn));
    values<std::uint16_t>(setting, functions_u16 FUNCTIONS(16, _fn));
    values<std::uint32_t>(setting, functions_u32 FUNCTIONS(32, _fn));
    values<std::uint64_t>(setting, functions_u64 FUNCTIONS(64, _fn));
    CHECK_EQ(in_line(setting), 0x01 + 0x0302 + 0x08070605 + UINT64_C(0x0807060504030201));
    CHECK_EQ(errno, 4711);
    return check_result();
}
