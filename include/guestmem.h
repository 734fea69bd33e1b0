/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * libguestmem: guest memory for C and C++ programs.
 *
 * For virtual machine monitors, vhost-user back ends, emulators, device plug-ins and sandbox
 * runtimes. The library maps the regions of a guest's memory, translates guest addresses to host
 * pointers with every bound checked, copies bytes and values without tearing them, and saves and
 * restores the content of memory.
 *
 * Contents
 *    1  Library
 *    2  Errors
 *    3  Creating: regions, guest memory
 *    4  Asking about memory
 *    5  Translating: addresses, slices
 *    6  Access: bytes and objects, values, slices, file descriptors
 *    7  The inline path: views, exported twins for values
 *    8  Managing: discarding pages, policies
 *    9  Changing the map while it is in use
 *   10  Snapshot and restore
 *   12  Images
 *
 * Section numbers do not change; 11 is not in use yet.
 *
 * Terms
 *   guest address  an address as the guest sees it, a uint64_t.
 *   region         a range of guest addresses with host memory behind it; page-aligned, not empty.
 *   memory         the regions of one guest, struct guestmem. They do not overlap. Between them are
 *                  holes.
 *   host address   a pointer in this process. Each region is one contiguous mapping.
 *   slice          host address and length of bytes within one region, laid out as struct iovec.
 *   backing        what holds a region's bytes: a memfd of the library, a file, or caller's memory.
 *   adjacent       regions are adjacent when one ends where the next begins.
 *   len, size      in parameter names, len is a number of bytes of host memory, size one of guest
 *                  memory. NAME_size is sizeof *NAME.
 *
 * The ten calls of a usual monitor
 *   guestmem_new()                 map RAM; guestmem_new_with_options() for files, huge pages, ROM.
 *   guestmem_region_info()         give each region to the hypervisor.
 *   guestmem_write_all()           load the kernel.
 *   guestmem_load_u16()            read a ring index that the guest publishes.
 *   guestmem_translate_for()       turn a descriptor chain into iovecs that are safe to access.
 *   guestmem_dma_read()            copy bytes out of guest memory, as a device does.
 *   guestmem_dma_write()           copy bytes into guest memory, as a device does.
 *   guestmem_store_u16()           publish a ring index to the guest.
 *   guestmem_last_error_message()  say why a call failed.
 *   guestmem_unref()               release the memory.
 *   Then, as needed: guestmem_save() and guestmem_load() for images and clones,
 *   guestmem_remove_range() for a balloon, guestmem_add_region() for hot-plug, and
 *   guestmem_get_view() where even a function call is too slow.
 *
 * Example
 *   struct guestmem_range ram[] = {{0, 0xa0000}, {0x100000, 0x7f00000}};
 *   struct guestmem *mem;
 *   if (guestmem_new(ram, 2, &mem) != GUESTMEM_OK) {
 *       char why[200];
 *       guestmem_last_error_message(why, sizeof why);
 *       fprintf(stderr, "no guest memory: %s\n", why);
 *       return 1;
 *   }
 *   for (size_t i = 0; i < guestmem_num_regions(mem); i++) {
 *       struct guestmem_region_info r;
 *       guestmem_region_info(mem, i, &r, sizeof r);
 *       add_kvm_slot(vm, i, r.guest_addr, r.size, r.host_addr);
 *   }
 *   uint16_t head;                      // of a ring whose address the guest gave
 *   int code = guestmem_load_u16(mem, ring + 2, GUESTMEM_ACQUIRE, &head);
 *   if (code == GUESTMEM_OK)
 *       code = guestmem_dma_read(mem, desc_addr, packet, desc_len);
 *   if (code != GUESTMEM_OK)            // the guest gave an address that it does not have
 *       fprintf(stderr, "%s\n", guestmem_strerror(code));
 *   guestmem_unref(mem);
 *
 * The rest of this comment holds for every call.
 *
 * Results
 *   A call that can fail returns int: GUESTMEM_OK (0) or a negative GUESTMEM_E_*. It returns
 *   results through out pointers, which are required unless their description says "may be NULL".
 *   On failure, it sets each pointer, number, bool and single-slice output to NULL or 0, and a
 *   descriptor output to -1. It leaves data buffers, slice arrays and info structs unchanged.
 *   A call that returns a value instead of a code returns 0, false or NULL on failure.
 *   guestmem_last_error_message() describes a failure of either kind in words. The inline
 *   functions of section 7 and their twins do not set it.
 *   errno does not change, nothing is printed, no signal is raised, and no signal handler is
 *   installed.
 *
 * Errors of every call
 *   These are listed at a call only where there is more to say:
 *   GUESTMEM_E_BAD_HANDLE        a handle is NULL or invalid; see "Invalid handles".
 *   GUESTMEM_E_INVALID_ARGUMENT  a required pointer is NULL, a flag bit or enum value is unknown,
 *                                a struct size is 0 or impossible, or a reserved field is not 0. A
 *                                NULL array or buffer is valid when its length is 0.
 *   GUESTMEM_E_NO_MEMORY         a host allocation failed. Sections 5 to 7 do not allocate.
 *   GUESTMEM_E_INTERNAL          a bug in the library.
 *   If several errors apply, the call reports the first of this order: handle, pointers, flags and
 *   enums, address, range, alignment, read-only.
 *
 * Structs
 *   A struct is passed as pointer and size: pass sizeof. The library treats the missing fields of
 *   a shorter (older) struct as zeros. Fields of a longer (newer) struct that the library does not
 *   know must be zero; it zeroes them in structs that it fills. All-zero options are always valid
 *   and sensible, except where a field such as size must be set.
 *
 * Ownership
 *   Release references from guestmem_new(), guestmem_new_with_options(), guestmem_from_regions(),
 *   guestmem_load() and guestmem_ref() with guestmem_unref(); those from guestmem_region_new(),
 *   guestmem_region_ref() and guestmem_remove_region() with guestmem_region_unref(). Free text
 *   that a call allocated with guestmem_free().
 *   Descriptors that you pass in stay yours. Descriptors that you receive are borrowed: they are
 *   valid while their region lives; do not close them. All descriptors are close-on-exec.
 *
 * Invalid handles
 *   A NULL or released handle, a handle of the other kind, or a pointer to any other readable
 *   memory gives GUESTMEM_E_BAD_HANDLE. Releasing an invalid handle, or more references than the
 *   program owns, has no effect, even while memories still hold the region.
 *   The library cannot detect: a reference released by someone other than its owner; a released
 *   handle after 64 more of its kind were created; a handle that another thread releases during
 *   the call; a copy of a handle's bytes. A pointer to unreadable memory faults.
 *
 * Threads
 *   Every function may be called from any thread at any time on the same handle, except the last
 *   guestmem_unref(). No access waits for another. No thread of the library outlives a call. No
 *   call is a cancellation point. Callbacks run on the calling thread and must return: no
 *   exception and no longjmp may leave them.
 *
 * Fork
 *   A child process may use its copies of the handles. Parent and child share shared memory
 *   (memfds, shared files). The child has its own copy of private and copy-on-write memory, as of
 *   the fork. Releases in a child do not affect the parent.
 *   If another thread was inside the library during the fork, the child may only access,
 *   translate, transfer, ask (except guestmem_describe()), take references, and release references
 *   that are not the last. Otherwise the child may make every call.
 *   A child must not access memory under GUESTMEM_POLICY_DONTFORK, because other mappings may take
 *   its addresses. It may only ask about it and release it.
 *   Locks are not inherited: GUESTMEM_POLICY_LOCK_GUEST_MEMORY is in force in the process that
 *   asked for it. Elsewhere, removing a range of a private file in such memory still needs the
 *   right to lock pages.
 *
 * Size 0
 *   Moving 0 bytes succeeds and does nothing if the address is in a region or at the end of one.
 *   Calls that return a host address or slice, and guestmem_remove_range(), refuse 0 with
 *   GUESTMEM_E_INVALID_SIZE.
 *
 * Region-level and DMA-level
 *   Region-level calls stay inside the one region that contains the address.
 *   DMA-level calls see memory as the guest's devices do: a range may continue through adjacent
 *   regions. A hole anywhere in it, or for writes a read-only region, fails the whole call before
 *   anything moves. These are guestmem_dma_*(), guestmem_get_slices(), guestmem_translate() and
 *   their variants, and the transfers between guest memory and file descriptors.
 *
 * Read-only regions
 *   A guest may name its ROM as the buffer that a device is to fill. A write there through a host
 *   pointer ends the process with SIGSEGV. Calls with "writable" in their name, and
 *   guestmem_translate_for() with GUESTMEM_ACCESS_WRITE, refuse read-only regions with
 *   GUESTMEM_E_READ_ONLY. Other calls that return pointers do not.
 *
 * Concurrent changes by the guest
 *   The guest may change its memory at any time. The library reads each value once. An aligned
 *   access of 1, 2, 4 or 8 bytes is never torn, in bulk copies either. Use host pointers with the
 *   same care.
 *
 * Changing the mappings of a region yourself
 *   mprotect(2)  Later accesses obey it. An access that it forbids raises SIGSEGV, as your own
 *                would. Where the kernel makes the access (transfers, snapshots, restores), the
 *                call fails with GUESTMEM_E_IO and EFAULT.
 *   madvise(2)   MADV_DONTNEED keeps the bytes of a shared region. It turns those of a private
 *                region into zeros, and those of a copy-on-write region into what the file holds.
 *                Use guestmem_remove_range() to discard, and GUESTMEM_POLICY_DONTFORK instead of
 *                MADV_DONTFORK, of which the library would not know. Advice that only changes how
 *                pages are kept is fine.
 *   mbind(2)     Applies to pages that are touched later.
 *   In a copy-on-write region, guestmem_remove_range() and restores replace pages: what
 *   mprotect(2) and mbind(2) set there is lost, policies of guestmem_set_memory_policy() are kept.
 *   Never unmap, move or map over a region while it lives.
 *
 * Descriptors and mappings that a memory takes
 *   Descriptors:
 *     1 for all regions of guestmem_new() and guestmem_new_with_options() without a backing of their
 *       own; with huge pages, 1 for each size of page
 *     1 for each region of guestmem_region_new() without a backing of its own
 *     1 for each region with GUESTMEM_REGION_FD
 *     1 for an image loaded with GUESTMEM_LOAD_MAP
 *     0 for GUESTMEM_REGION_PRIVATE and GUESTMEM_REGION_HOST, each without GUESTMEM_REGION_FD
 *   and for the process 1 after its first snapshot, restore or save, up to 4 after
 *   guestmem_prepare(). Some calls open more while they run.
 *   Mappings, of which a process may have vm.max_map_count:
 *     3 for each region: its memory and two guard pages
 *     0 for GUESTMEM_REGION_HOST
 *     1 for the process
 *   and more for mapped images and removed ranges of copy-on-write regions; see GUESTMEM_LOAD_MAP
 *   and guestmem_remove_range().
 */

/* Generated from src/ffi/; `GUESTMEM_UPDATE_HEADER=1 cargo test --test header` rewrites it. */

#ifndef GUESTMEM_H
#define GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
/* Some functions bear the name of the struct that they fill. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#endif


/*
 * 1 Library
 */

/** Major version of this header. Changes when the ABI changes. */
#define GUESTMEM_VERSION_MAJOR 0

/** Minor version of this header. Changes when calls are added. */
#define GUESTMEM_VERSION_MINOR 1

/** Patch version of this header. */
#define GUESTMEM_VERSION_PATCH 0

/**
 * Returns the version of the loaded library. It may be newer than this header.
 *
 * @return MAJOR<<16 | MINOR<<8 | PATCH.
 */
uint32_t guestmem_version(void);

/**
 * Returns the version of the loaded library as text.
 *
 * @return Static text such as "1.2.3", never NULL.
 */
const char *guestmem_version_string(void);


/*
 * 2 Errors
 *
 * Codes never change; new ones are appended. Each thread keeps the details of its last failed call
 * until its next failure. Calls that succeed leave them unchanged.
 */

/** Success. */
#define GUESTMEM_OK 0

/**
 * A required pointer is NULL, a flag or enum value is unknown, a struct size is impossible, or a
 * reserved field is not 0.
 */
#define GUESTMEM_E_INVALID_ARGUMENT -1

/** The handle is NULL, already released, or not a handle of this kind. */
#define GUESTMEM_E_BAD_HANDLE -2

/** A host allocation failed, or the pool of huge pages is too small. */
#define GUESTMEM_E_NO_MEMORY -3

/** The address is in no region. */
#define GUESTMEM_E_INVALID_ADDRESS -4

/**
 * The range starts in a region but does not end in it (DMA-level: meets a hole), or it wraps at
 * 2^64.
 */
#define GUESTMEM_E_INVALID_RANGE -5

/** The size is 0 where 0 is refused. */
#define GUESTMEM_E_INVALID_SIZE -6

/**
 * A region's address, size or fd offset, or a range to remove, is not page-aligned, or an
 * alignment is not a power of two.
 */
#define GUESTMEM_E_NOT_ALIGNED -7

/** A volatile or atomic access is not naturally aligned. */
#define GUESTMEM_E_MISALIGNED -8

/** Two regions overlap. */
#define GUESTMEM_E_OVERLAP -9

/** Ranges are not in ascending order. */
#define GUESTMEM_E_UNSORTED -10

/**
 * A region would end at or past 2^64, an array is too small for the result, or a limit of the
 * library, the process or the host was reached.
 */
#define GUESTMEM_E_TOO_LARGE -11

/** A write to a read-only region, or a writable mapping of a read-only descriptor. */
#define GUESTMEM_E_READ_ONLY -12

/** The region is too short for the whole read, or the file ended first. */
#define GUESTMEM_E_SHORT_READ -13

/** The region is too short for the whole write. */
#define GUESTMEM_E_SHORT_WRITE -14

/**
 * The descriptor cannot back a region: it is closed or of the wrong kind, or its file is too
 * short.
 */
#define GUESTMEM_E_BACKING -15

/** A system call failed; see guestmem_error_info.os_errno. */
#define GUESTMEM_E_OS -16

/** Reading or writing a file, or a callback, failed; see guestmem_error_info.os_errno. */
#define GUESTMEM_E_IO -17

/** The kernel refused a memory policy, or would silently ignore it. */
#define GUESTMEM_E_POLICY -18

/** Snapshot metadata is malformed, inconsistent or over a limit. Memory is unchanged. */
#define GUESTMEM_E_METADATA -19

/** Snapshot metadata is well formed but describes other regions. Memory is unchanged. */
#define GUESTMEM_E_MISMATCH -20

/** The snapshot data ends too early. */
#define GUESTMEM_E_SNAPSHOT_SHORT -21

/** The snapshot data continues past its end. */
#define GUESTMEM_E_SNAPSHOT_LONG -22

/** A checksum does not match. */
#define GUESTMEM_E_CORRUPT -23

/** An earlier restore failed after it had begun to write. Only a complete restore clears this. */
#define GUESTMEM_E_TAINTED -24

/** A progress callback asked to stop. */
#define GUESTMEM_E_CANCELLED -25

/** The host mapping faulted. Reserved; this version does not return it. */
#define GUESTMEM_E_FAULT -26

/** No region has that index, or no region starts at that address. */
#define GUESTMEM_E_NOT_FOUND -27

/** This kernel, backing or build cannot do it. */
#define GUESTMEM_E_UNSUPPORTED -28

/** The object is in use in a way that forbids the call. */
#define GUESTMEM_E_BUSY -29

/** A bug in the library. */
#define GUESTMEM_E_INTERNAL -99

/** The details of a failure. */
struct guestmem_error_info {
    /** The code that the call returned. */
    int32_t code;
    /** The errno behind it; 0 if no system call was involved. */
    int32_t os_errno;
    /** The guest address passed to the call; 0 if there was none. */
    uint64_t guest_addr;
    /** The size in bytes passed to the call; 0 if there was none. */
    uint64_t size;
    /** Bytes moved before the failure. */
    uint64_t completed;
};

/**
 * Describes a code in a few words.
 *
 * @param code  a return code.
 * @return Static text, never NULL, also for unknown codes.
 */
const char *guestmem_strerror(int code);

/**
 * Returns the name of a code.
 *
 * @param code  a return code.
 * @return Static text such as "GUESTMEM_E_OVERLAP", never NULL, also for unknown codes.
 */
const char *guestmem_error_name(int code);

/**
 * Returns the errno nearest to a code, for programs whose own functions return errnos.
 *
 * @param code  a return code.
 * @return 0 for GUESTMEM_OK, otherwise a positive errno; EIO for unknown codes.
 */
int guestmem_errno(int code);

/**
 * Returns the details of the calling thread's last failed call. All fields are 0 before its first
 * failure.
 *
 * @param info       receives the details.
 * @param info_size  sizeof *info.
 * @return GUESTMEM_OK; or GUESTMEM_E_INVALID_ARGUMENT if info is NULL or info_size is 0, which
 *   leaves the thread's details unchanged.
 */
int guestmem_last_error(struct guestmem_error_info *info, size_t info_size);

/**
 * Describes the calling thread's last failed call in words, for example "invalid guest range
 * 0x1fff8+0x10: ...". Address and size are hexadecimal. Follows the rules of snprintf(3).
 *
 * @param buf  receives the text and its final NUL. May be NULL when len is 0.
 * @param len  size of buf in bytes; longer text is cut.
 * @return Length of the whole text without the NUL; 0 before the thread's first failure.
 */
size_t guestmem_last_error_message(char *buf, size_t len);


/*
 * 3 Creating: regions
 *
 * A region is reference-counted on its own and may belong to several memories at once.
 */

/** Guest RAM. */
#define GUESTMEM_PURPOSE_RAM 0

/** Reserved: the guest is told to leave it alone. */
#define GUESTMEM_PURPOSE_RESERVED 1

/** Firmware. */
#define GUESTMEM_PURPOSE_BIOS 2

/** Firmware that protects the guest from the host. */
#define GUESTMEM_PURPOSE_PROTECTED_FIRMWARE 3

/** Bounce buffers of a protected guest. */
#define GUESTMEM_PURPOSE_STATIC_SWIOTLB 4

/**
 * Back the region with a regular file, memfd or POSIX shared memory: fd at fd_offset, mapped
 * shared.
 */
#define GUESTMEM_REGION_FD 1

/**
 * Use memory that the caller mapped at host_addr. The caller unmaps it after the region's last
 * reference is gone. With GUESTMEM_REGION_FD, fd and fd_offset name the file mapped there. With
 * GUESTMEM_REGION_PRIVATE, the mapping is copy-on-write.
 */
#define GUESTMEM_REGION_HOST 2

/**
 * Writes through this library fail with GUESTMEM_E_READ_ONLY. The library maps the region for
 * reading only.
 */
#define GUESTMEM_REGION_READ_ONLY 4

/**
 * With GUESTMEM_REGION_FD: map the file copy-on-write. If the file has huge pages, as many more
 * are reserved as the region has, unless the region is read-only. Alone: private memory without a
 * file.
 */
#define GUESTMEM_REGION_PRIVATE 8

/**
 * Use huge pages of hugetlbfs, reserved at creation, so that no access can fail for lack of one.
 * Where a cgroup may limit the number of huge pages, they are allocated at creation, as with
 * GUESTMEM_REGION_POPULATE. Huge pages of a file passed with GUESTMEM_REGION_FD belong to the
 * file: mapping it reserves pages but allocates none.
 */
#define GUESTMEM_REGION_HUGETLB 16

/** Fault in all pages at creation, on several threads. If that fails, creation fails. */
#define GUESTMEM_REGION_POPULATE 32

/** A region of guest memory, reference-counted. */
struct guestmem_region;

/**
 * How to create a region. With only guest_addr and size set, it is RAM in shared memory of the
 * library.
 */
struct guestmem_region_options {
    /** First guest address, a multiple of the region's page size. */
    uint64_t guest_addr;
    /** Size in bytes, a multiple of the region's page size, not 0. */
    uint64_t size;
    /**
     * Alignment of the host address, a power of two. 0: in regions of at least 2 MiB, host and
     * guest addresses agree modulo 2 MiB (with huge pages: modulo their size), so that hypervisor
     * and kernel can use huge mappings.
     */
    uint64_t align;
    /** GUESTMEM_REGION_* flags. */
    uint64_t flags;
    /**
     * With GUESTMEM_REGION_FD: offset of the region in the file, a multiple of the region's page
     * size.
     */
    uint64_t fd_offset;
    /** With GUESTMEM_REGION_HOST: the memory to use, page-aligned. */
    void *host_addr;
    /** With GUESTMEM_REGION_FD: the file. The library duplicates it; the caller keeps its own. */
    int32_t fd;
    /**
     * GUESTMEM_PURPOSE_*: what the guest is told about the region. The library only passes it on.
     */
    uint32_t purpose;
    /**
     * With GUESTMEM_REGION_HUGETLB: log2 of the page size, 21 or 30 (aarch64: also 16, 25, 29 or
     * 34); 0: the system's default.
     */
    uint32_t hugetlb_log2;
    /** Must be 0. */
    uint32_t reserved;
};

/**
 * Creates a region on its own, for guestmem_from_regions() or guestmem_add_region(). A region
 * without a backing of its own gets a memfd named "guestmem", sealed against shrinking, growing
 * and further sealing. The mapping lies between inaccessible guard pages and is left out of core
 * dumps (MADV_DONTDUMP); caller's memory is used as it is. Memory reads as zeros until written,
 * unless it is a file's or the caller's.
 *
 * @param options       how to create it.
 * @param options_size  sizeof *options.
 * @param out           the region, with one reference to release with guestmem_region_unref().
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: purpose is unknown, flags contradict each other,
 *   host_addr is NULL or its end wraps, fd_offset is beyond 2^63-1, no huge page has the size
 *   hugetlb_log2.
 * @retval GUESTMEM_E_INVALID_SIZE      size is 0.
 * @retval GUESTMEM_E_TOO_LARGE         the region would end at or past 2^64, is larger than a file
 *   can or may be, or needs one more descriptor than the process may have.
 * @retval GUESTMEM_E_NOT_ALIGNED       address, size or fd_offset is not a multiple of the
 *   region's page size, align is not a power of two, or host_addr is not a multiple of align.
 * @retval GUESTMEM_E_BACKING           fd is closed, not a regular file or memfd, write-only, too
 *   short, or cannot be mapped this way.
 * @retval GUESTMEM_E_READ_ONLY         fd is open read-only and the region is writable.
 * @retval GUESTMEM_E_NO_MEMORY         also: not enough host addresses or free huge pages.
 * @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate the
 *   mapping.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_region_new(const struct guestmem_region_options *options,
                        size_t options_size,
                        struct guestmem_region **out);

/**
 * Takes another reference to a region.
 *
 * @param region  the region.
 * @return The same region; NULL if it is not a valid region.
 */
struct guestmem_region *guestmem_region_ref(struct guestmem_region *region);

/**
 * Releases a reference to a region. The last reference, including those of memories, unmaps it.
 *
 * @param region  the region; NULL has no effect.
 */
void guestmem_region_unref(struct guestmem_region *region);


/*
 * 3 Creating: guest memory
 *
 * All regions without a backing of their own share ONE memfd named "guestmem". It holds them in
 * order, without gaps, and is sealed against shrinking, growing and further sealing. Huge pages
 * have one memfd for each page size. Mappings lie between inaccessible guard pages, are left out
 * of core dumps, and read as zeros until written.
 */

/** A guest's memory, reference-counted. */
struct guestmem;

/** A range of guest addresses. */
struct guestmem_range {
    /** First guest address. */
    uint64_t guest_addr;
    /** Size in bytes. */
    uint64_t size;
};

/**
 * Creates guest memory of plain RAM.
 *
 * @param ranges  its regions: ascending, page-aligned, not empty, not overlapping. They may touch.
 *   May be NULL when count is 0.
 * @param count   number of ranges; 0 creates an empty memory.
 * @param out     the memory, with one reference to release with guestmem_unref().
 * @retval GUESTMEM_E_INVALID_SIZE  a size is 0.
 * @retval GUESTMEM_E_TOO_LARGE     a region would end at or past 2^64, or a limit of the host or
 *   the process was reached.
 * @retval GUESTMEM_E_UNSORTED      a range starts below the previous one.
 * @retval GUESTMEM_E_OVERLAP       two ranges overlap.
 * @retval GUESTMEM_E_NOT_ALIGNED   an address or size is not a multiple of the page size.
 * @retval GUESTMEM_E_NO_MEMORY     also: not enough host addresses.
 * @retval GUESTMEM_E_OS            a system call failed.
 */
int guestmem_new(const struct guestmem_range *ranges, size_t count, struct guestmem **out);

/**
 * Creates guest memory with options for each region.
 *
 * @param options       an array with one element for each region, in ascending order of
 *   guest_addr, not overlapping. May be NULL when count is 0.
 * @param count         number of elements; 0 creates an empty memory.
 * @param options_size  sizeof options[0], the distance between elements.
 * @param out           the memory, with one reference to release with guestmem_unref().
 * @retval GUESTMEM_E_UNSORTED          a region starts below the previous one.
 * @retval GUESTMEM_E_OVERLAP           two regions overlap.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  this and all below: as guestmem_region_new().
 * @retval GUESTMEM_E_INVALID_SIZE      size is 0.
 * @retval GUESTMEM_E_TOO_LARGE         a region would end at or past 2^64, or a limit was reached.
 * @retval GUESTMEM_E_NOT_ALIGNED       not page-aligned, or align is not a power of two.
 * @retval GUESTMEM_E_BACKING           fd cannot back the region.
 * @retval GUESTMEM_E_READ_ONLY         fd is open read-only and the region is writable.
 * @retval GUESTMEM_E_NO_MEMORY         also: not enough host addresses or free huge pages.
 * @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate the
 *   mapping.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_new_with_options(const struct guestmem_region_options *options,
                              size_t count,
                              size_t options_size,
                              struct guestmem **out);

/**
 * Creates guest memory from regions made by guestmem_region_new(), which may belong to other
 * memories too.
 *
 * @param regions  the regions in any order, not overlapping. The memory takes references of its
 *   own; the caller keeps its own. May be NULL when count is 0.
 * @param count    number of regions; 0 creates an empty memory.
 * @param out      the memory, with one reference to release with guestmem_unref().
 * @retval GUESTMEM_E_BAD_HANDLE  one of the regions is not a valid region.
 * @retval GUESTMEM_E_OVERLAP     two regions overlap.
 * @retval GUESTMEM_E_TOO_LARGE   count is larger than memory.
 */
int guestmem_from_regions(struct guestmem_region *const *regions,
                          size_t count,
                          struct guestmem **out);

/**
 * Takes another reference to a memory.
 *
 * @param mem  the memory.
 * @return The same memory; NULL if it is not a valid memory.
 */
struct guestmem *guestmem_ref(struct guestmem *mem);

/**
 * Releases a reference to a memory. The last reference unmaps every region that nothing else
 * refers to; no other call may be using the memory then.
 *
 * @param mem  the memory; NULL has no effect.
 */
void guestmem_unref(struct guestmem *mem);


/*
 * 4 Asking about memory
 */

/** What a region is: enough to give it to a hypervisor or to another process. */
struct guestmem_region_info {
    /** First guest address. */
    uint64_t guest_addr;
    /** Size in bytes. */
    uint64_t size;
    /**
     * Host address of the first byte, valid while the region lives. Do not write through it if
     * flags has GUESTMEM_REGION_READ_ONLY.
     */
    void *host_addr;
    /** GUESTMEM_REGION_* flags that the region was created with. */
    uint64_t flags;
    /** Offset of the region in its file; 0 if there is none. */
    uint64_t fd_offset;
    /** The file behind the region, or -1. Borrowed: valid while the region lives. */
    int32_t fd;
    /** GUESTMEM_PURPOSE_*. */
    uint32_t purpose;
    /** Size of its pages in bytes. For caller's memory without a file, the system's page size. */
    uint64_t page_size;
};

/**
 * Returns the end of the highest region.
 *
 * @param mem  the memory.
 * @return The first guest address past it; 0 if the memory is empty.
 */
uint64_t guestmem_end_addr(const struct guestmem *mem);

/**
 * Returns the total size of all regions.
 *
 * @param mem  the memory.
 * @return Size in bytes; 0 if the memory is empty.
 */
uint64_t guestmem_memory_size(const struct guestmem *mem);

/**
 * Returns the number of regions.
 *
 * @param mem  the memory.
 * @return The number of regions.
 */
size_t guestmem_num_regions(const struct guestmem *mem);

/**
 * Describes a region.
 *
 * @param mem        the memory.
 * @param index      index of the region, in ascending order of guest addresses, from 0.
 * @param info       receives the description.
 * @param info_size  sizeof *info.
 * @retval GUESTMEM_E_NOT_FOUND  the memory has no region with that index.
 */
int guestmem_region_info(const struct guestmem *mem,
                         size_t index,
                         struct guestmem_region_info *info,
                         size_t info_size);

/**
 * Finds the region that contains an address.
 *
 * @param mem        the memory.
 * @param addr       guest address.
 * @param info       receives the region's description. May be NULL.
 * @param info_size  sizeof *info; ignored if info is NULL.
 * @param offset     receives the distance in bytes of addr from the region's start. May be NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 */
int guestmem_find_region(const struct guestmem *mem,
                         uint64_t addr,
                         struct guestmem_region_info *info,
                         size_t info_size,
                         uint64_t *offset);

/**
 * Tells whether an address is in a region.
 *
 * @param mem   the memory.
 * @param addr  guest address.
 * @return True if it is.
 */
bool guestmem_address_in_range(const struct guestmem *mem, uint64_t addr);

/**
 * Tells whether any byte of any region lies in the range from start to end - 1.
 *
 * @param mem    the memory.
 * @param start  first guest address of the range.
 * @param end    first guest address past the range.
 * @return True if so; false if start >= end.
 */
bool guestmem_range_overlap(const struct guestmem *mem, uint64_t start, uint64_t end);

/**
 * Adds an offset to an address. The sum must lie in a region; addr and the bytes between need not.
 * Use guestmem_is_valid_range() to check those.
 *
 * @param mem     the memory.
 * @param addr    guest address.
 * @param offset  bytes to add.
 * @param out     addr + offset.
 * @retval GUESTMEM_E_INVALID_RANGE    the sum wraps at 2^64.
 * @retval GUESTMEM_E_INVALID_ADDRESS  the sum is in no region.
 */
int guestmem_checked_offset(const struct guestmem *mem,
                            uint64_t addr,
                            uint64_t offset,
                            uint64_t *out);

/**
 * Tells whether a range lies within ONE region.
 *
 * @param mem    the memory.
 * @param start  first guest address.
 * @param size   size in bytes.
 * @return True if so; false if size is 0 or the range wraps.
 */
bool guestmem_is_valid_range(const struct guestmem *mem, uint64_t start, uint64_t size);

/**
 * Describes a memory as one JSON object: its size and end, the policies in force, and each region
 * with its backing and, where /proc tells, its resident bytes. For people and logs; keys may be
 * added.
 *
 * @param mem   the memory.
 * @param json  the text, to be freed with guestmem_free().
 * @retval GUESTMEM_E_NO_MEMORY  a host allocation failed.
 */
int guestmem_describe(const struct guestmem *mem, char **json);

/**
 * Frees text that the library allocated for the caller.
 *
 * @param ptr  the text; NULL has no effect.
 */
void guestmem_free(void *ptr);


/*
 * 5 Translating: addresses
 *
 * Host addresses and descriptors are valid while their region lives: as long as the memory or,
 * once the region was removed, until its last reference is released.
 *
 * Pointers from calls without "writable" in their name are for reading only: they may point into
 * read-only regions, where a write raises SIGSEGV. Use guestmem_get_host_address_range_writable(),
 * or its counterparts for slices, for memory that will be written.
 */

/**
 * Translates one guest address, for reading. Checks one byte only; use
 * guestmem_get_host_address_range() for longer accesses.
 *
 * @param mem   the memory.
 * @param addr  guest address.
 * @param out   the host address.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 */
int guestmem_get_host_address(const struct guestmem *mem, uint64_t addr, void **out);

/**
 * Translates a range within one region, for reading.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param size  size in bytes.
 * @param out   the host address of the first byte.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE     size is 0.
 */
int guestmem_get_host_address_range(const struct guestmem *mem,
                                    uint64_t addr,
                                    uint64_t size,
                                    void **out);

/**
 * Like guestmem_get_host_address_range(), for writing and reading. Refuses read-only regions.
 *
 * @copydetails guestmem_get_host_address_range
 * @retval GUESTMEM_E_READ_ONLY  the region is read-only.
 */
int guestmem_get_host_address_range_writable(const struct guestmem *mem,
                                             uint64_t addr,
                                             uint64_t size,
                                             void **out);

/**
 * Translates a host address to a guest address. The time it takes grows with the number of
 * regions. If regions share host memory, returns the lowest guest address.
 *
 * @param mem   the memory.
 * @param host  host address.
 * @param out   the guest address.
 * @retval GUESTMEM_E_INVALID_ADDRESS  no region of the memory is mapped there.
 */
int guestmem_get_guest_address(const struct guestmem *mem, const void *host, uint64_t *out);

/**
 * Returns the file that backs an address.
 *
 * @param mem   the memory.
 * @param addr  guest address.
 * @param fd    the file. Borrowed: valid while the region lives.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_UNSUPPORTED      the region has no file.
 */
int guestmem_shm_region(const struct guestmem *mem, uint64_t addr, int *fd);

/**
 * Returns the file that backs the address at a distance from the lowest region's start.
 *
 * @param mem     the memory.
 * @param offset  distance in bytes from the start of the lowest region.
 * @param fd      the file. Borrowed: valid while the region lives.
 * @retval GUESTMEM_E_INVALID_ADDRESS  the address is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the address wraps at 2^64.
 * @retval GUESTMEM_E_UNSUPPORTED      the region has no file.
 */
int guestmem_offset_region(const struct guestmem *mem, uint64_t offset, int *fd);

/**
 * Returns the file that backs an address, and the address's offset in that file: what another
 * process needs to map the same bytes. Regions of one memory lie in their shared file without
 * gaps, so this offset is not a distance in guest addresses.
 *
 * @param mem     the memory.
 * @param addr    guest address.
 * @param fd      the file. Borrowed: valid while the region lives. May be NULL.
 * @param offset  offset in bytes from the start of the file.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_UNSUPPORTED      the region has no file.
 */
int guestmem_offset_from_base(const struct guestmem *mem, uint64_t addr, int *fd, uint64_t *offset);


/*
 * 5 Translating: slices
 *
 * A slice is a part of guest memory that is contiguous in host memory. Calls without "writable" in
 * their name return slices for reading only. Use guestmem_translate_for() for a descriptor chain
 * that has both kinds of buffers.
 *
 * Example
 *   struct guestmem_access chain[MAX_DESC];
 *   struct guestmem_slice slices[2 * MAX_DESC];
 *   size_t count;
 *   for (size_t i = 0; i < n; i++) {
 *       struct descriptor desc = load_descriptor(head, i);    // each field loaded once
 *       bool writes = desc.flags & DESC_WRITE;
 *       chain[i].guest_addr = desc.addr;
 *       chain[i].size = desc.len;
 *       chain[i].access = writes ? GUESTMEM_ACCESS_WRITE : GUESTMEM_ACCESS_READ;
 *       chain[i].reserved = 0;
 *   }
 *   if (guestmem_translate_for(mem, chain, n, slices, 2 * MAX_DESC, &count) != GUESTMEM_OK)
 *       return refuse(head);    // a hole, or ROM as a buffer to be filled
 */

/** The memory will only be read. */
#define GUESTMEM_ACCESS_READ 1

/** The memory will be written. It may also be read, with or without GUESTMEM_ACCESS_READ. */
#define GUESTMEM_ACCESS_WRITE 2

/**
 * Host address and length of guest bytes, laid out as struct iovec: pass arrays of it to readv(2)
 * and writev(2).
 */
struct guestmem_slice {
    /** The first byte. */
    void *addr;
    /** Length in bytes. */
    size_t len;
};

/** A range of guest addresses and how it will be accessed. */
struct guestmem_access {
    /** First guest address. */
    uint64_t guest_addr;
    /** Size in bytes. */
    uint64_t size;
    /** GUESTMEM_ACCESS_READ, GUESTMEM_ACCESS_WRITE or both. */
    uint32_t access;
    /** Must be 0. */
    uint32_t reserved;
};

/**
 * Translates a range within one region to a slice for reading.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param size  size in bytes.
 * @param out   the slice, of exactly size bytes.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE     size is 0.
 */
int guestmem_get_slice(const struct guestmem *mem,
                       uint64_t addr,
                       size_t size,
                       struct guestmem_slice *out);

/**
 * Like guestmem_get_slice(), for writing and reading. Refuses read-only regions.
 *
 * @copydetails guestmem_get_slice
 * @retval GUESTMEM_E_READ_ONLY  the region is read-only.
 */
int guestmem_get_slice_writable(const struct guestmem *mem,
                                uint64_t addr,
                                size_t size,
                                struct guestmem_slice *out);

/**
 * Translates a range to slices for reading. DMA-level: the range may continue through adjacent
 * regions.
 *
 * @param mem    the memory.
 * @param addr   first guest address.
 * @param size   size in bytes.
 * @param out    receives the slices, in order. May be NULL when cap is 0.
 * @param cap    number of slices that fit in out.
 * @param count  number of slices; on GUESTMEM_E_TOO_LARGE, the number needed.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE     size is 0.
 * @retval GUESTMEM_E_TOO_LARGE        cap is too small.
 */
int guestmem_get_slices(const struct guestmem *mem,
                        uint64_t addr,
                        uint64_t size,
                        struct guestmem_slice *out,
                        size_t cap,
                        size_t *count);

/**
 * Like guestmem_get_slices(), for writing and reading. Refuses a range with a read-only region
 * anywhere in it.
 *
 * @copydetails guestmem_get_slices
 * @retval GUESTMEM_E_READ_ONLY  the range meets a read-only region.
 */
int guestmem_get_slices_writable(const struct guestmem *mem,
                                 uint64_t addr,
                                 uint64_t size,
                                 struct guestmem_slice *out,
                                 size_t cap,
                                 size_t *count);

/**
 * Translates a descriptor chain in one call, to slices for reading. DMA-level: each range may
 * continue through adjacent regions. guestmem_last_error() reports the range that was refused. Use
 * guestmem_translate_for() for memory that will be written.
 *
 * @param mem     the memory.
 * @param ranges  the ranges. Each is read more than once, so the array must not change during the
 *   call. May be NULL when n is 0.
 * @param n       number of ranges, may be 0.
 * @param out     receives the slices of all ranges, in order. May be NULL when cap is 0.
 * @param cap     number of slices that fit in out.
 * @param count   number of slices; on GUESTMEM_E_TOO_LARGE, the number needed.
 * @retval GUESTMEM_E_INVALID_ADDRESS  a range starts in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    a range meets a hole, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE     a range is empty.
 * @retval GUESTMEM_E_TOO_LARGE        cap is too small.
 */
int guestmem_translate(const struct guestmem *mem,
                       const struct guestmem_range *ranges,
                       size_t n,
                       struct guestmem_slice *out,
                       size_t cap,
                       size_t *count);

/**
 * Translates a descriptor chain in one call, to slices for the access that each range asks for.
 * Like guestmem_translate(), but refuses the whole chain if a range that will be written meets a
 * read-only region.
 *
 * If several ranges are invalid, the call reports the error that comes first in the order that
 * holds for all calls: flags, address, range, read-only. guestmem_last_error() reports its range.
 *
 * @param mem     the memory.
 * @param ranges  the ranges. Each is read more than once, so the array must not change during the
 *   call. May be NULL when n is 0.
 * @param n       number of ranges, may be 0.
 * @param out     receives the slices of all ranges, in order. May be NULL when cap is 0.
 * @param cap     number of slices that fit in out.
 * @param count   number of slices; on GUESTMEM_E_TOO_LARGE, the number needed.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: access is 0 or has an unknown bit, or reserved is not
 *   0.
 * @retval GUESTMEM_E_INVALID_ADDRESS   a range starts in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     a range meets a hole, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      a range is empty.
 * @retval GUESTMEM_E_READ_ONLY         a range that will be written meets a read-only region.
 * @retval GUESTMEM_E_TOO_LARGE         cap is too small.
 */
int guestmem_translate_for(const struct guestmem *mem,
                           const struct guestmem_access *ranges,
                           size_t n,
                           struct guestmem_slice *out,
                           size_t cap,
                           size_t *count);


/*
 * 6 Access: bytes and objects
 *
 * Each call checks the whole range before it moves the first byte. If source and destination are
 * 8-byte aligned, a copy moves each 8-byte word in one access. Aligned words of 2 and 4 bytes are
 * not torn either.
 */

/**
 * Reads from one region, fewer bytes than len at its end. Region-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param buf   receives the bytes. May be NULL when len is 0.
 * @param len   bytes to read.
 * @param done  bytes read, at most len.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 */
int guestmem_read(const struct guestmem *mem, uint64_t addr, void *buf, size_t len, size_t *done);

/**
 * Writes to one region, fewer bytes than len at its end. Region-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param buf   the bytes. May be NULL when len is 0.
 * @param len   bytes to write.
 * @param done  bytes written, at most len.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only and len is not 0.
 */
int guestmem_write(const struct guestmem *mem,
                   uint64_t addr,
                   const void *buf,
                   size_t len,
                   size_t *done);

/**
 * Reads all len bytes from one region, or nothing. Region-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param buf   receives the bytes. May be NULL when len is 0.
 * @param len   bytes to read.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_SHORT_READ       the region ends before the range does.
 */
int guestmem_read_exact(const struct guestmem *mem, uint64_t addr, void *buf, size_t len);

/**
 * Writes all len bytes to one region, or nothing. Region-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param buf   the bytes. May be NULL when len is 0.
 * @param len   bytes to write.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_SHORT_WRITE      the region ends before the range does; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only and len is not 0.
 */
int guestmem_write_all(const struct guestmem *mem, uint64_t addr, const void *buf, size_t len);

/**
 * Reads all len bytes as a device does, through adjacent regions, or nothing. DMA-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param buf   receives the bytes. May be NULL when len is 0.
 * @param len   bytes to read.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps.
 */
int guestmem_dma_read(const struct guestmem *mem, uint64_t addr, void *buf, size_t len);

/**
 * Writes all len bytes as a device does, through adjacent regions, or nothing. DMA-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param buf   the bytes. May be NULL when len is 0.
 * @param len   bytes to write.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was written.
 */
int guestmem_dma_write(const struct guestmem *mem, uint64_t addr, const void *buf, size_t len);

/**
 * Copies within guest memory, through adjacent regions. Guest addresses may overlap, as in
 * memmove(3). The call does not detect an overlap of regions that share host memory. DMA-level.
 *
 * @param mem   the memory.
 * @param dst   first guest address to write.
 * @param src   first guest address to read.
 * @param size  bytes to copy.
 * @retval GUESTMEM_E_INVALID_ADDRESS  dst or src is in no region; for 0 bytes, also not at the end
 *   of one.
 * @retval GUESTMEM_E_INVALID_RANGE    a range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY        a region to write is read-only; nothing was written.
 */
int guestmem_dma_copy(const struct guestmem *mem, uint64_t dst, uint64_t src, uint64_t size);

/**
 * Fills guest memory, through adjacent regions. DMA-level.
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param byte  the value of each byte.
 * @param size  bytes to fill.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was written.
 */
int guestmem_dma_fill(const struct guestmem *mem, uint64_t addr, uint8_t byte, uint64_t size);

/**
 * Reads an object without tearing its fields: in ascending, naturally aligned accesses, each made
 * once. Their width is the widest of 8, 4, 2 and 1 bytes that divides size. Region-level.
 *
 * @param mem   the memory.
 * @param addr  guest address, a multiple of that width.
 * @param obj   receives the object, at any alignment. May be NULL when size is 0.
 * @param size  size of the object in bytes.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the object does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the width.
 */
int guestmem_read_obj_volatile(const struct guestmem *mem, uint64_t addr, void *obj, size_t size);

/**
 * Writes an object without tearing its fields: in ascending, naturally aligned accesses, each made
 * once. Their width is the widest of 8, 4, 2 and 1 bytes that divides size. Region-level.
 *
 * @param mem   the memory.
 * @param addr  guest address, a multiple of that width.
 * @param obj   the object, at any alignment. May be NULL when size is 0.
 * @param size  size of the object in bytes.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the object does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the width.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only and size is not 0.
 */
int guestmem_write_obj_volatile(const struct guestmem *mem,
                                uint64_t addr,
                                const void *obj,
                                size_t size);


/*
 * 6 Access: values
 *
 * Values of 8, 16, 32 and 64 bits in host byte order. Each call makes one access. The calls are
 * region-level: a value that lies in two regions is an error.
 */

/** As memory_order_relaxed: not torn, no ordering. */
#define GUESTMEM_RELAXED 0

/** As memory_order_acquire: later accesses stay behind the load. */
#define GUESTMEM_ACQUIRE 2

/** As memory_order_release: earlier accesses stay before the store. */
#define GUESTMEM_RELEASE 3

/** As memory_order_acq_rel: acquire and release. For guestmem_compare_exchange_*() only. */
#define GUESTMEM_ACQ_REL 4

/**
 * As memory_order_seq_cst: acquire and release, and all threads see these accesses in one order.
 */
#define GUESTMEM_SEQ_CST 5

/**
 * Reads a value at any alignment.
 *
 * @param mem   the memory.
 * @param addr  guest address.
 * @param out   the value.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
 */
int guestmem_read_u8(const struct guestmem *mem, uint64_t addr, uint8_t *out);

/** @copydoc guestmem_read_u8 */
int guestmem_read_u16(const struct guestmem *mem, uint64_t addr, uint16_t *out);

/** @copydoc guestmem_read_u8 */
int guestmem_read_u32(const struct guestmem *mem, uint64_t addr, uint32_t *out);

/** @copydoc guestmem_read_u8 */
int guestmem_read_u64(const struct guestmem *mem, uint64_t addr, uint64_t *out);

/**
 * Writes a value at any alignment.
 *
 * @param mem    the memory.
 * @param addr   guest address.
 * @param value  the value.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only.
 */
int guestmem_write_u8(const struct guestmem *mem, uint64_t addr, uint8_t value);

/** @copydoc guestmem_write_u8 */
int guestmem_write_u16(const struct guestmem *mem, uint64_t addr, uint16_t value);

/** @copydoc guestmem_write_u8 */
int guestmem_write_u32(const struct guestmem *mem, uint64_t addr, uint32_t value);

/** @copydoc guestmem_write_u8 */
int guestmem_write_u64(const struct guestmem *mem, uint64_t addr, uint64_t value);

/**
 * Reads a naturally aligned value, which is not torn.
 *
 * @param mem   the memory.
 * @param addr  guest address, a multiple of the value's size.
 * @param out   the value.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the value's size.
 */
int guestmem_read_volatile_u8(const struct guestmem *mem, uint64_t addr, uint8_t *out);

/** @copydoc guestmem_read_volatile_u8 */
int guestmem_read_volatile_u16(const struct guestmem *mem, uint64_t addr, uint16_t *out);

/** @copydoc guestmem_read_volatile_u8 */
int guestmem_read_volatile_u32(const struct guestmem *mem, uint64_t addr, uint32_t *out);

/** @copydoc guestmem_read_volatile_u8 */
int guestmem_read_volatile_u64(const struct guestmem *mem, uint64_t addr, uint64_t *out);

/**
 * Writes a naturally aligned value, which is not torn.
 *
 * @param mem    the memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param value  the value.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the value's size.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only.
 */
int guestmem_write_volatile_u8(const struct guestmem *mem, uint64_t addr, uint8_t value);

/** @copydoc guestmem_write_volatile_u8 */
int guestmem_write_volatile_u16(const struct guestmem *mem, uint64_t addr, uint16_t value);

/** @copydoc guestmem_write_volatile_u8 */
int guestmem_write_volatile_u32(const struct guestmem *mem, uint64_t addr, uint32_t value);

/** @copydoc guestmem_write_volatile_u8 */
int guestmem_write_volatile_u64(const struct guestmem *mem, uint64_t addr, uint64_t value);

/**
 * Loads a naturally aligned value atomically, such as a ring index that the guest publishes.
 *
 * @param mem    the memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param order  GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
 * @param out    the value.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: order is not valid for a load.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
 */
int guestmem_load_u8(const struct guestmem *mem, uint64_t addr, uint32_t order, uint8_t *out);

/** @copydoc guestmem_load_u8 */
int guestmem_load_u16(const struct guestmem *mem, uint64_t addr, uint32_t order, uint16_t *out);

/** @copydoc guestmem_load_u8 */
int guestmem_load_u32(const struct guestmem *mem, uint64_t addr, uint32_t order, uint32_t *out);

/** @copydoc guestmem_load_u8 */
int guestmem_load_u64(const struct guestmem *mem, uint64_t addr, uint32_t order, uint64_t *out);

/**
 * Stores a naturally aligned value atomically, such as a ring index that the guest waits for.
 *
 * @param mem    the memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param value  the value.
 * @param order  GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: order is not valid for a store.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only.
 */
int guestmem_store_u8(const struct guestmem *mem, uint64_t addr, uint8_t value, uint32_t order);

/** @copydoc guestmem_store_u8 */
int guestmem_store_u16(const struct guestmem *mem, uint64_t addr, uint16_t value, uint32_t order);

/** @copydoc guestmem_store_u8 */
int guestmem_store_u32(const struct guestmem *mem, uint64_t addr, uint32_t value, uint32_t order);

/** @copydoc guestmem_store_u8 */
int guestmem_store_u64(const struct guestmem *mem, uint64_t addr, uint64_t value, uint32_t order);

/**
 * Replaces a naturally aligned value atomically if it has the expected value.
 *
 * @param mem        the memory.
 * @param addr       guest address, a multiple of the value's size.
 * @param expected   In: the expected value. Out: the actual value if they differ. Unchanged on
 *   failure.
 * @param desired    the new value.
 * @param order      any of the orders above. If the values differ, the load has it as far as
 *   a load can.
 * @param exchanged  true if the value was replaced. May be NULL.
 * @retval GUESTMEM_OK                  the values were compared; *exchanged tells the result.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region in which it starts.
 * @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only.
 */
int guestmem_compare_exchange_u8(const struct guestmem *mem,
                                 uint64_t addr,
                                 uint8_t *expected,
                                 uint8_t desired,
                                 uint32_t order,
                                 bool *exchanged);

/** @copydoc guestmem_compare_exchange_u8 */
int guestmem_compare_exchange_u16(const struct guestmem *mem,
                                  uint64_t addr,
                                  uint16_t *expected,
                                  uint16_t desired,
                                  uint32_t order,
                                  bool *exchanged);

/** @copydoc guestmem_compare_exchange_u8 */
int guestmem_compare_exchange_u32(const struct guestmem *mem,
                                  uint64_t addr,
                                  uint32_t *expected,
                                  uint32_t desired,
                                  uint32_t order,
                                  bool *exchanged);

/** @copydoc guestmem_compare_exchange_u8 */
int guestmem_compare_exchange_u64(const struct guestmem *mem,
                                  uint64_t addr,
                                  uint64_t *expected,
                                  uint64_t desired,
                                  uint32_t order,
                                  bool *exchanged);


/*
 * 6 Access: slices
 *
 * These calls work on a slice without a memory handle. The caller guarantees that the slice is
 * live: that the memory it came from exists, and that slices of read-only regions are only read.
 * Slices from guestmem_get_slice_writable(), guestmem_get_slices_writable() and, for
 * GUESTMEM_ACCESS_WRITE, guestmem_translate_for() are never read-only.
 */

/**
 * Returns a part of a slice.
 *
 * @param s       a live slice.
 * @param offset  start of the part, in bytes from the slice's start.
 * @param len     length of the part in bytes, may be 0.
 * @param out     the part.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: s has a length but no address.
 * @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
 */
int guestmem_slice_sub(struct guestmem_slice s,
                       size_t offset,
                       size_t len,
                       struct guestmem_slice *out);

/**
 * Reads all len bytes from a slice, or nothing.
 *
 * @param s       a live slice.
 * @param offset  start, in bytes from the slice's start.
 * @param buf     receives the bytes. May be NULL when len is 0.
 * @param len     bytes to read.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: s has a length but no address.
 * @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
 */
int guestmem_slice_read(struct guestmem_slice s, size_t offset, void *buf, size_t len);

/**
 * Writes all len bytes to a slice, or nothing.
 *
 * @param s       a live, writable slice.
 * @param offset  start, in bytes from the slice's start.
 * @param buf     the bytes. May be NULL when len is 0.
 * @param len     bytes to write.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: s has a length but no address.
 * @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
 */
int guestmem_slice_write(struct guestmem_slice s, size_t offset, const void *buf, size_t len);

/**
 * Sets every byte of a slice to one value.
 *
 * @param s     a live, writable slice.
 * @param byte  the value.
 */
void guestmem_slice_fill(struct guestmem_slice s, uint8_t byte);

/**
 * Copies from one slice to another, up to the length of the shorter one. They may overlap, as in
 * memmove(3).
 *
 * @param dst  a live, writable slice.
 * @param src  a live slice.
 * @return Bytes copied.
 */
size_t guestmem_slice_copy(struct guestmem_slice dst, struct guestmem_slice src);

/**
 * Tells whether a slice holds only zeros.
 *
 * @param s  a live slice.
 * @return True if so, also if the slice is empty.
 */
bool guestmem_slice_is_zero(struct guestmem_slice s);


/*
 * 6 Access: file descriptors
 *
 * These calls transfer bytes between a file descriptor and guest memory without an intermediate
 * buffer. They are DMA-level. They continue after short transfers and EINTR, and past 2 GiB. After
 * a failure, guestmem_error_info.completed tells how many bytes were moved. They raise no signal.
 */

/**
 * Reads exactly size bytes from a descriptor into guest memory, at the descriptor's position. May
 * block, as read(2).
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param fd    a file, pipe, socket or device to read. Its position advances.
 * @param size  bytes to read.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was read.
 * @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was read.
 * @retval GUESTMEM_E_SHORT_READ       the file ended first; `completed` bytes were read.
 * @retval GUESTMEM_E_IO               reading failed after `completed` bytes. os_errno is, for
 *   example, EAGAIN when a non-blocking descriptor has no more data, or EBADF when fd is not open
 *   for reading.
 */
int guestmem_read_to_memory(const struct guestmem *mem, uint64_t addr, int fd, uint64_t size);

/**
 * Writes exactly size bytes of guest memory to a descriptor, at the descriptor's position. May
 * block, as write(2).
 *
 * @param mem   the memory.
 * @param addr  first guest address.
 * @param fd    a file, pipe, socket or device to write. Its position advances.
 * @param size  bytes to write.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_IO               writing failed after `completed` bytes. os_errno is, for
 *   example, EAGAIN when a non-blocking descriptor accepts no more data, EPIPE when a pipe or
 *   socket is closed, EFBIG at a file size limit, or EBADF when fd is not open for writing.
 */
int guestmem_write_from_memory(const struct guestmem *mem, uint64_t addr, int fd, uint64_t size);

/**
 * Reads exactly size bytes at an offset of a file into guest memory.
 *
 * @param mem        the memory.
 * @param addr       first guest address.
 * @param fd         the file. Its position does not change.
 * @param fd_offset  offset in the file.
 * @param size       bytes to read.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: fd_offset is beyond 2^63-1.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was read.
 * @retval GUESTMEM_E_READ_ONLY         a region in the range is read-only; nothing was read.
 * @retval GUESTMEM_E_SHORT_READ        the file ended first; `completed` bytes were read.
 * @retval GUESTMEM_E_IO                reading failed after `completed` bytes. os_errno is ESPIPE
 *   when fd cannot seek.
 */
int guestmem_read_to_memory_at(const struct guestmem *mem,
                               uint64_t addr,
                               int fd,
                               uint64_t fd_offset,
                               uint64_t size);

/**
 * Writes exactly size bytes of guest memory at an offset of a file. On a file opened with O_APPEND
 * this needs Linux 6.9.
 *
 * @param mem        the memory.
 * @param addr       first guest address.
 * @param fd         the file. Its position does not change.
 * @param fd_offset  offset in the file.
 * @param size       bytes to write.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: fd_offset is beyond 2^63-1.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region; for 0 bytes, also not at the end of
 *   one.
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_UNSUPPORTED       fd was opened with O_APPEND, and the kernel can only append
 *   to it.
 * @retval GUESTMEM_E_IO                writing failed after `completed` bytes; os_errno tells why.
 */
int guestmem_write_from_memory_at(const struct guestmem *mem,
                                  uint64_t addr,
                                  int fd,
                                  uint64_t fd_offset,
                                  uint64_t size);


/*
 * 7 The inline path: views
 *
 * A view exposes a memory's lookup table as plain data. The inline functions of guestmem_inline.h
 * access guest memory through it without a library call. Where the view's flat map has no answer
 * (a hole, or a small or oddly placed region among large ones), they call the exported function
 * with the same name and `_fn` appended. These twins return the same results; programs in other
 * languages, or that use dlsym(3), can call them directly. Ranges, alignment and read-only regions
 * are checked as in section 6.
 *
 * A view may be copied, stored in a device's own struct, and used by any number of threads. It
 * takes the place of the handle and must not be used after its memory is gone; only
 * guestmem_view_is_current() may be called then. After a region was added or removed, a view still
 * shows the earlier regions. Get a new one before the last reference to a removed region is
 * released.
 *
 * Example
 *   struct guestmem_view view;                   // once for each device
 *   guestmem_get_view(mem, &view, sizeof view);
 *
 *   uint16_t flags;                              // for each request
 *   if (!guestmem_view_read_u16(&view, desc + 12, &flags))
 *       return bad_address(desc);
 */

/**
 * An entry of the flat map: the region that contains the first byte of a chunk of guest addresses.
 */
struct guestmem_chunk {
    /**
     * First guest address past that region; the chunk's own start if there is none. If the region
     * is read-only, one less, so bit 0 is set; its last byte is then not found here.
     */
    uint64_t end;
    /** Host address minus guest address in that region, modulo 2^64. */
    uint64_t delta;
};

/**
 * A memory's lookup table, as guestmem_get_view() returned it. A view of all zeros refuses every
 * address. Only the inline functions should read its fields.
 */
struct guestmem_view {
    /** The flat map: one entry for each chunk of guest addresses, from 0. */
    const struct guestmem_chunk *chunks;
    /** Number of entries in the flat map. */
    uint64_t count;
    /** A chunk is 2^shift bytes of guest addresses. */
    uint64_t shift;
    /** Number of this map among all maps of the library. */
    uint64_t generation;
    /** Number of the map that the memory has now; 0 when the memory is gone. */
    const uint64_t *live_generation;
    /** The memory. */
    const struct guestmem *mem;
    /** The table that the exported twins search. */
    const void *table;
};

/**
 * Returns a view of a memory's current regions.
 *
 * @param mem        the memory. It must outlive all use of the view.
 * @param view       the view; zeroed on failure, so that it refuses every address.
 * @param view_size  sizeof *view. Bytes that this version does not know are zeroed.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  also: view_size is too small for the inline functions.
 */
int guestmem_get_view(const struct guestmem *mem, struct guestmem_view *view, size_t view_size);

/**
 * The exported twin of guestmem_view_is_current().
 *
 * @param view  a view.
 * @param mem   the memory that the view is of.
 * @return True if no region was added or removed since guestmem_get_view().
 */
bool guestmem_view_is_current_fn(const struct guestmem_view *view, const struct guestmem *mem);

/**
 * The exported twin of guestmem_view_ptr(). The pointer is for reading only.
 *
 * @param view  a view of a live memory.
 * @param addr  first guest address.
 * @param size  size in bytes.
 * @return The host address of the first byte; NULL if size is 0 or the range is not within one
 *   region.
 */
void *guestmem_view_ptr_fn(const struct guestmem_view *view, uint64_t addr, uint64_t size);

/**
 * The exported twin of guestmem_view_ptr_writable().
 *
 * @param view  a view of a live memory.
 * @param addr  first guest address.
 * @param size  size in bytes.
 * @return The host address of the first byte; NULL if size is 0, the range is not within one
 *   region, or that region is read-only.
 */
void *guestmem_view_ptr_writable_fn(const struct guestmem_view *view, uint64_t addr, uint64_t size);


/*
 * 7 The inline path: exported twins for values
 *
 * Each does the same as the inline function without `_fn` in its name.
 */

/**
 * The exported twin of guestmem_view_read_u8().
 *
 * @param view  a view.
 * @param addr  guest address.
 * @param out   the value; 0 on failure.
 * @return False if the value is not within one region.
 */
bool guestmem_view_read_u8_fn(const struct guestmem_view *view, uint64_t addr, uint8_t *out);

/** @copydoc guestmem_view_read_u8_fn */
bool guestmem_view_read_u16_fn(const struct guestmem_view *view, uint64_t addr, uint16_t *out);

/** @copydoc guestmem_view_read_u8_fn */
bool guestmem_view_read_u32_fn(const struct guestmem_view *view, uint64_t addr, uint32_t *out);

/** @copydoc guestmem_view_read_u8_fn */
bool guestmem_view_read_u64_fn(const struct guestmem_view *view, uint64_t addr, uint64_t *out);

/**
 * The exported twin of guestmem_view_write_u8().
 *
 * @param view   a view.
 * @param addr   guest address.
 * @param value  the value.
 * @return False if the value is not within one region, or that region is read-only.
 */
bool guestmem_view_write_u8_fn(const struct guestmem_view *view, uint64_t addr, uint8_t value);

/** @copydoc guestmem_view_write_u8_fn */
bool guestmem_view_write_u16_fn(const struct guestmem_view *view, uint64_t addr, uint16_t value);

/** @copydoc guestmem_view_write_u8_fn */
bool guestmem_view_write_u32_fn(const struct guestmem_view *view, uint64_t addr, uint32_t value);

/** @copydoc guestmem_view_write_u8_fn */
bool guestmem_view_write_u64_fn(const struct guestmem_view *view, uint64_t addr, uint64_t value);

/**
 * The exported twin of guestmem_view_load_u8().
 *
 * @param view   a view.
 * @param addr   guest address, a multiple of the value's size.
 * @param order  GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
 * @param out    the value; 0 on failure.
 * @return False if the value is not within one region or not aligned, or order is another.
 */
bool guestmem_view_load_u8_fn(const struct guestmem_view *view,
                              uint64_t addr,
                              uint32_t order,
                              uint8_t *out);

/** @copydoc guestmem_view_load_u8_fn */
bool guestmem_view_load_u16_fn(const struct guestmem_view *view,
                               uint64_t addr,
                               uint32_t order,
                               uint16_t *out);

/** @copydoc guestmem_view_load_u8_fn */
bool guestmem_view_load_u32_fn(const struct guestmem_view *view,
                               uint64_t addr,
                               uint32_t order,
                               uint32_t *out);

/** @copydoc guestmem_view_load_u8_fn */
bool guestmem_view_load_u64_fn(const struct guestmem_view *view,
                               uint64_t addr,
                               uint32_t order,
                               uint64_t *out);

/**
 * The exported twin of guestmem_view_store_u8().
 *
 * @param view   a view.
 * @param addr   guest address, a multiple of the value's size.
 * @param value  the value.
 * @param order  GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
 * @return False if the value is not within one region or not aligned, the region is read-only, or
 *   order is another.
 */
bool guestmem_view_store_u8_fn(const struct guestmem_view *view,
                               uint64_t addr,
                               uint8_t value,
                               uint32_t order);

/** @copydoc guestmem_view_store_u8_fn */
bool guestmem_view_store_u16_fn(const struct guestmem_view *view,
                                uint64_t addr,
                                uint16_t value,
                                uint32_t order);

/** @copydoc guestmem_view_store_u8_fn */
bool guestmem_view_store_u32_fn(const struct guestmem_view *view,
                                uint64_t addr,
                                uint32_t value,
                                uint32_t order);

/** @copydoc guestmem_view_store_u8_fn */
bool guestmem_view_store_u64_fn(const struct guestmem_view *view,
                                uint64_t addr,
                                uint64_t value,
                                uint32_t order);

/**
 * The exported twin of guestmem_slice_load_u8().
 *
 * @param s       a live slice.
 * @param offset  start, in bytes from the slice's start.
 * @param order   GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
 * @param out     the value; 0 on failure.
 * @return False if the value is not within the slice or not aligned, or order is another.
 */
bool guestmem_slice_load_u8_fn(struct guestmem_slice s,
                               size_t offset,
                               uint32_t order,
                               uint8_t *out);

/** @copydoc guestmem_slice_load_u8_fn */
bool guestmem_slice_load_u16_fn(struct guestmem_slice s,
                                size_t offset,
                                uint32_t order,
                                uint16_t *out);

/** @copydoc guestmem_slice_load_u8_fn */
bool guestmem_slice_load_u32_fn(struct guestmem_slice s,
                                size_t offset,
                                uint32_t order,
                                uint32_t *out);

/** @copydoc guestmem_slice_load_u8_fn */
bool guestmem_slice_load_u64_fn(struct guestmem_slice s,
                                size_t offset,
                                uint32_t order,
                                uint64_t *out);

/**
 * The exported twin of guestmem_slice_store_u8().
 *
 * @param s       a live slice that may be written, as from guestmem_get_slice_writable().
 * @param offset  start, in bytes from the slice's start.
 * @param value   the value.
 * @param order   GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
 * @return False if the value is not within the slice or not aligned, or order is another.
 */
bool guestmem_slice_store_u8_fn(struct guestmem_slice s,
                                size_t offset,
                                uint8_t value,
                                uint32_t order);

/** @copydoc guestmem_slice_store_u8_fn */
bool guestmem_slice_store_u16_fn(struct guestmem_slice s,
                                 size_t offset,
                                 uint16_t value,
                                 uint32_t order);

/** @copydoc guestmem_slice_store_u8_fn */
bool guestmem_slice_store_u32_fn(struct guestmem_slice s,
                                 size_t offset,
                                 uint32_t value,
                                 uint32_t order);

/** @copydoc guestmem_slice_store_u8_fn */
bool guestmem_slice_store_u64_fn(struct guestmem_slice s,
                                 size_t offset,
                                 uint64_t value,
                                 uint32_t order);


/*
 * 8 Managing: discarding pages, policies
 */

/** Use transparent huge pages (MADV_HUGEPAGE), if the system's settings honor that advice. */
#define GUESTMEM_POLICY_USE_HUGEPAGES 1

/**
 * Keep pages in memory once they are touched (mlock2(2) with MLOCK_ONFAULT). A forked child does
 * not inherit the lock: it is not in force there until the child asks for it.
 */
#define GUESTMEM_POLICY_LOCK_GUEST_MEMORY 2

/** Let guestmem_remove_range() free locked pages. It always does, with or without this policy. */
#define GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED 4

/**
 * Leave the memory out of forked children (MADV_DONTFORK). A child must not access it, but may
 * release it.
 */
#define GUESTMEM_POLICY_DONTFORK 8

/** Let the kernel merge equal pages (MADV_MERGEABLE). Only for private memory. */
#define GUESTMEM_POLICY_MERGEABLE 16

/**
 * Discards pages of guest memory, as a balloon does. To take a whole region out of the map use
 * guestmem_remove_region().
 *
 * Afterwards the range reads as zeros and its host memory is free, whatever the backing, locked or
 * not. In a file, this punches a hole. Pages of hugetlbfs lose their reservation: touching the
 * range again needs a free huge page.
 *
 * In a copy-on-write region (GUESTMEM_LOAD_MAP, or GUESTMEM_REGION_FD with
 * GUESTMEM_REGION_PRIVATE) each separate part takes one more mapping, of which a process has only
 * vm.max_map_count. All regions together take at most half of those that the rest of the process
 * leaves, for small parts a quarter. Beyond that, the call writes zeros and does not free the
 * memory. Adjacent parts count as one, and removing the whole region always frees all of it.
 *
 * @param mem   the memory.
 * @param addr  first guest address, a multiple of the region's page size.
 * @param size  size in bytes, a multiple of the region's page size, not 0.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_SIZE     size is 0.
 * @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in.
 * @retval GUESTMEM_E_NOT_ALIGNED      addr or size is not a multiple of the page size.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only.
 * @retval GUESTMEM_E_UNSUPPORTED      the kernel offers no way, and nothing has changed. This
 *   concerns files that cannot have holes or are sealed against writing (F_SEAL_WRITE,
 *   F_SEAL_FUTURE_WRITE), and caller's memory that is a private mapping of a file, is shared and
 *   locked but came without its fd, does not map the fd that came with it, or maps several files
 *   of which the kernel does not tell beforehand whether they can have holes.
 * @retval GUESTMEM_E_NO_MEMORY        the kernel lacked memory.
 * @retval GUESTMEM_E_TOO_LARGE        caller's memory: no descriptor was free to inspect it.
 * @retval GUESTMEM_E_OS               a system call failed. In caller's memory of several
 *   mappings, some may have been discarded. Pages under GUESTMEM_POLICY_LOCK_GUEST_MEMORY are no
 *   longer locked if RLIMIT_MEMLOCK was lowered in the meantime.
 */
int guestmem_remove_range(const struct guestmem *mem, uint64_t addr, uint64_t size);

/**
 * Adds policies to those in force; they cannot be removed. Each policy is applied to all regions
 * or to none. A policy that the kernel refuses, or would silently ignore, is rolled back, except
 * in regions where it was in force before, set by anyone; the other policies stay in force.
 * Regions added later get the policies too.
 *
 * @param mem     the memory.
 * @param policy  GUESTMEM_POLICY_* bits; 0 changes nothing.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  an unknown bit is set; nothing has changed.
 * @retval GUESTMEM_E_POLICY            a policy was refused. The error message names it, and
 *   guestmem_memory_policy() tells which policies are in force. os_errno is 0 if the kernel would
 *   have ignored it.
 * @retval GUESTMEM_E_NO_MEMORY         not enough host memory to check a policy; otherwise as
 *   above.
 */
int guestmem_set_memory_policy(struct guestmem *mem, uint64_t policy);

/**
 * Returns the policies in force in this process.
 *
 * @param mem  the memory.
 * @return GUESTMEM_POLICY_* bits.
 */
uint64_t guestmem_memory_policy(const struct guestmem *mem);


/*
 * 9 Changing the map while it is in use
 *
 * Regions may be added and removed while other threads use the memory; no access waits. Lookup
 * tables never change: each change publishes a new table with one pointer store, and old tables
 * live as long as the memory. So each call sees the regions either before or after a change.
 *
 * A removed region stays mapped until you release the reference that guestmem_remove_region()
 * returns. Release it when the hypervisor no longer maps the region and all calls begun before the
 * removal have returned. Until then nothing else can be mapped in its address range.
 * docs/hotplug.md describes the order of steps, and what goes wrong in another order.
 *
 * The old tables of a memory may take up to 1 GiB, enough for more than a million changes of a
 * usual map. Each change takes time and space in proportion to the number of regions. Create
 * memories of thousands of regions with guestmem_from_regions().
 */

/**
 * Adds a region. The policies in force apply to it too.
 *
 * @param mem     the memory.
 * @param region  a region from guestmem_region_new(), which may belong to other memories too. The
 *   memory takes a reference of its own; the caller keeps its own.
 * @retval GUESTMEM_E_BAD_HANDLE  mem is not a valid memory, or region not a valid region.
 * @retval GUESTMEM_E_OVERLAP     it overlaps a region of the memory.
 * @retval GUESTMEM_E_POLICY      a policy in force was refused for the region; the error message
 *   names it. The region keeps only the policies that it had before.
 * @retval GUESTMEM_E_TOO_LARGE   old tables take 1 GiB; the memory is unchanged.
 */
int guestmem_add_region(struct guestmem *mem, struct guestmem_region *region);

/**
 * Removes a whole region from the map; it stays mapped until the caller releases it. To discard
 * pages and keep the region use guestmem_remove_range().
 *
 * @param mem         the memory.
 * @param guest_addr  the region's first guest address.
 * @param removed     the region, with the memory's reference. Release it with
 *   guestmem_region_unref() when the hypervisor and all calls begun before are done with it.
 * @retval GUESTMEM_E_NOT_FOUND  no region starts at guest_addr.
 * @retval GUESTMEM_E_TOO_LARGE  old tables take 1 GiB; the region is still part of the memory.
 * @retval GUESTMEM_E_NO_MEMORY  a host allocation failed; the region is still part of the memory.
 */
int guestmem_remove_region(struct guestmem *mem,
                           uint64_t guest_addr,
                           struct guestmem_region **removed);

/**
 * Returns how many times the memory's regions have changed.
 *
 * @param mem  the memory.
 * @return A number that grows by one with each change; 0 for an invalid handle.
 */
uint64_t guestmem_generation(const struct guestmem *mem);


/*
 * 10 Snapshot and restore
 *
 * A snapshot is data and metadata. The data are the pages of memory that may hold anything but
 * zeros, so a snapshot costs what was touched, not what was configured. In the packed layout (for
 * files, pipes, sockets and callbacks) the data ranges follow one another. The sparse layout (for
 * files) is a raw image of all regions, with holes between the data.
 *
 * The metadata is one JSON object with the regions, the data ranges, and a CRC-32C for each MiB of
 * data:
 *   {"format":"guestmem","version":1,"layout":"packed","compressed":false,"page_size":4096,
 *   "data_size":N,"checksum":"crc32c","chunk_size":1048576,"regions":[{"guest_base":0,"size":65536,
 *   "file_offset":0,"data_ranges":[{"start":61440,"end":65536,"crc":[3735928559]}]}]}
 * Ranges are offsets in their region. file_offset is the offset in the data of the region's first
 * data byte (packed) or first byte (sparse). Bytes in no range are zeros. Later versions may add
 * keys; unknown keys are ignored. docs/image-format.md describes the format in full.
 *
 * For all calls of this section and of section 12 that take a memory:
 *
 * - Stop vCPUs and devices during the call. Memory that changes during a snapshot is damaged in
 *   it, which its checksums reveal.
 * - The calls block as read(2) and write(2) do, raise no signal, and need /proc. Their threads end
 *   before they return.
 * - Several snapshots of a region may run at the same time, but a restore into a region must run
 *   alone. The later call fails with GUESTMEM_E_BUSY, also when a callback of the first makes it,
 *   and also through another memory with the same region. A forked child knows only its own calls.
 * - GUESTMEM_E_NO_MEMORY: a host allocation failed. GUESTMEM_E_TOO_LARGE: a limit of the process
 *   was reached. GUESTMEM_E_OS: a system call failed.
 * - After GUESTMEM_E_IO, os_errno is EFAULT at a page of memory that cannot be read or written.
 */

/** Write no checksums. Damage of the data then goes unnoticed. */
#define GUESTMEM_SNAPSHOT_NO_CHECKSUM 1

/** Also leave out pages that are allocated but hold only zeros. Reads all data once more. */
#define GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES 2

/** Call fdatasync(2), so that the data is on disk when the call returns. */
#define GUESTMEM_SNAPSHOT_SYNC 4

/**
 * Bypass the page cache (O_DIRECT). The file must support it, and the start position must be a
 * multiple of the page size; otherwise GUESTMEM_E_UNSUPPORTED. Short pieces of a sparse file or an
 * image pass through the page cache all the same, because each would take longer by itself; the
 * call waits for them and drops them from the cache.
 */
#define GUESTMEM_SNAPSHOT_DIRECT 8

/** Data ranges one after the other: for files, pipes, sockets and callbacks. */
#define GUESTMEM_LAYOUT_PACKED 0

/** A raw image of all regions, one after the other, with holes: for files. */
#define GUESTMEM_LAYOUT_SPARSE 1

/**
 * The stream continues after the data, for example with device state: stop at the end of the data
 * and do not check what follows.
 */
#define GUESTMEM_RESTORE_MORE_FOLLOWS 1

/**
 * Reports the progress of a call: at least every 64 MiB, and once with done equal to total. done
 * never decreases.
 *
 * @param user   progress_user of the options.
 * @param done   bytes of data processed.
 * @param total  bytes of data in all.
 * @return 0 to continue; anything else fails the call with GUESTMEM_E_CANCELLED.
 */
typedef int (*guestmem_progress_fn)(void *user, uint64_t done, uint64_t total);

/** How to take a snapshot. All zero: packed, with checksums. */
struct guestmem_snapshot_options {
    /** GUESTMEM_SNAPSHOT_* flags. */
    uint64_t flags;
    /** GUESTMEM_LAYOUT_*. */
    uint32_t layout;
    /** Most threads to use, including the calling one; 0: as many as help. */
    uint32_t threads;
    /** May be NULL. */
    guestmem_progress_fn progress;
    /** Passed to progress. */
    void *progress_user;
};

/**
 * Takes len bytes of data.
 *
 * @param user  passed on from the call.
 * @param buf   the bytes; valid until the function returns.
 * @param len   number of bytes, not 0.
 * @return Number of bytes taken, at least 1; or a negative errno, which fails the call with
 *   GUESTMEM_E_IO.
 */
typedef int64_t (*guestmem_write_fn)(void *user, const void *buf, size_t len);

/** How to restore a snapshot. All zero: nothing may follow the data. */
struct guestmem_restore_options {
    /** GUESTMEM_RESTORE_* flags. */
    uint64_t flags;
    /** Most threads to use, including the calling one; 0: as many as help. */
    uint32_t threads;
    /** Must be 0. */
    uint32_t reserved;
    /** May be NULL. First called when guest memory begins to be written. */
    guestmem_progress_fn progress;
    /** Passed to progress. */
    void *progress_user;
};

/**
 * Supplies up to len bytes of data.
 *
 * @param user  passed on from the call.
 * @param buf   receives the bytes; valid until the function returns.
 * @param len   size of buf in bytes, not 0.
 * @return Number of bytes supplied, 0 at the end; or a negative errno, which fails the call with
 *   GUESTMEM_E_IO.
 */
typedef int64_t (*guestmem_read_fn)(void *user, void *buf, size_t len);

/**
 * Writes the data of a memory to a descriptor. The packed layout is written at the file position
 * and advances it. The sparse layout is written at absolute offsets, does not change the position,
 * and sets the file's size to guestmem_memory_size(). Allocates no guest page. After a failure,
 * part of the data may have been written.
 *
 * @param mem           the memory.
 * @param fd            a file, pipe or socket; for the sparse layout, a file not opened with
 *   O_APPEND.
 * @param options       may be NULL: packed, with checksums.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @param metadata      the JSON text, to be freed with guestmem_free().
 * @retval GUESTMEM_E_UNSUPPORTED  fd cannot be synced (_SYNC) or written directly (_DIRECT); or,
 *   with the sparse layout, is not a file or was opened with O_APPEND. Or the library cannot tell
 *   which pages hold data: /proc is missing or belongs to another user (see guestmem_prepare()),
 *   caller's memory has neither an fd nor the privilege to look, or a userfaultfd supplies missing
 *   pages.
 * @retval GUESTMEM_E_TAINTED      an earlier restore into this memory failed half way.
 * @retval GUESTMEM_E_BUSY         a restore into one of its regions is running; or fd is, or may
 *   be, a file that backs the memory. On file systems whose parts number their files separately,
 *   only CAP_CHECKPOINT_RESTORE lets the library tell them apart.
 * @retval GUESTMEM_E_IO           writing failed after `completed` bytes. os_errno is, for
 *   example, EAGAIN when a non-blocking descriptor accepts no more data, EPIPE when a pipe or
 *   socket is closed, EFBIG at a file size limit, or EBADF when fd is not open for writing.
 * @retval GUESTMEM_E_CANCELLED    the progress function asked to stop.
 * @retval GUESTMEM_E_TOO_LARGE    also: the metadata would exceed 64 MiB.
 */
int guestmem_snapshot(const struct guestmem *mem,
                      int fd,
                      const struct guestmem_snapshot_options *options,
                      size_t options_size,
                      char **metadata);

/**
 * Passes the data of a memory to a function, piece by piece, in order. Allocates no guest page.
 *
 * @param mem           the memory.
 * @param write         takes the data. Runs on the calling thread.
 * @param user          passed to write.
 * @param options       may be NULL: packed, with checksums.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @param metadata      the JSON text, to be freed with guestmem_free().
 * @retval GUESTMEM_E_UNSUPPORTED  _SYNC, _DIRECT or the sparse layout was asked for; or the
 *   library cannot tell which pages hold data, as in guestmem_snapshot().
 * @retval GUESTMEM_E_TAINTED      an earlier restore into this memory failed half way.
 * @retval GUESTMEM_E_BUSY         a restore into one of its regions is running.
 * @retval GUESTMEM_E_IO           write failed after `completed` bytes. os_errno is the errno it
 *   returned, or EIO if it returned 0 or more than len.
 * @retval GUESTMEM_E_CANCELLED    the progress function asked to stop.
 * @retval GUESTMEM_E_TOO_LARGE    also: the metadata would exceed 64 MiB.
 */
int guestmem_snapshot_write(const struct guestmem *mem,
                            guestmem_write_fn write,
                            void *user,
                            const struct guestmem_snapshot_options *options,
                            size_t options_size,
                            char **metadata);

/**
 * Restores a snapshot into a memory with the same regions. Packed data is read at the file
 * position and advances it. Sparse data is read at absolute offsets. Bytes that the snapshot does
 * not cover read as zeros afterwards; their host memory is freed if the backing allows it.
 * Read-only regions are not written: they must already hold what the snapshot holds for them.
 *
 * Before the first write, the call checks metadata and regions and, if fd is a file, its length,
 * checksums and read-only regions. If memory holds nothing yet, the call may write first and
 * empties it again when a check fails. A failure of these checks leaves memory unchanged. In a
 * stream, each MiB is checked before it is copied or compared.
 *
 * A failure after the first write leaves memory tainted: snapshots of it fail until a restore
 * succeeds. The taint belongs to the regions, in whatever memory they are.
 *
 * @param mem           the memory.
 * @param metadata      the JSON text of the snapshot. It need not be trusted.
 * @param metadata_len  length of metadata in bytes, without a final NUL.
 * @param fd            a file, pipe or socket to read; for the sparse layout, a file.
 * @param options       may be NULL: nothing may follow the data.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @retval GUESTMEM_E_METADATA        the metadata is empty, malformed, inconsistent or longer than
 *   64 MiB.
 * @retval GUESTMEM_E_UNSUPPORTED     the format, version, layout or kind of checksum is unknown;
 *   sparse data is not read from a file; or a userfaultfd supplies missing pages of the memory.
 * @retval GUESTMEM_E_MISMATCH        the snapshot has other regions, or a read-only region has
 *   other content. Memory is unchanged, unless data for other regions came earlier in a stream.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT  the data ends too early.
 * @retval GUESTMEM_E_SNAPSHOT_LONG   the data continues past its end.
 * @retval GUESTMEM_E_CORRUPT         a checksum does not match.
 * @retval GUESTMEM_E_IO              reading failed after `completed` bytes; os_errno tells why.
 * @retval GUESTMEM_E_CANCELLED       the progress function asked to stop; memory is tainted.
 * @retval GUESTMEM_E_BUSY            another restore into one of its regions, or a snapshot of
 *   one, is running.
 */
int guestmem_restore(const struct guestmem *mem,
                     const char *metadata,
                     size_t metadata_len,
                     int fd,
                     const struct guestmem_restore_options *options,
                     size_t options_size);

/**
 * Restores a snapshot as guestmem_restore() does, from a function that supplies the data as a
 * stream.
 *
 * @param mem           the memory.
 * @param metadata      the JSON text of the snapshot. It need not be trusted.
 * @param metadata_len  length of metadata in bytes, without a final NUL.
 * @param read          supplies the data. Runs on the calling thread.
 * @param user          passed to read.
 * @param options       may be NULL: nothing may follow the data.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @retval GUESTMEM_E_METADATA        this and the next two: as guestmem_restore().
 * @retval GUESTMEM_E_UNSUPPORTED     the snapshot or the memory is not supported.
 * @retval GUESTMEM_E_MISMATCH        the snapshot has other regions, or a read-only region has
 *   other content.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT  the data ends too early.
 * @retval GUESTMEM_E_SNAPSHOT_LONG   the data continues past its end; memory is tainted unless
 *   there was no data.
 * @retval GUESTMEM_E_CORRUPT         a checksum does not match.
 * @retval GUESTMEM_E_IO              read failed after `completed` bytes. os_errno is the errno it
 *   returned, or EIO if it returned more than len.
 * @retval GUESTMEM_E_CANCELLED       the progress function asked to stop; memory is tainted.
 * @retval GUESTMEM_E_BUSY            another restore into one of its regions, or a snapshot of
 *   one, is running.
 */
int guestmem_restore_read(const struct guestmem *mem,
                          const char *metadata,
                          size_t metadata_len,
                          guestmem_read_fn read,
                          void *user,
                          const struct guestmem_restore_options *options,
                          size_t options_size);


/*
 * 12 Images
 *
 * An image is a snapshot in one file: the data in the sparse layout, then the metadata, then a
 * trailer that locates and protects the metadata. Saving replaces the file as a whole or not at
 * all. Loading creates a new memory from it, either by reading it or by mapping it copy-on-write.
 * Mapping is immediate, whatever the size, and all machines mapped from one image share its pages
 * until they write to them.
 *
 * An image need not be trusted: damaged or inconsistent images are refused. While an image is
 * mapped, nobody may shorten or change its file. guestmem_save() never does; it creates a new
 * file.
 */

/**
 * Map the image copy-on-write instead of reading it: ready at once, whatever its size. An image
 * that cannot be mapped is an error; it is never read instead.
 *
 * On file systems where reading a hole through a mapping makes the file larger, and raises SIGBUS
 * when it cannot grow (tmpfs, memfds, and overlayfs, which may lie on one), only data is mapped.
 * Each run of data then takes a mapping. If there are more runs than the mappings that
 * guestmem_remove_range() may take, the shortest are copied.
 */
#define GUESTMEM_LOAD_MAP 1

/**
 * With GUESTMEM_LOAD_MAP: first check all checksums, and that the parts without data hold only
 * zeros.
 */
#define GUESTMEM_LOAD_VERIFY 2

/** How to load an image. All zero: it is read, and its checksums are checked. */
struct guestmem_load_options {
    /** GUESTMEM_LOAD_* flags. */
    uint64_t flags;
    /** Most threads to use, including the calling one; 0: as many as help. */
    uint32_t threads;
    /** Must be 0. */
    uint32_t reserved;
    /**
     * May be NULL. With GUESTMEM_LOAD_MAP alone it is called once, with done equal to total,
     * because mapping moves no data.
     */
    guestmem_progress_fn progress;
    /** Passed to progress. */
    void *progress_user;
};

/**
 * Saves a memory to an image file. The call writes a temporary file beside path (mode 0600), syncs
 * it, renames it to path, and syncs the folder. So path holds either the old image or the new one,
 * complete, even after a crash. A symbolic link at path is replaced, not followed.
 *
 * After a failure the temporary file is gone and path is what it was. One exception: where a file
 * cannot have a second name, path may already be the new image when the last sync fails. A process
 * that is killed may leave a file .guestmem-* in the folder; delete it.
 *
 * @param mem           the memory.
 * @param path          the image to write. May be the image that this memory is mapped from.
 * @param options       may be NULL: with checksums. Both layouts mean an image file, and
 *   GUESTMEM_SNAPSHOT_SYNC is implied.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @retval GUESTMEM_E_UNSUPPORTED  path is a device, pipe or socket; otherwise as
 *   guestmem_snapshot().
 * @retval GUESTMEM_E_TAINTED      an earlier restore into this memory failed half way.
 * @retval GUESTMEM_E_BUSY         path is, or may be, a file that this memory maps shared, as in
 *   guestmem_snapshot(); or a restore into one of its regions is running.
 * @retval GUESTMEM_E_IO           writing or syncing failed; os_errno tells why.
 * @retval GUESTMEM_E_CANCELLED    the progress function asked to stop.
 * @retval GUESTMEM_E_TOO_LARGE    also: the metadata would exceed 64 MiB.
 * @retval GUESTMEM_E_OS           another system call failed: the folder does not exist, or path
 *   is a folder, for example.
 */
int guestmem_save(const struct guestmem *mem,
                  const char *path,
                  const struct guestmem_snapshot_options *options,
                  size_t options_size);

/**
 * Restores an image file into a memory with the same regions, as guestmem_restore() does.
 *
 * @param mem           the memory.
 * @param path          the image.
 * @param options       may be NULL.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @retval GUESTMEM_E_METADATA        path is not an image, or a damaged one.
 * @retval GUESTMEM_E_UNSUPPORTED     as guestmem_restore().
 * @retval GUESTMEM_E_MISMATCH        the image has other regions, or a read-only region has other
 *   content; memory is unchanged.
 * @retval GUESTMEM_E_CORRUPT         a checksum does not match.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT  the file was shortened while it was read.
 * @retval GUESTMEM_E_IO              reading failed after `completed` bytes; os_errno tells why.
 * @retval GUESTMEM_E_CANCELLED       the progress function asked to stop; memory is tainted.
 * @retval GUESTMEM_E_BUSY            another restore into one of its regions, or a snapshot of
 *   one, is running.
 * @retval GUESTMEM_E_OS              another system call failed: the file does not exist, for
 *   example.
 */
int guestmem_restore_file(const struct guestmem *mem,
                          const char *path,
                          const struct guestmem_restore_options *options,
                          size_t options_size);

/**
 * Creates a memory from an image file, with the regions of the memory that was saved: as plain
 * RAM, or with GUESTMEM_LOAD_MAP as copy-on-write mappings of the file.
 *
 * @param path          the image. With GUESTMEM_LOAD_MAP nobody may shorten or change the file
 *   while the memory lives; other files may take its name.
 * @param options       may be NULL: read, with all checks.
 * @param options_size  sizeof *options, or 0 if options is NULL.
 * @param out           the memory, with one reference to release with guestmem_unref().
 * @retval GUESTMEM_E_METADATA        path is not an image, or a damaged one.
 * @retval GUESTMEM_E_UNSUPPORTED     the version or the kind of checksum is unknown; or
 *   GUESTMEM_LOAD_VERIFY was asked for and the image has no checksums.
 * @retval GUESTMEM_E_CORRUPT         a checksum does not match. With _MAP and _VERIFY also: there
 *   is data where a hole should be.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT  the file was shortened while it was read.
 * @retval GUESTMEM_E_BACKING         with _MAP: the file system does not support mappings.
 * @retval GUESTMEM_E_IO              reading failed after `completed` bytes; os_errno tells why.
 * @retval GUESTMEM_E_CANCELLED       the progress function asked to stop.
 * @retval GUESTMEM_E_NO_MEMORY       also: the regions do not fit into the address space.
 * @retval GUESTMEM_E_TOO_LARGE       a limit of the process was reached.
 * @retval GUESTMEM_E_OS              another system call failed: the file does not exist, for
 *   example.
 */
int guestmem_load(const char *path,
                  const struct guestmem_load_options *options,
                  size_t options_size,
                  struct guestmem **out);

/**
 * Returns the metadata of an image file. Checks its checksum, and everything else that can be
 * checked without reading the data.
 *
 * @param path      the image.
 * @param metadata  the JSON text, to be freed with guestmem_free().
 * @retval GUESTMEM_E_METADATA     path is not an image, or a damaged one.
 * @retval GUESTMEM_E_UNSUPPORTED  the version or the kind of checksum is unknown.
 * @retval GUESTMEM_E_IO           reading failed; os_errno tells why.
 * @retval GUESTMEM_E_TOO_LARGE    a limit of the process was reached.
 * @retval GUESTMEM_E_OS           another system call failed: the file does not exist, for
 *   example.
 */
int guestmem_image_metadata(const char *path, char **metadata);

/**
 * Opens the files of /proc and /dev that later calls need, and keeps them open. For programs that
 * confine themselves (chroot(2), pivot_root(2)) or change their user without exec(3), after which
 * /proc/self/pagemap belongs to root. Snapshots, images, guestmem_remove_range() and
 * guestmem_describe() then continue to work.
 *
 * Keeps at most four descriptors open for the life of the process; none is a folder. A second call
 * reopens what is missing, for example after closefrom(3). A forked child must call it for itself.
 * The first snapshot, restore or save keeps the page tables open too.
 *
 * @retval GUESTMEM_OK             everything available is open.
 * @retval GUESTMEM_E_UNSUPPORTED  there is no /proc, or it already belongs to another user.
 * @retval GUESTMEM_E_TOO_LARGE    no more descriptors are available to the process or the system.
 * @retval GUESTMEM_E_OS           another system call failed.
 */
int guestmem_prepare(void);

#ifdef __cplusplus
}
#pragma GCC diagnostic pop
#endif

#include "guestmem_inline.h"

#endif /* GUESTMEM_H */
