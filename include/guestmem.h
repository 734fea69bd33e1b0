/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * libguestmem: a guest's memory for C and C++ programs.
 *
 * For virtual machine monitors, vhost-user back ends, emulators, device plugins and sandbox
 * runtimes: it maps the regions of a guest's memory, turns guest addresses into host pointers with
 * every bound checked, moves bytes and values without tearing them, and saves and brings back
 * what memory holds.
 *
 * Terms
 *   guest address  an address as the guest sees it, a uint64_t.
 *   region         a range of guest addresses with host memory behind it; page-aligned, not empty.
 *   guest memory   a set of regions that do not overlap. Between them are holes.
 *   host address   a pointer in this process; each region is one mapping between guard pages.
 *   slice          host address and length of bytes in one region, laid out as struct iovec.
 *   backing        what a region's bytes live in: a memfd of the library, a file, memory of yours.
 *
 * Calling convention
 *   A call that can fail returns int: GUESTMEM_OK (0) or a negative GUESTMEM_E_*. Results come
 *   through out pointers, which are required unless their description says "may be NULL". After a
 *   failure every pointer, number, bool and single slice output is NULL or 0, a file descriptor
 *   output is -1; data buffers, slice arrays and info structs are left as they were. Of several
 *   things wrong the first in this order is reported: handle, pointers, flags and enums, address,
 *   range, alignment, read-only. guestmem_last_error_message() says it in words. errno is left as
 *   it was, nothing is printed, no signal is raised and no handler installed.
 *   A struct travels as pointer and size: pass sizeof. A shorter (older) struct is padded with
 *   zeros; what a longer (newer) one has beyond the library's must be zero, and is zeroed where
 *   the library fills it. All-zero options are always a sensible default. Unknown flag bits and
 *   enum values are refused.
 *
 * Ownership
 *   guestmem_new(), guestmem_new_with_options(), guestmem_from_regions() and guestmem_ref() give
 *   a reference that guestmem_unref() takes; guestmem_region_new() and guestmem_region_ref() one
 *   that guestmem_region_unref() takes. Text that a call allocates goes to guestmem_free().
 *   File descriptors that you pass in stay yours, those that you get are borrowed: valid while
 *   their region lives, not to be closed. All descriptors are close-on-exec. Those that
 *   guestmem_prepare() or the first look at page tables opens stay open as long as the process.
 *
 * Misuse
 *   A handle whose last reference is gone, one of the other kind, NULL, or a pointer to other
 *   readable memory gives GUESTMEM_E_BAD_HANDLE where a call gives a code. Giving back what such a
 *   pointer does not have does nothing, nor does one reference more than the program was given,
 *   also while memories hold the region. The library cannot tell whose reference is given back,
 *   nor a released handle when 64 more of its kind have been made since, nor one that another
 *   thread releases meanwhile, nor a copy of a handle's bytes. A pointer that cannot be read faults.
 *
 * Threads
 *   Every function may be called from any thread at any time on the same handle, except the last
 *   guestmem_unref(). No access waits for another. No thread outlives a call. No call is a
 *   cancellation point. The functions that you pass in run on the calling thread and must return:
 *   no exception and no longjmp may leave them.
 *
 * Children
 *   A forked child has the handles. Shared memory (memfds, shared files) it has in common with its
 *   parent, private and copy-on-write memory to itself, as it was at the fork. What it releases
 *   stays its parent's. If no other thread was in the library at the fork it may call everything;
 *   otherwise it may only access, translate, transfer, ask (not guestmem_describe()) and take or
 *   give back references that are not the last. Of memory under GUESTMEM_POLICY_DONTFORK it may ask,
 *   and release it, no more: other things may come to lie at its addresses. Locks are not inherited:
 *   memory under GUESTMEM_POLICY_LOCK_GUEST_MEMORY is locked in the process that asked for it, and
 *   removing a range of a private file takes the right to lock in the others too.
 *
 * Zero length
 *   Moving 0 bytes succeeds and does nothing when the address is in a region or one past its end.
 *   What hands out a pointer, and guestmem_remove_range(), refuses 0: GUESTMEM_E_INVALID_SIZE.
 *
 * Two levels of access, never mixed
 *   Region-level calls stay inside the one region that holds the address. DMA-level calls
 *   (guestmem_dma_*, guestmem_get_slices(), guestmem_translate() and their like, and the fd
 *   transfers) see memory as the guest's devices do: a range may run on through regions that
 *   touch. A hole, or for writes a read-only region, anywhere in it fails the whole call before
 *   anything moves.
 *
 * Pointers to write through
 *   A guest may name its ROM as the buffer that a device is to fill; writing there through a host
 *   pointer ends the process. Calls that hand out pointers to be read know nothing of that; those
 *   with "writable" in their name, and guestmem_translate_for() with GUESTMEM_ACCESS_WRITE, refuse
 *   read-only regions with GUESTMEM_E_READ_ONLY.
 *
 * Guest memory changes under the reader: each value is fetched once, and an aligned access of 1, 2,
 * 4 or 8 bytes is never torn, in bulk copies either. Host pointers that you keep are yours to
 * use with the same care.
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
 *   uint16_t head;                      // a ring in guest memory, its address from the guest
 *   int code = guestmem_load_u16(mem, ring + 2, GUESTMEM_ACQUIRE, &head);
 *   if (code == GUESTMEM_OK)
 *       code = guestmem_dma_read(mem, desc_addr, packet, desc_len);
 *   if (code != GUESTMEM_OK)            // the guest gave an address that it does not have
 *       fprintf(stderr, "%s\n", guestmem_strerror(code));
 *   guestmem_unref(mem);
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

/** Major version of the header; changes when the ABI does. */
#define GUESTMEM_VERSION_MAJOR 0

/** Minor version of the header; changes when calls are added. */
#define GUESTMEM_VERSION_MINOR 1

/** Patch version of the header. */
#define GUESTMEM_VERSION_PATCH 0

/**
 * Gives the version of the library that is loaded, which may be newer than the header that the
 * program was compiled with. Any thread.
 *
 * @return MAJOR<<16 | MINOR<<8 | PATCH.
 */
uint32_t guestmem_version(void);

/**
 * Gives the version of the library that is loaded as text. Any thread.
 *
 * @return Static text such as "1.2.3", never NULL.
 */
const char *guestmem_version_string(void);


/*
 * 2 Errors
 *
 * Codes are frozen: new ones are appended. The detail of a failure is kept per thread until the
 * thread's next failure.
 */

/** Success. */
#define GUESTMEM_OK 0

/**
 * NULL where not allowed, an unknown flag, a struct size that cannot be, an enum value out of
 * range.
 */
#define GUESTMEM_E_INVALID_ARGUMENT -1

/** The handle is NULL, foreign or already released. */
#define GUESTMEM_E_BAD_HANDLE -2

/** A host allocation failed, or the pool of huge pages is too small. */
#define GUESTMEM_E_NO_MEMORY -3

/** The address is in no region. */
#define GUESTMEM_E_INVALID_ADDRESS -4

/** The range starts in a region but does not end in it (DMA-level: meets a hole), or wraps. */
#define GUESTMEM_E_INVALID_RANGE -5

/** Zero where zero is refused. */
#define GUESTMEM_E_INVALID_SIZE -6

/**
 * A region's address, size or fd offset, or a range to remove, is not page-aligned; an alignment
 * is not a power of two.
 */
#define GUESTMEM_E_NOT_ALIGNED -7

/** A volatile or atomic access is not naturally aligned. */
#define GUESTMEM_E_MISALIGNED -8

/** Two regions share addresses. */
#define GUESTMEM_E_OVERLAP -9

/** Ranges are not in ascending order. */
#define GUESTMEM_E_UNSORTED -10

/**
 * A region would end at or past 2^64, an array is too small for the answer, or a limit of the
 * library or the process was met.
 */
#define GUESTMEM_E_TOO_LARGE -11

/** A write to a read-only region, or a writable mapping of a read-only fd. */
#define GUESTMEM_E_READ_ONLY -12

/** Not enough room in the region for the whole read, or the end of the file came first. */
#define GUESTMEM_E_SHORT_READ -13

/** Not enough room in the region for the whole write. */
#define GUESTMEM_E_SHORT_WRITE -14

/** The fd cannot back a region: too short, of the wrong kind, closed. */
#define GUESTMEM_E_BACKING -15

/** A system call failed; the error info has its errno. */
#define GUESTMEM_E_OS -16

/** A read or write of a file or callback failed; the error info has its errno. */
#define GUESTMEM_E_IO -17

/** The kernel refused a memory policy, or would silently ignore it. */
#define GUESTMEM_E_POLICY -18

/** Snapshot metadata is malformed, inconsistent or over a limit; memory is untouched. */
#define GUESTMEM_E_METADATA -19

/** Snapshot metadata is well formed, but for other regions; memory is untouched. */
#define GUESTMEM_E_MISMATCH -20

/** Snapshot data ends too early. */
#define GUESTMEM_E_SNAPSHOT_SHORT -21

/** Snapshot data goes on after its end. */
#define GUESTMEM_E_SNAPSHOT_LONG -22

/** A checksum does not match. */
#define GUESTMEM_E_CORRUPT -23

/** A restore failed after it began to write; only a whole restore clears this. */
#define GUESTMEM_E_TAINTED -24

/** A progress callback asked to stop. */
#define GUESTMEM_E_CANCELLED -25

/** The host mapping faulted. Reserved: not given by this version. */
#define GUESTMEM_E_FAULT -26

/** No region has that index, or starts there. */
#define GUESTMEM_E_NOT_FOUND -27

/** This kernel, backing or build cannot do it. */
#define GUESTMEM_E_UNSUPPORTED -28

/** The object is in use in a way that forbids it. */
#define GUESTMEM_E_BUSY -29

/** A bug in the library. */
#define GUESTMEM_E_INTERNAL -99

/** The detail of a failure. */
struct guestmem_error_info {
    /** What the call returned. */
    int32_t code;
    /** The errno behind it; 0 where no system call was involved. */
    int32_t os_errno;
    /** The guest address that the call was about, as given; 0 if about none. */
    uint64_t guest_addr;
    /** The length in bytes that the call was about, as given; 0 if about none. */
    uint64_t size;
    /** Bytes that had been moved before the failure. */
    uint64_t completed;
};

/**
 * Says in a few words what a code means. Any thread.
 *
 * @param code  what a call returned.
 * @return Static text, never NULL, also for codes that this version does not know.
 */
const char *guestmem_strerror(int code);

/**
 * Gives the name of a code. Any thread.
 *
 * @param code  what a call returned.
 * @return Static text such as "GUESTMEM_E_OVERLAP", never NULL, also for codes that this version
 *   does not know.
 */
const char *guestmem_error_name(int code);

/**
 * Gives the errno that is nearest to a code, for programs whose own functions return errnos. Any
 * thread.
 *
 * @param code  what a call returned.
 * @return 0 for GUESTMEM_OK, otherwise a positive errno; EIO for codes that this version does not
 *   know.
 */
int guestmem_errno(int code);

/**
 * Gives the detail of the calling thread's last failed call. It stays until the thread's next
 * failure; calls that succeed leave it. Before the first failure everything is 0.
 *
 * @param info       where to put the detail.
 * @param info_size  sizeof *info, in bytes.
 * @retval GUESTMEM_OK                  the detail is in *info.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  info is NULL or info_size 0; the thread's detail stays.
 */
int guestmem_last_error(struct guestmem_error_info *info, size_t info_size);

/**
 * Says in words what the calling thread's last failure was, such as "invalid guest range
 * 0x1fff8+0x10: ...", with address and size in hexadecimal. Follows the rules of snprintf(3).
 *
 * @param buf  where to put the text and its final NUL; may be NULL when cap is 0.
 * @param cap  bytes that buf has; what does not fit is cut.
 * @return Bytes of the whole text without the NUL; 0 before the thread's first failure.
 */
size_t guestmem_last_error_message(char *buf, size_t cap);


/*
 * 3 Creating regions
 *
 * A region is reference-counted by itself and may be in several memories at once.
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
 * Back the region with fd at fd_offset: a regular file, memfd or POSIX shared memory, mapped
 * shared.
 */
#define GUESTMEM_REGION_FD 1

/**
 * Use the memory that the caller mapped at host_addr and will unmap itself, after the region's
 * last reference is gone. With GUESTMEM_REGION_FD, fd and fd_offset tell which file it maps; with
 * GUESTMEM_REGION_PRIVATE, that it maps it copy-on-write.
 */
#define GUESTMEM_REGION_HOST 2

/** Never written through this library, which maps it for reading only. */
#define GUESTMEM_REGION_READ_ONLY 4

/**
 * With GUESTMEM_REGION_FD: map the file copy-on-write; of one of huge pages, as many more are reserved
 * as the region has, unless it is read-only. Alone: private memory without a file.
 */
#define GUESTMEM_REGION_PRIVATE 8

/**
 * Huge pages of hugetlbfs, reserved at creation so that no access can fail for want of one. Where the
 * process's cgroup may limit their number they are taken then, as with GUESTMEM_REGION_POPULATE. Pages of
 * files that come with GUESTMEM_REGION_FD are the file's affair: their mapping reserves, and takes none.
 */
#define GUESTMEM_REGION_HUGETLB 16

/** Fault everything in now, on several threads; where that fails so does the creation. */
#define GUESTMEM_REGION_POPULATE 32

/** A region of guest memory, reference-counted. */
struct guestmem_region;

/**
 * How a region is to be made. All zero but guest_addr and size is a region of RAM in the
 * library's own shared memory.
 */
struct guestmem_region_options {
    /** First guest address, a multiple of the page size. */
    uint64_t guest_addr;
    /** Bytes, a multiple of the page size, not 0. */
    uint64_t size;
    /**
     * Alignment of the host address, a power of two. 0: for regions of at least 2 MiB host and
     * guest address agree modulo 2 MiB (with huge pages modulo their size), so that hypervisor
     * and kernel can use huge mappings.
     */
    uint64_t align;
    /** GUESTMEM_REGION_* flags. */
    uint64_t flags;
    /**
     * With GUESTMEM_REGION_FD: where in the file the region starts, a multiple of the page size.
     */
    uint64_t fd_offset;
    /** With GUESTMEM_REGION_HOST: the memory to use, page-aligned. */
    void *host_addr;
    /** With GUESTMEM_REGION_FD: the file, which is duplicated; the caller's stays the caller's. */
    int32_t fd;
    /** GUESTMEM_PURPOSE_*: what the guest is told about it. Only passed on. */
    uint32_t purpose;
    /**
     * With GUESTMEM_REGION_HUGETLB: size of a page as a power of two, 21 or 30; 0: the system's
     * default.
     */
    uint32_t hugetlb_log2;
    /** 0. */
    uint32_t reserved;
};

/**
 * Makes a region by itself, to be put into memories with guestmem_from_regions(). One without a
 * backing of its own gets a memfd named "guestmem", sealed against shrinking, growing and further
 * sealing. The mapping lies between inaccessible guard pages, is left out of core dumps
 * (MADV_DONTDUMP) and reads as zeros until written, unless it is a file's or the caller's. Any
 * thread.
 *
 * @param options      how to make it.
 * @param option_size  sizeof *options, in bytes.
 * @param out          the region, with one reference that goes to guestmem_region_unref().
 * @retval GUESTMEM_OK                  *out is the region.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer, an option_size that cannot be, unknown
 *   flags or purpose, flags that do not go together, host_addr NULL or wrapping, fd_offset beyond
 *   2^63-1, a hugetlb_log2 that no huge page has.
 * @retval GUESTMEM_E_INVALID_SIZE      size is 0.
 * @retval GUESTMEM_E_TOO_LARGE         the region would end at or past 2^64, be longer than a file
 *   can or may be, or need a descriptor more than the process may have.
 * @retval GUESTMEM_E_NOT_ALIGNED       address, size or fd_offset is not a multiple of the page
 *   size, align is not a power of two, or host_addr not a multiple of it.
 * @retval GUESTMEM_E_BACKING           fd is closed, not a regular file or memfd, write-only, too
 *   short, or cannot be mapped like this.
 * @retval GUESTMEM_E_READ_ONLY         fd is open to read only and the region is not.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory or addresses, or not enough free huge pages.
 * @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_region_new(const struct guestmem_region_options *options,
                        size_t option_size,
                        struct guestmem_region **out);

/**
 * Takes a further reference to a region. Any thread.
 *
 * @param region  a region.
 * @return The same region; NULL, with the thread's last error set to GUESTMEM_E_BAD_HANDLE, when
 *   it is NULL or no live region.
 */
struct guestmem_region *guestmem_region_ref(struct guestmem_region *region);

/**
 * Gives a reference to a region back. The last one, in memories too, unmaps it. Any thread.
 *
 * @param region  a region; NULL does nothing.
 */
void guestmem_region_unref(struct guestmem_region *region);


/*
 * 3 Creating guest memory
 *
 * All regions without a backing of their own share ONE memfd, named "guestmem", laid out in order,
 * without gaps, sealed against shrinking, growing and further sealing; huge pages have one memfd
 * for each page size. Mappings sit between inaccessible guard pages, are left out of core dumps
 * and read as zeros until written.
 */

/** A guest's memory, reference-counted. */
struct guestmem;

/** Guest addresses and a length. */
struct guestmem_range {
    /** First guest address. */
    uint64_t guest_addr;
    /** Bytes. */
    uint64_t size;
};

/**
 * Creates guest memory of plain RAM. Any thread.
 *
 * @param ranges  its regions in ascending order, page-aligned, not empty, not overlapping; they
 *   may touch. May be NULL when count is 0.
 * @param count   number of ranges; 0 makes an empty memory.
 * @param out     the memory, with one reference that goes to guestmem_unref().
 * @retval GUESTMEM_OK                  *out is the memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_INVALID_SIZE      a size is 0.
 * @retval GUESTMEM_E_TOO_LARGE         a region would end at or past 2^64, or a limit of the host
 *   or process was met.
 * @retval GUESTMEM_E_UNSORTED          a range starts below the one before.
 * @retval GUESTMEM_E_OVERLAP           two ranges share addresses.
 * @retval GUESTMEM_E_NOT_ALIGNED       an address or size is not a multiple of the page size.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory or addresses.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_new(const struct guestmem_range *ranges, size_t count, struct guestmem **out);

/**
 * Creates guest memory with options for each region. Any thread.
 *
 * @param options      one for each region, in ascending order of guest_addr, not overlapping. May
 *   be NULL when count is 0.
 * @param count        number of options; 0 makes an empty memory.
 * @param option_size  sizeof options[0], in bytes: the distance between them.
 * @param out          the memory, with one reference that goes to guestmem_unref().
 * @retval GUESTMEM_OK                  *out is the memory.
 * @retval GUESTMEM_E_UNSORTED          a region starts below the one before.
 * @retval GUESTMEM_E_OVERLAP           two regions share addresses.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  as guestmem_region_new(), and so are all below.
 * @retval GUESTMEM_E_INVALID_SIZE      size is 0.
 * @retval GUESTMEM_E_TOO_LARGE         past 2^64 or a limit.
 * @retval GUESTMEM_E_NOT_ALIGNED       not page-aligned, or align not a power of two.
 * @retval GUESTMEM_E_BACKING           the fd cannot back the region.
 * @retval GUESTMEM_E_READ_ONLY         the fd is open to read only and the region is not.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory, or not enough free huge pages.
 * @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_new_with_options(const struct guestmem_region_options *options,
                              size_t count,
                              size_t option_size,
                              struct guestmem **out);

/**
 * Creates guest memory of regions made by guestmem_region_new(), which may be in other memories
 * too. Any thread.
 *
 * @param regions  the regions in any order, not overlapping. The memory takes references of its
 *   own; the caller keeps its own. May be NULL when count is 0.
 * @param count    number of regions; 0 makes an empty memory.
 * @param out      the memory, with one reference that goes to guestmem_unref().
 * @retval GUESTMEM_OK                  *out is the memory.
 * @retval GUESTMEM_E_BAD_HANDLE        one of the regions is NULL or no live region.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_OVERLAP           two regions share addresses.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory.
 * @retval GUESTMEM_E_TOO_LARGE         count is larger than memory.
 */
int guestmem_from_regions(struct guestmem_region *const *regions,
                          size_t count,
                          struct guestmem **out);

/**
 * Takes a further reference to a memory. Any thread.
 *
 * @param mem  a memory.
 * @return The same memory; NULL, with the thread's last error set to GUESTMEM_E_BAD_HANDLE, when
 *   it is NULL or no live memory.
 */
struct guestmem *guestmem_ref(struct guestmem *mem);

/**
 * Gives a reference to a memory back. The last one unmaps every region that nothing else refers
 * to; no other call may be using the memory then. Any thread.
 *
 * @param mem  a memory; NULL does nothing.
 */
void guestmem_unref(struct guestmem *mem);


/*
 * 4 Asking about it
 */

/** What a region is. Enough to give it to a hypervisor or to another process. */
struct guestmem_region_info {
    /** First guest address. */
    uint64_t guest_addr;
    /** Bytes. */
    uint64_t size;
    /**
     * Host address of the first byte; valid while the region lives. Not to be written through where
     * flags has GUESTMEM_REGION_READ_ONLY.
     */
    void *host_addr;
    /** GUESTMEM_REGION_* flags as it was made. */
    uint64_t flags;
    /** Where the region starts in the file behind it. */
    uint64_t fd_offset;
    /** The file behind it, borrowed: valid while the region lives. -1 if there is none. */
    int32_t fd;
    /** GUESTMEM_PURPOSE_*. */
    uint32_t purpose;
    /** Size of its pages in bytes; for memory of the caller without a file the system's. */
    uint64_t page_size;
};

/**
 * Gives the end of the highest region. Any thread.
 *
 * @param mem  a memory.
 * @return The first guest address past it; 0 for an empty memory and for a bad handle.
 */
uint64_t guestmem_end_addr(const struct guestmem *mem);

/**
 * Gives the size of all regions together. Any thread.
 *
 * @param mem  a memory.
 * @return Bytes; 0 for an empty memory and for a bad handle.
 */
uint64_t guestmem_memory_size(const struct guestmem *mem);

/**
 * Gives the number of regions. Any thread.
 *
 * @param mem  a memory.
 * @return The number; 0 for a bad handle.
 */
size_t guestmem_num_regions(const struct guestmem *mem);

/**
 * Describes a region. Any thread.
 *
 * @param mem        a memory.
 * @param index      which region, in ascending order of guest addresses from 0 on.
 * @param info       where to put the description; left as it is on failure.
 * @param info_size  sizeof *info, in bytes.
 * @retval GUESTMEM_OK                  the description is in *info.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  info is NULL or info_size 0.
 * @retval GUESTMEM_E_NOT_FOUND         there are not that many regions.
 */
int guestmem_region_info(const struct guestmem *mem,
                         size_t index,
                         struct guestmem_region_info *info,
                         size_t info_size);

/**
 * Finds the region that holds an address. Any thread.
 *
 * @param mem        a memory.
 * @param addr       guest address.
 * @param info       where to put the region's description; left as it is on failure. May be NULL.
 * @param info_size  sizeof *info, in bytes; does not matter when info is NULL.
 * @param offset     the distance in bytes of addr from the region's start. May be NULL.
 * @retval GUESTMEM_OK                  the outputs are set.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  info with info_size 0.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 */
int guestmem_find_region(const struct guestmem *mem,
                         uint64_t addr,
                         struct guestmem_region_info *info,
                         size_t info_size,
                         uint64_t *offset);

/**
 * Tells whether an address is in a region. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address.
 * @return True if it is; false also for a bad handle.
 */
bool guestmem_address_in_range(const struct guestmem *mem, uint64_t addr);

/**
 * Tells whether start <= a < end holds for the address a of any region's byte. Any thread.
 *
 * @param mem    a memory.
 * @param start  first guest address of the range.
 * @param end    first guest address past it.
 * @return True if so; false when start >= end, and for a bad handle.
 */
bool guestmem_range_overlap(const struct guestmem *mem, uint64_t start, uint64_t end);

/**
 * Adds to an address, if the sum lies in a region. addr itself, and what lies between, need not;
 * see guestmem_is_valid_range() for that. Any thread.
 *
 * @param mem     a memory.
 * @param addr    guest address.
 * @param offset  bytes to add.
 * @param out     addr + offset.
 * @retval GUESTMEM_OK                  *out is the sum.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_RANGE     the sum wraps at 2^64.
 * @retval GUESTMEM_E_INVALID_ADDRESS   the sum is in no region.
 */
int guestmem_checked_offset(const struct guestmem *mem,
                            uint64_t addr,
                            uint64_t offset,
                            uint64_t *out);

/**
 * Tells whether a range lies within ONE region. Any thread.
 *
 * @param mem     a memory.
 * @param start   first guest address.
 * @param length  bytes.
 * @return True if so; false when length is 0 or the range wraps, and for a bad handle.
 */
bool guestmem_is_valid_range(const struct guestmem *mem, uint64_t start, uint64_t length);

/**
 * Describes a memory in one JSON object: its size and end, the policies in force, and each region
 * with its backing and, where /proc tells them, resident bytes. For people and logs; keys may be
 * added. Any thread.
 *
 * @param mem   a memory.
 * @param json  the text, which goes to guestmem_free().
 * @retval GUESTMEM_OK                  *json is the text.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  json is NULL.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory for the text.
 */
int guestmem_describe(const struct guestmem *mem, char **json);

/**
 * Frees what the library allocated for the caller. Any thread.
 *
 * @param ptr  text from the library; NULL does nothing.
 */
void guestmem_free(void *ptr);


/*
 * 6 Slices
 *
 * What guestmem_get_slice() and its like gave, to work on without the memory's handle. The caller
 * vouches that the slice is live: that the memory it came from still lives, and that slices of
 * read-only regions are only read. What is written comes from guestmem_get_slice_writable() and
 * its like, which give none of those.
 */

/**
 * Host address and length of guest bytes, laid out as struct iovec: arrays of it go to readv(2)
 * and writev(2).
 */
struct guestmem_slice {
    /** The first byte. */
    void *addr;
    /** Bytes. */
    size_t len;
};

/**
 * Gives a part of a slice. Any thread.
 *
 * @param s       a live slice.
 * @param offset  bytes from its start.
 * @param count   bytes of the part; 0 is fine.
 * @param out     the part.
 * @retval GUESTMEM_OK                  *out is the part.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL, or s has a length but no address.
 * @retval GUESTMEM_E_INVALID_RANGE     offset + count is past the slice's end, or wraps.
 */
int guestmem_slice_sub(struct guestmem_slice s,
                       size_t offset,
                       size_t count,
                       struct guestmem_slice *out);

/**
 * Reads from a slice: all or nothing. Any thread.
 *
 * @param s       a live slice.
 * @param offset  bytes from its start.
 * @param buf     where to put the bytes. May be NULL when len is 0.
 * @param len     bytes to read.
 * @retval GUESTMEM_OK                  the bytes are in buf.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL, or s has a length but no address.
 * @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
 */
int guestmem_slice_read(struct guestmem_slice s, size_t offset, void *buf, size_t len);

/**
 * Writes to a slice: all or nothing. Any thread.
 *
 * @param s       a live slice to write, as guestmem_get_slice_writable() gives it.
 * @param offset  bytes from its start.
 * @param buf     the bytes. May be NULL when len is 0.
 * @param len     bytes to write.
 * @retval GUESTMEM_OK                  the bytes are in the slice.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL, or s has a length but no address.
 * @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
 */
int guestmem_slice_write(struct guestmem_slice s, size_t offset, const void *buf, size_t len);

/**
 * Fills a slice. Any thread.
 *
 * @param s     a live slice to write, as guestmem_get_slice_writable() gives it.
 * @param byte  what each of its bytes is to be.
 */
void guestmem_slice_fill(struct guestmem_slice s, uint8_t byte);

/**
 * Copies from one slice to another, as many bytes as the shorter has. Overlap as memmove(3). Any
 * thread.
 *
 * @param dst  a live slice to write, as guestmem_get_slice_writable() gives it.
 * @param src  a live slice to read.
 * @return Bytes copied.
 */
size_t guestmem_slice_copy(struct guestmem_slice dst, struct guestmem_slice src);

/**
 * Tells whether a slice holds only zeros. Any thread.
 *
 * @param s  a live slice.
 * @return True if so, also for an empty one.
 */
bool guestmem_slice_is_zero(struct guestmem_slice s);


/*
 * 5 Translating
 *
 * Host pointers and descriptors are valid while their region lives: as long as the memory, or until
 * the last reference to a region that was removed is gone. A pointer is handed out only together
 * with a length that was checked; guestmem_get_host_address() checks a single byte. What will be
 * written comes from guestmem_get_host_address_range_writable(), or as slices from its like below.
 */

/**
 * Translates a guest address to read from it. For memory that will be written use
 * guestmem_get_host_address_range_writable(): this one gives pointers into read-only regions too.
 * One byte is checked, so the pointer is to be used for nothing longer. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address.
 * @param out   the host address.
 * @retval GUESTMEM_OK                  *out is the host address.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 */
int guestmem_get_host_address(const struct guestmem *mem, uint64_t addr, void **out);

/**
 * Translates a range within one region to read from it. For memory that will be written use
 * guestmem_get_host_address_range_writable(): this one gives pointers into read-only regions too.
 * Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param size  bytes.
 * @param out   the host address of the first byte.
 * @retval GUESTMEM_OK                  *out is the host address.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      size is 0.
 */
int guestmem_get_host_address_range(const struct guestmem *mem,
                                    uint64_t addr,
                                    uint64_t size,
                                    void **out);

/**
 * Translates a range within one region to write there, and to read: as
 * guestmem_get_host_address_range(), but read-only regions are refused. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param size  bytes.
 * @param out   the host address of the first byte.
 * @retval GUESTMEM_OK                  *out is the host address.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      size is 0.
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only.
 */
int guestmem_get_host_address_range_writable(const struct guestmem *mem,
                                             uint64_t addr,
                                             uint64_t size,
                                             void **out);

/**
 * Translates a host address back. Takes longer the more regions there are. Where regions share
 * host memory the lowest guest address is given. Any thread.
 *
 * @param mem   a memory.
 * @param host  host address.
 * @param out   the guest address.
 * @retval GUESTMEM_OK                  *out is the guest address.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  host or out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   no region of the memory is mapped there.
 */
int guestmem_get_guest_address(const struct guestmem *mem, const void *host, uint64_t *out);

/**
 * Gives the file that backs an address. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address.
 * @param fd    the file, borrowed: valid while the region lives.
 * @retval GUESTMEM_OK                  *fd is the file.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  fd is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_UNSUPPORTED       the region has no file behind it.
 */
int guestmem_shm_region(const struct guestmem *mem, uint64_t addr, int *fd);

/**
 * Gives the file that backs the address at a distance from the lowest region's start. Any thread.
 *
 * @param mem     a memory.
 * @param offset  bytes from the start of the lowest region.
 * @param fd      the file, borrowed: valid while the region lives.
 * @retval GUESTMEM_OK                  *fd is the file.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  fd is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   the address is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the address wraps at 2^64.
 * @retval GUESTMEM_E_UNSUPPORTED       the region has no file behind it.
 */
int guestmem_offset_region(const struct guestmem *mem, uint64_t offset, int *fd);

/**
 * Gives the file that backs an address and where in it the address lies: what another process
 * needs to map the same bytes. Regions of one memory share a file without gaps, so this is not
 * the distance in guest addresses. Any thread.
 *
 * @param mem     a memory.
 * @param addr    guest address.
 * @param fd      the file, borrowed: valid while the region lives. May be NULL.
 * @param offset  bytes from the start of that file.
 * @retval GUESTMEM_OK                  the outputs are set.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  offset is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_UNSUPPORTED       the region has no file behind it.
 */
int guestmem_offset_from_base(const struct guestmem *mem, uint64_t addr, int *fd, uint64_t *offset);


/*
 * 5 Translating: slices
 *
 * What a device is given to read and what it is given to write come from different calls, and a
 * descriptor chain with both kinds from guestmem_translate_for().
 *
 * Example
 *   struct guestmem_access chain[MAX_DESC];       // the guest's descriptors, each loaded once
 *   struct guestmem_slice slices[2 * MAX_DESC];
 *   size_t count;
 *   chain[i].guest_addr = desc.addr;
 *   chain[i].size = desc.len;
 *   chain[i].access = desc.flags & DESC_WRITE ? GUESTMEM_ACCESS_WRITE : GUESTMEM_ACCESS_READ;
 *   chain[i].reserved = 0;
 *   ...
 *   if (guestmem_translate_for(mem, chain, n, slices, 2 * MAX_DESC, &count) != GUESTMEM_OK)
 *       return refuse(head);                      // a hole, or the ROM as a buffer to be filled
 */

/** Memory that will be read only. */
#define GUESTMEM_ACCESS_READ 1

/** Memory that will be written, and may be read too, with or without GUESTMEM_ACCESS_READ. */
#define GUESTMEM_ACCESS_WRITE 2

/** Guest addresses, a length, and what will be done there. */
struct guestmem_access {
    /** First guest address. */
    uint64_t guest_addr;
    /** Bytes. */
    uint64_t size;
    /** GUESTMEM_ACCESS_READ, GUESTMEM_ACCESS_WRITE or both. */
    uint32_t access;
    /** 0. */
    uint32_t reserved;
};

/**
 * Translates a range within one region to a slice to read. For memory that will be written use
 * guestmem_get_slice_writable(): this one gives slices of read-only regions too. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param len   bytes.
 * @param out   the slice, of exactly len bytes.
 * @retval GUESTMEM_OK                  *out is the slice.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      len is 0.
 */
int guestmem_get_slice(const struct guestmem *mem,
                       uint64_t addr,
                       size_t len,
                       struct guestmem_slice *out);

/**
 * Translates a range within one region to a slice to write, and to read: as guestmem_get_slice(),
 * but read-only regions are refused. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param len   bytes.
 * @param out   the slice, of exactly len bytes.
 * @retval GUESTMEM_OK                  *out is the slice.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      len is 0.
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only.
 */
int guestmem_get_slice_writable(const struct guestmem *mem,
                                uint64_t addr,
                                size_t len,
                                struct guestmem_slice *out);

/**
 * Translates a range that may run on through regions that touch, to slices to read: DMA-level. For
 * memory that will be written use guestmem_get_slices_writable(): this one gives slices of
 * read-only regions too. Any thread.
 *
 * @param mem    a memory.
 * @param addr   first guest address.
 * @param len    bytes.
 * @param out    the slices, in order; left as they were on failure. May be NULL when cap is 0.
 * @param cap    slices that out has room for.
 * @param count  number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
 * @retval GUESTMEM_OK                  *count slices are in out.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      len is 0.
 * @retval GUESTMEM_E_TOO_LARGE         cap is too small.
 */
int guestmem_get_slices(const struct guestmem *mem,
                        uint64_t addr,
                        uint64_t len,
                        struct guestmem_slice *out,
                        size_t cap,
                        size_t *count);

/**
 * Translates a range that may run on through regions that touch, to slices to write, and to read:
 * as guestmem_get_slices(), but a read-only region anywhere in it is refused. DMA-level. Any
 * thread.
 *
 * @param mem    a memory.
 * @param addr   first guest address.
 * @param len    bytes.
 * @param out    the slices, in order; left as they were on failure. May be NULL when cap is 0.
 * @param cap    slices that out has room for.
 * @param count  number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
 * @retval GUESTMEM_OK                  *count slices are in out.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      len is 0.
 * @retval GUESTMEM_E_READ_ONLY         the range meets a read-only region.
 * @retval GUESTMEM_E_TOO_LARGE         cap is too small.
 */
int guestmem_get_slices_writable(const struct guestmem *mem,
                                 uint64_t addr,
                                 uint64_t len,
                                 struct guestmem_slice *out,
                                 size_t cap,
                                 size_t *count);

/**
 * Translates a descriptor chain in one call, to slices to read: several ranges, each of which may
 * run on through regions that touch. DMA-level. For memory that will be written use
 * guestmem_translate_for(): this one gives slices of read-only regions too. The error detail names
 * the range that was refused. Any thread.
 *
 * @param mem     a memory.
 * @param ranges  the ranges; each is fetched anew for the answer, so the array must not change
 *   meanwhile. May be NULL when n is 0.
 * @param n       number of ranges; 0 is fine.
 * @param out     the slices of all ranges, in order; left as they were on failure. May be NULL
 *   when cap is 0.
 * @param cap     slices that out has room for.
 * @param count   number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
 * @retval GUESTMEM_OK                  *count slices are in out.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_INVALID_ADDRESS   a range starts in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     a range meets a hole, or wraps.
 * @retval GUESTMEM_E_INVALID_SIZE      a range is empty.
 * @retval GUESTMEM_E_TOO_LARGE         cap is too small.
 */
int guestmem_translate(const struct guestmem *mem,
                       const struct guestmem_range *ranges,
                       size_t n,
                       struct guestmem_slice *out,
                       size_t cap,
                       size_t *count);

/**
 * Translates a descriptor chain in one call, in which each range says what will be done there: as
 * guestmem_translate(), but a range that will be written is refused where it meets a read-only
 * region, and with it the whole chain. DMA-level. Any thread.
 *
 * Of several ranges that are wrong the one is reported whose error comes first in the order that
 * holds for all calls (flags, address, range, read-only); the error detail names it.
 *
 * @param mem     a memory.
 * @param ranges  the ranges; each is fetched anew for the answer, so the array must not change
 *   meanwhile. May be NULL when n is 0.
 * @param n       number of ranges; 0 is fine.
 * @param out     the slices of all ranges, in order; left as they were on failure. May be NULL
 *   when cap is 0.
 * @param cap     slices that out has room for.
 * @param count   number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
 * @retval GUESTMEM_OK                  *count slices are in out.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer, an access of 0 or with an unknown bit, or
 *   reserved is not 0.
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
 * Every range is checked in full before the first byte moves. A copy whose source and destination
 * are 8-byte aligned moves whole 8-byte words, each once; aligned words of 2 and 4 bytes are
 * not torn either.
 */

/**
 * Reads from one region, fewer bytes than asked for at its end. Region-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param buf   where to put the bytes. May be NULL when len is 0.
 * @param len   bytes to read.
 * @param done  bytes read, at most len.
 * @retval GUESTMEM_OK                  *done bytes are in buf.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 */
int guestmem_read(const struct guestmem *mem, uint64_t addr, void *buf, size_t len, size_t *done);

/**
 * Writes to one region, fewer bytes than asked for at its end. Region-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param buf   the bytes. May be NULL when len is 0.
 * @param len   bytes to write.
 * @param done  bytes written, at most len.
 * @retval GUESTMEM_OK                  *done bytes are in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only and len is not 0.
 */
int guestmem_write(const struct guestmem *mem,
                   uint64_t addr,
                   const void *buf,
                   size_t len,
                   size_t *done);

/**
 * Reads from one region: all or nothing. Region-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param buf   where to put the bytes; left as it is on failure. May be NULL when len is 0.
 * @param len   bytes to read.
 * @retval GUESTMEM_OK                  the bytes are in buf.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_SHORT_READ        the region ends before that.
 */
int guestmem_read_exact(const struct guestmem *mem, uint64_t addr, void *buf, size_t len);

/**
 * Writes to one region: all or nothing. Region-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param buf   the bytes. May be NULL when len is 0.
 * @param len   bytes to write.
 * @retval GUESTMEM_OK                  the bytes are in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_SHORT_WRITE       the region ends before that; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only and len is not 0.
 */
int guestmem_write_all(const struct guestmem *mem, uint64_t addr, const void *buf, size_t len);

/**
 * Reads as a device does, through regions that touch: all or nothing. DMA-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param buf   where to put the bytes; left as it is on failure. May be NULL when len is 0.
 * @param len   bytes to read.
 * @retval GUESTMEM_OK                  the bytes are in buf.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps.
 */
int guestmem_dma_read(const struct guestmem *mem, uint64_t addr, void *buf, size_t len);

/**
 * Writes as a device does, through regions that touch: all or nothing. DMA-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param buf   the bytes. May be NULL when len is 0.
 * @param len   bytes to write.
 * @retval GUESTMEM_OK                  the bytes are in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY         a region in the range is read-only; nothing was written.
 */
int guestmem_dma_write(const struct guestmem *mem, uint64_t addr, const void *buf, size_t len);

/**
 * Copies within guest memory, through regions that touch; overlap of guest addresses as
 * memmove(3). Where different regions share host memory, that is not looked at. DMA-level. Any
 * thread.
 *
 * @param mem  a memory.
 * @param dst  first guest address to write.
 * @param src  first guest address to read.
 * @param len  bytes to copy.
 * @retval GUESTMEM_OK                  the bytes are copied.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS   dst or src is in no region (nor, for 0 bytes, one past its
 *   end).
 * @retval GUESTMEM_E_INVALID_RANGE     one of the ranges meets a hole, or wraps; nothing was
 *   written.
 * @retval GUESTMEM_E_READ_ONLY         a region to write is read-only; nothing was written.
 */
int guestmem_dma_copy(const struct guestmem *mem, uint64_t dst, uint64_t src, uint64_t len);

/**
 * Fills guest memory, through regions that touch. DMA-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  first guest address.
 * @param byte  what each byte is to be.
 * @param len   bytes to fill.
 * @retval GUESTMEM_OK                  the bytes are filled.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_READ_ONLY         a region in the range is read-only; nothing was written.
 */
int guestmem_dma_fill(const struct guestmem *mem, uint64_t addr, uint8_t byte, uint64_t len);

/**
 * Reads an object whose parts must not be torn: in naturally aligned accesses of the widest size
 * of 8, 4, 2 and 1 bytes that divides its size, each once, ascending. Region-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address, a multiple of that width.
 * @param obj   where to put the object, at any alignment; left as it is on failure. May be NULL
 *   when size is 0.
 * @param size  bytes.
 * @retval GUESTMEM_OK                  the object is in *obj.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  obj is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the object does not end in the region it starts in.
 * @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the width.
 */
int guestmem_read_obj_volatile(const struct guestmem *mem, uint64_t addr, void *obj, size_t size);

/**
 * Writes an object whose parts must not be torn: in naturally aligned accesses of the widest size
 * of 8, 4, 2 and 1 bytes that divides its size, each once, ascending. Region-level. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address, a multiple of that width.
 * @param obj   the object, at any alignment. May be NULL when size is 0.
 * @param size  bytes.
 * @retval GUESTMEM_OK                  the object is in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  obj is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the object does not end in the region it starts in.
 * @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the width.
 * @retval GUESTMEM_E_READ_ONLY         the region is read-only and size is not 0.
 */
int guestmem_write_obj_volatile(const struct guestmem *mem,
                                uint64_t addr,
                                const void *obj,
                                size_t size);


/*
 * 6 Access: values
 *
 * Values of 8, 16, 32 and 64 bits in host byte order, each moved by one access. Region-level: a
 * value that straddles two regions is an error.
 */

/** As memory_order_relaxed: no ordering, not torn. */
#define GUESTMEM_RELAXED 0

/** As memory_order_acquire: what follows is not moved before the load. */
#define GUESTMEM_ACQUIRE 2

/** As memory_order_release: what precedes is not moved behind the store. */
#define GUESTMEM_RELEASE 3

/** As memory_order_acq_rel: both, for guestmem_compare_exchange_u8() and its like. */
#define GUESTMEM_ACQ_REL 4

/** As memory_order_seq_cst: both, and one order of all such accesses for all threads. */
#define GUESTMEM_SEQ_CST 5

/**
 * Reads a value at any alignment. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address.
 * @param out   the value.
 * @retval GUESTMEM_OK                  *out is the value.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
 */
int guestmem_read_u8(const struct guestmem *mem, uint64_t addr, uint8_t *out);

/** @copydoc guestmem_read_u8 */
int guestmem_read_u16(const struct guestmem *mem, uint64_t addr, uint16_t *out);

/** @copydoc guestmem_read_u8 */
int guestmem_read_u32(const struct guestmem *mem, uint64_t addr, uint32_t *out);

/** @copydoc guestmem_read_u8 */
int guestmem_read_u64(const struct guestmem *mem, uint64_t addr, uint64_t *out);

/**
 * Writes a value at any alignment. Any thread.
 *
 * @param mem    a memory.
 * @param addr   guest address.
 * @param value  the value.
 * @retval GUESTMEM_OK                 the value is in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region it starts in.
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
 * Reads a naturally aligned value by one access that is not torn. Any thread.
 *
 * @param mem   a memory.
 * @param addr  guest address, a multiple of the value's size.
 * @param out   the value.
 * @retval GUESTMEM_OK                  *out is the value.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
 * @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
 */
int guestmem_read_volatile_u8(const struct guestmem *mem, uint64_t addr, uint8_t *out);

/** @copydoc guestmem_read_volatile_u8 */
int guestmem_read_volatile_u16(const struct guestmem *mem, uint64_t addr, uint16_t *out);

/** @copydoc guestmem_read_volatile_u8 */
int guestmem_read_volatile_u32(const struct guestmem *mem, uint64_t addr, uint32_t *out);

/** @copydoc guestmem_read_volatile_u8 */
int guestmem_read_volatile_u64(const struct guestmem *mem, uint64_t addr, uint64_t *out);

/**
 * Writes a naturally aligned value by one access that is not torn. Any thread.
 *
 * @param mem    a memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param value  the value.
 * @retval GUESTMEM_OK                 the value is in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region it starts in.
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
 * Reads a naturally aligned value atomically: a ring index that the guest publishes. Any thread.
 *
 * @param mem    a memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param order  GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
 * @param out    the value.
 * @retval GUESTMEM_OK                  *out is the value.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL, or the order is none that a load has.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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
 * Writes a naturally aligned value atomically: a ring index that the guest waits for. Any thread.
 *
 * @param mem    a memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param value  the value.
 * @param order  GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
 * @retval GUESTMEM_OK                  the value is in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  the order is none that a store has.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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
 * Replaces a naturally aligned value atomically, if it is what is expected. Any thread.
 *
 * @param mem        a memory.
 * @param addr       guest address, a multiple of the value's size.
 * @param expected   what the value is to be; when it is something else, set to that. Left as it is
 *   on failure.
 * @param desired    the new value.
 * @param order      one of the GUESTMEM_* orders, for the exchange. When the value is not what is
 *   expected its load is ordered as far as a load can be.
 * @param exchanged  true if the value was replaced. May be NULL.
 * @retval GUESTMEM_OK                  compared; *exchanged tells whether it was replaced.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  expected is NULL, or order is none of the orders.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
 * @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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
 * 6 Access: file descriptors
 *
 * Straight between the kernel and guest memory, without a buffer between. DMA-level. Short
 * transfers and EINTR are continued where they stopped, also past 2 GiB; the error info's
 * `completed` tells how many bytes were moved before a failure. No signal is raised.
 */

/**
 * Reads exactly count bytes from a descriptor's position into guest memory. Any thread; may
 * block as read(2) does.
 *
 * @param mem    a memory.
 * @param addr   first guest address.
 * @param fd     what to read: a file, pipe, socket or device. Its position moves.
 * @param count  bytes.
 * @retval GUESTMEM_OK                 the bytes are in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was read.
 * @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was read.
 * @retval GUESTMEM_E_SHORT_READ       the file ended first; `completed` bytes are in guest memory.
 * @retval GUESTMEM_E_IO               reading failed after `completed` bytes, with os_errno: EAGAIN
 *   when a non-blocking descriptor has no more, EBADF when fd cannot be read.
 */
int guestmem_read_to_memory(const struct guestmem *mem, uint64_t addr, int fd, uint64_t count);

/**
 * Writes exactly count bytes of guest memory to a descriptor, at its position. Any thread; may
 * block as write(2) does.
 *
 * @param mem    a memory.
 * @param addr   first guest address.
 * @param fd     what to write: a file, pipe, socket or device. Its position moves.
 * @param count  bytes.
 * @retval GUESTMEM_OK                 the bytes are written.
 * @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_IO               writing failed after `completed` bytes, with os_errno: EAGAIN
 *   when a non-blocking descriptor takes no more, EPIPE when a pipe or socket is closed, EFBIG at
 *   a file size limit, EBADF when fd cannot be written.
 */
int guestmem_write_from_memory(const struct guestmem *mem, uint64_t addr, int fd, uint64_t count);

/**
 * Reads exactly count bytes at an offset of a file into guest memory. Any thread.
 *
 * @param mem        a memory.
 * @param addr       first guest address.
 * @param fd         the file. Its position stays.
 * @param fd_offset  where in the file to begin.
 * @param count      bytes.
 * @retval GUESTMEM_OK                  the bytes are in guest memory.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  fd_offset is beyond 2^63-1.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was read.
 * @retval GUESTMEM_E_READ_ONLY         a region in the range is read-only; nothing was read.
 * @retval GUESTMEM_E_SHORT_READ        the file ended first; `completed` bytes are in guest memory.
 * @retval GUESTMEM_E_IO                reading failed after `completed` bytes, with os_errno:
 *   ESPIPE when fd cannot seek.
 */
int guestmem_read_to_memory_at(const struct guestmem *mem,
                               uint64_t addr,
                               int fd,
                               uint64_t fd_offset,
                               uint64_t count);

/**
 * Writes exactly count bytes of guest memory at an offset of a file, also when it is open to
 * append, where the kernel can (Linux 6.9). Any thread.
 *
 * @param mem        a memory.
 * @param addr       first guest address.
 * @param fd         the file. Its position stays.
 * @param fd_offset  where in the file to begin.
 * @param count      bytes.
 * @retval GUESTMEM_OK                  the bytes are written.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  fd_offset is beyond 2^63-1.
 * @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
 * @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was written.
 * @retval GUESTMEM_E_UNSUPPORTED       fd is open to append and the kernel cannot write elsewhere.
 * @retval GUESTMEM_E_IO                writing failed after `completed` bytes, with os_errno.
 */
int guestmem_write_from_memory_at(const struct guestmem *mem,
                                  uint64_t addr,
                                  int fd,
                                  uint64_t fd_offset,
                                  uint64_t count);


/*
 * 7 The inline path
 *
 * A view is what a memory looks up addresses in, laid open: plain data, from which the inline
 * functions of guestmem_inline.h answer without a call. What they do not find there (a hole, or a
 * small or oddly placed region among large ones) they ask of the function of the same name with
 * `_fn` appended. These exported twins give the same answers; they serve other languages and programs
 * that come by dlsym(3). Ranges, alignment and read-only regions are checked as in the calls of
 * section 6; a refusal is no error that guestmem_last_error() would tell of.
 *
 * A view can be copied, kept in a device's own struct and used by any number of threads. It takes
 * the place of the handle: it must not be used when its memory is gone, which
 * guestmem_view_is_current() alone can tell. When a region has come or gone a view still tells what
 * was before: fetch it anew, at the latest before a removed region's last reference goes.
 *
 * Example
 *   struct guestmem_view view;                   // once for each device
 *   guestmem_get_view(mem, &view, sizeof view);
 *
 *   uint16_t flags;                              // for each request
 *   if (!guestmem_view_read_u16(&view, desc + 12, &flags))
 *       return bad_address(desc);
 */

/** An entry of the flat map: what is known of a chunk of guest addresses. */
struct guestmem_chunk {
    /**
     * First guest address past the region that holds the chunk's first byte, the chunk's own start
     * if none does. One less where the region is read-only, which bit 0 so tells: the region's last
     * byte is not found here then.
     */
    uint64_t end;
    /** Host address minus guest address in that region, modulo 2^64. */
    uint64_t delta;
};

/**
 * How a memory's addresses are looked up, as guestmem_get_view() gave it. Of all zeros it refuses
 * every address. To be read by the inline functions alone.
 */
struct guestmem_view {
    /** The flat map: an entry for each chunk of guest addresses from 0 on. */
    const struct guestmem_chunk *chunks;
    /** Entries in the flat map. */
    uint64_t count;
    /** A chunk is 2^shift bytes of guest address space. */
    uint64_t shift;
    /** Which of all maps that there were this is. */
    uint64_t generation;
    /** Which of them the memory has now; 0 when it is gone. */
    const uint64_t *live_generation;
    /** The memory. */
    const struct guestmem *mem;
    /** What the exported twins look into. */
    const void *table;
};

/**
 * Gives a view of a memory's regions as they are now. Any thread.
 *
 * @param mem        a memory, which must outlive all use of the view.
 * @param view       the view; on failure it is zeroed, and so refuses every address.
 * @param view_size  sizeof *view. What it has beyond this version's is zeroed.
 * @retval GUESTMEM_OK                  *view is the view.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  view is NULL, or too small for what the inline functions
 *   need.
 */
int guestmem_get_view(const struct guestmem *mem, struct guestmem_view *view, size_t view_size);

/**
 * The exported twin of guestmem_view_is_current().
 *
 * @param view  a view.
 * @param mem   the memory that it is of.
 * @return True when no region came or went since the view was fetched.
 */
bool guestmem_view_is_current_fn(const struct guestmem_view *view, const struct guestmem *mem);

/**
 * The exported twin of guestmem_view_ptr(): a pointer to read through. For memory that will be
 * written use guestmem_view_ptr_writable_fn().
 *
 * @param view  a view.
 * @param addr  first guest address.
 * @param len   bytes.
 * @return The host address of the first byte; NULL when len is 0 or the range is not within one
 *   region.
 */
void *guestmem_view_ptr_fn(const struct guestmem_view *view, uint64_t addr, uint64_t len);

/**
 * The exported twin of guestmem_view_ptr_writable().
 *
 * @param view  a view.
 * @param addr  first guest address.
 * @param len   bytes.
 * @return The host address of the first byte; NULL when len is 0, the range is not within one
 *   region, or that is read-only.
 */
void *guestmem_view_ptr_writable_fn(const struct guestmem_view *view, uint64_t addr, uint64_t len);


/*
 * 7 The inline path: exported twins for values
 *
 * Each the same as the inline function without `_fn`.
 */

/**
 * The exported twin of guestmem_view_read_u8().
 *
 * @param view  a view.
 * @param addr  guest address.
 * @param out   the value; 0 where false is returned.
 * @return False when the value is not within one region.
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
 * @return False when the value is not within one region, or that is read-only.
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
 * @param order  GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST.
 * @param out    the value; 0 where false is returned.
 * @return False when the value is not within one region or not aligned, or for another order.
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
 * @param order  GUESTMEM_RELAXED, _RELEASE or _SEQ_CST.
 * @return False when the value is not within one region or not aligned, when the region is
 *   read-only, or for another order.
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
 * @param offset  bytes from its start.
 * @param order   GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST.
 * @param out     the value; 0 where false is returned.
 * @return False when the value is not within the slice or not aligned, or for another order.
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
 * @param s       a live slice to write, as guestmem_get_slice_writable() gives it.
 * @param offset  bytes from its start.
 * @param value   the value.
 * @param order   GUESTMEM_RELAXED, _RELEASE or _SEQ_CST.
 * @return False when the value is not within the slice or not aligned, or for another order.
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
 * 8 Managing
 */

/** Use transparent huge pages (MADV_HUGEPAGE), where the system's settings obey such advice. */
#define GUESTMEM_POLICY_USE_HUGEPAGES 1

/**
 * Keep pages in memory once they are touched (mlock2 with MLOCK_ONFAULT). The kernel passes no lock on
 * to a forked child: there it is not in force until the child asks for it.
 */
#define GUESTMEM_POLICY_LOCK_GUEST_MEMORY 2

/**
 * Let guestmem_remove_range() free pages of locked memory. It always does; asking for it is fine.
 */
#define GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED 4

/**
 * Leave the memory out of forked children (MADV_DONTFORK). A child must not access it; releasing it
 * there is fine.
 */
#define GUESTMEM_POLICY_DONTFORK 8

/** Let the kernel merge equal pages (MADV_MERGEABLE); only for private memory. */
#define GUESTMEM_POLICY_MERGEABLE 16

/**
 * Gives pages back to the system, as a balloon does: afterwards the range reads as zeros and its
 * host memory is free, whatever backs it, locked or not. On files it punches a hole. Pages of
 * hugetlbfs lose their reservation: touching the range again needs a free huge page. Any thread.
 *
 * In a copy-on-write region (GUESTMEM_LOAD_MAP, or a file mapped private) each part that is given
 * back by itself is a mapping more, of which a process may have only so many (vm.max_map_count). All
 * regions together take no more than half of what the rest of the process leaves, small parts a
 * quarter. Beyond that zeros are written, and their memory is not free. Parts that touch are one, and
 * giving the whole region back always frees all of it.
 *
 * @param mem    a memory.
 * @param addr   first guest address, a multiple of the region's page size.
 * @param count  bytes, a multiple of the region's page size, not 0.
 * @retval GUESTMEM_OK                 the range reads as zeros.
 * @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
 * @retval GUESTMEM_E_INVALID_SIZE     count is 0.
 * @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in.
 * @retval GUESTMEM_E_NOT_ALIGNED      not a multiple of the page size.
 * @retval GUESTMEM_E_READ_ONLY        the region is read-only.
 * @retval GUESTMEM_E_UNSUPPORTED      the kernel offers no way, and nothing has changed: caller's
 *   memory that is a private mapping of a file, or shared and locked without its fd; a file that
 *   cannot have holes or is sealed against writing (F_SEAL_WRITE, F_SEAL_FUTURE_WRITE); caller's
 *   memory that maps several files, where the kernel does not tell of two of them beforehand.
 * @retval GUESTMEM_E_NO_MEMORY        the kernel lacked memory for it.
 * @retval GUESTMEM_E_TOO_LARGE        caller's memory: no descriptor was free to look at it.
 * @retval GUESTMEM_E_OS               a system call failed; of caller's memory of several mappings
 *   some may have been given back. Pages under
 *   GUESTMEM_POLICY_LOCK_GUEST_MEMORY are not locked any more if RLIMIT_MEMLOCK was lowered since.
 */
int guestmem_remove_range(const struct guestmem *mem,
                          uint64_t addr,
                          uint64_t count);

/**
 * Puts policies in force beside those that are; there is no taking back. Each is applied to all
 * regions or to none: one that the kernel refuses, or would silently ignore, is rolled back, where it
 * was not in force before by whoever's doing, while the others stay. Any thread.
 *
 * @param mem     a memory.
 * @param policy  GUESTMEM_POLICY_* bits; 0 changes nothing.
 * @retval GUESTMEM_OK                  all of them are in force.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  an unknown bit is set; nothing has changed.
 * @retval GUESTMEM_E_POLICY            one was refused; the error message names it, and
 *   guestmem_memory_policy() tells which are in force. Without an os_errno the kernel would have
 *   ignored it.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory to find out about one; the same holds.
 */
int guestmem_set_memory_policy(struct guestmem *mem,
                               uint64_t policy);

/**
 * Tells which policies are in force in this process. Any thread.
 *
 * @param mem  a memory.
 * @return GUESTMEM_POLICY_* bits; 0 for a bad handle.
 */
uint64_t guestmem_memory_policy(const struct guestmem *mem);


/*
 * 9 Changing the map while it is in use
 *
 * Regions come and go while other threads work: no access waits. The table that addresses are
 * looked up in never changes; a new one takes its place by one pointer store, and the old ones live
 * as long as the memory. So each call sees the regions as they were before a change or after it.
 *
 * A region that was taken out stays mapped until you give the reference back that
 * guestmem_remove_region() gives: do so when the hypervisor no longer maps it and the calls that
 * began before have returned. Until then nothing else can come to lie in its address range.
 * docs/hotplug.md tells the order, and what goes wrong in another.
 *
 * All changes of a memory together may take 1 GiB for old tables, which is more than a million of a
 * usual map. Each takes time and room for all regions that there are, so make memory of thousands
 * by guestmem_from_regions().
 */

/**
 * Adds a region. The policies in force apply to it too. Any thread.
 *
 * @param mem     a memory.
 * @param region  a region of guestmem_region_new(), which may be in other memories too. The
 *   memory takes a reference of its own; the caller keeps its own.
 * @retval GUESTMEM_OK              the region is part of the memory.
 * @retval GUESTMEM_E_BAD_HANDLE    mem is no live memory, or region no live region.
 * @retval GUESTMEM_E_OVERLAP       it shares addresses with a region that is there.
 * @retval GUESTMEM_E_POLICY        a policy in force was refused for the region; the error message
 *   names it. The region has none of them that it did not have before.
 * @retval GUESTMEM_E_TOO_LARGE     the tables of earlier changes take 1 GiB; the memory is as it was.
 * @retval GUESTMEM_E_NO_MEMORY     no host memory.
 */
int guestmem_add_region(struct guestmem *mem,
                        struct guestmem_region *region);

/**
 * Takes a region out. It stays mapped until the caller gives its reference back. Any thread.
 *
 * @param mem         a memory.
 * @param guest_addr  the region's first guest address.
 * @param removed     the region, with the memory's reference, which goes to
 *   guestmem_region_unref() when the hypervisor and the calls begun before are done with it.
 * @retval GUESTMEM_OK                  *removed is the region.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  removed is NULL.
 * @retval GUESTMEM_E_NOT_FOUND         no region starts there.
 * @retval GUESTMEM_E_TOO_LARGE         the tables of earlier changes take 1 GiB; the region is still
 *   there.
 * @retval GUESTMEM_E_NO_MEMORY         no host memory; the region is still there.
 */
int guestmem_remove_region(struct guestmem *mem,
                           uint64_t guest_addr,
                           struct guestmem_region **removed);

/**
 * Tells how often the memory's regions have changed. Any thread.
 *
 * @param mem  a memory.
 * @return One more after each change; 0 for a bad handle.
 */
uint64_t guestmem_generation(const struct guestmem *mem);


/*
 * 10 Snapshot and restore
 *
 * A snapshot is data and metadata. The data are the bytes of memory that may be anything but
 * zeros, so it costs what was touched, not what was configured: one range after the other (packed
 * layout, for files, pipes, sockets and callbacks), or each at its place in a raw image of all
 * regions with holes between (sparse layout, for files). The metadata is one JSON object: the
 * regions, the ranges, and a CRC-32C for each MiB of them:
 *   {"format":"guestmem","version":1,"layout":"packed","compressed":false,"page_size":4096,
 *   "data_size":N,"checksum":"crc32c","chunk_size":1048576,"regions":[{"guest_base":0,"size":65536,
 *   "file_offset":0,"data_ranges":[{"start":61440,"end":65536,"crc":[3735928559]}]}]}
 * Ranges are offsets in their region; file_offset is where the region's first data byte (packed)
 * or first byte (sparse) lies; what no range covers is zeros. Keys may be added to it: unknown ones
 * are ignored. docs/image-format.md has it in full.
 *
 * Stop vCPUs and devices for the length of these calls: what changes under a snapshot is damaged
 * in it, and found so by its checksums. They block as read(2) and write(2) do, raise no signal,
 * and call back on the calling thread. They need /proc. Their threads end before they return.
 *
 * Several snapshots of a region may be under way side by side, but a restore into it only alone: what
 * comes second gets GUESTMEM_E_BUSY, also from a callback of the first, and in whatever memory the
 * region is. A forked child knows of its own alone.
 */

/** Without checksums: damage of the data goes unnoticed. */
#define GUESTMEM_SNAPSHOT_NO_CHECKSUM 1

/** Leave out pages too that are allocated but hold only zeros. Takes reading all data once more. */
#define GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES 2

/** Have the data on its disk when the call returns (fdatasync). */
#define GUESTMEM_SNAPSHOT_SYNC 4

/**
 * Write past the page cache (O_DIRECT), to a file that can do it and from a position that is a
 * multiple of the page size; GUESTMEM_E_UNSUPPORTED elsewhere. Short pieces of a sparse file or an
 * image go through it, are waited for, and leave it again: each by itself would take longer.
 */
#define GUESTMEM_SNAPSHOT_DIRECT 8

/** Data ranges one after the other: for files, pipes, sockets and callbacks. */
#define GUESTMEM_LAYOUT_PACKED 0

/** A raw image of all regions, one after the other, with holes: for files. */
#define GUESTMEM_LAYOUT_SPARSE 1

/** The stream goes on behind the data (with device state, say): stop there and look for no more. */
#define GUESTMEM_RESTORE_MORE_FOLLOWS 1

/**
 * Is told how far a call has come: at least every 64 MiB, done never falling, and once with done
 * equal to total.
 *
 * @param user   as given in the options.
 * @param done   bytes of data that are done.
 * @param total  bytes of data in all.
 * @return 0 to go on; anything else fails the call with GUESTMEM_E_CANCELLED.
 */
typedef int (*guestmem_progress_fn)(void *user, uint64_t done, uint64_t total);

/** How a snapshot is to be taken. All zero: packed, with checksums. */
struct guestmem_snapshot_options {
    /** GUESTMEM_SNAPSHOT_*. */
    uint64_t flags;
    /** GUESTMEM_LAYOUT_*. */
    uint32_t layout;
    /** The most threads to use, the calling one among them; 0: as many as help. */
    uint32_t threads;
    /** May be NULL. */
    guestmem_progress_fn progress;
    /** Passed to progress. */
    void *progress_user;
};

/**
 * Takes len bytes of data.
 *
 * @param user  as given to the call.
 * @param buf   the bytes; valid until the function returns.
 * @param len   how many, not 0.
 * @return How many were taken, at least one; or a negative errno, which fails the call with
 *   GUESTMEM_E_IO.
 */
typedef int64_t (*guestmem_write_fn)(void *user, const void *buf, size_t len);

/** How a snapshot is to be brought back. All zero: nothing may follow the data. */
struct guestmem_restore_options {
    /** GUESTMEM_RESTORE_*. */
    uint64_t flags;
    /** The most threads to use, the calling one among them; 0: as many as help. */
    uint32_t threads;
    /** 0. */
    uint32_t reserved;
    /** May be NULL. Called from the first write to guest memory on. */
    guestmem_progress_fn progress;
    /** Passed to progress. */
    void *progress_user;
};

/**
 * Gives up to len bytes of data.
 *
 * @param user  as given to the call.
 * @param buf   where they go; valid until the function returns.
 * @param len   room in it, not 0.
 * @return How many were given, 0 at the end; or a negative errno, which fails the call with
 *   GUESTMEM_E_IO.
 */
typedef int64_t (*guestmem_read_fn)(void *user, void *buf, size_t len);

/**
 * Writes the data of a memory to a descriptor. Packed, it goes to the position on, which moves as
 * with write(2). Sparse, it goes to absolute offsets, and the file is cut or grown to
 * guestmem_memory_size(); its position stays. Allocates no guest page. After a failure some of the
 * data may have been written. Any thread.
 *
 * @param mem           a memory. Stop vCPUs and devices for the length of the call.
 * @param fd            what to write: a file, pipe or socket; sparse: a file not opened to append.
 * @param options       may be NULL: packed, with checksums.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param metadata      the JSON text, which goes to guestmem_free().
 * @retval GUESTMEM_OK                  the data is written, *metadata tells of it.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  metadata is NULL; a bad struct size, unknown flag or layout.
 * @retval GUESTMEM_E_UNSUPPORTED       with _SYNC or _DIRECT, what cannot be synced or written so;
 *   sparse, what is no file or opened to append; where data lies cannot be told: no /proc or
 *   one of another user (see guestmem_prepare()), caller's memory with neither fd nor the privilege to
 *   look, or memory whose missing pages a userfaultfd supplies.
 * @retval GUESTMEM_E_TAINTED           a restore into this memory failed half way.
 * @retval GUESTMEM_E_BUSY              fd is a file that backs the memory, or may be: where a file
 *   system numbers the files of its parts apart, it takes CAP_CHECKPOINT_RESTORE to tell; a restore
 *   into a region of it has not ended.
 * @retval GUESTMEM_E_IO                writing failed after `completed` bytes, with os_errno: EAGAIN
 *   when a non-blocking descriptor takes no more, EPIPE when a pipe or socket is closed, EFBIG at a
 *   file size limit, EBADF when fd cannot be written, EFAULT at a page of memory that cannot be read.
 * @retval GUESTMEM_E_CANCELLED         the progress function asked to stop.
 * @retval GUESTMEM_E_TOO_LARGE         the metadata would exceed 64 MiB, or a limit of the process
 *   was met.
 * @retval GUESTMEM_E_NO_MEMORY         a host allocation failed.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_snapshot(const struct guestmem *mem,
                      int fd,
                      const struct guestmem_snapshot_options *options,
                      size_t options_size,
                      char **metadata);

/**
 * Gives the data of a memory to a function, piece by piece, in order. Allocates no guest page.
 * Any thread.
 *
 * @param mem           a memory. Stop vCPUs and devices for the length of the call.
 * @param write         takes the data. Runs on the calling thread.
 * @param user          passed to write.
 * @param options       may be NULL: packed, with checksums.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param metadata      the JSON text, which goes to guestmem_free().
 * @retval GUESTMEM_OK                  all data was taken, *metadata tells of it.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  write or metadata is NULL; a bad struct size, unknown flag or
 *   layout.
 * @retval GUESTMEM_E_UNSUPPORTED       as guestmem_snapshot(); also _SYNC, _DIRECT and the sparse
 *   layout.
 * @retval GUESTMEM_E_TAINTED           a restore into this memory failed half way.
 * @retval GUESTMEM_E_BUSY              a restore into a region of it has not ended.
 * @retval GUESTMEM_E_IO                write failed after `completed` bytes: os_errno is its errno,
 *   or EIO when it took none or more than there were, or EFAULT at a page of memory that cannot be
 *   read.
 * @retval GUESTMEM_E_CANCELLED         the progress function asked to stop.
 * @retval GUESTMEM_E_TOO_LARGE         the metadata would exceed 64 MiB, or a limit of the process
 *   was met.
 * @retval GUESTMEM_E_NO_MEMORY         a host allocation failed.
 * @retval GUESTMEM_E_OS                a system call failed.
 */
int guestmem_snapshot_write(const struct guestmem *mem,
                            guestmem_write_fn write,
                            void *user,
                            const struct guestmem_snapshot_options *options,
                            size_t options_size,
                            char **metadata);

/**
 * Brings a snapshot back into a memory with the same regions. Packed data is read from the
 * descriptor's position on, which moves as with read(2); sparse data at absolute offsets. What the
 * snapshot does not cover reads as zeros afterwards, its host memory freed where the backing allows
 * that.
 *
 * Read-only regions are not written: they have to hold what the snapshot holds for them.
 *
 * Metadata, regions and, on a file, length, checksums and read-only regions are checked before the
 * first write, or,
 * where memory holds nothing yet, it is made empty again: a failure there leaves memory as it was.
 * Each MiB of a stream is checked before it is copied in, or compared. A failure after the first write leaves
 * memory tainted: snapshots of it fail until a restore succeeds. The taint is that of its regions,
 * in whatever memory they are. Any thread.
 *
 * @param mem           a memory. Stop vCPUs and devices for the length of the call.
 * @param metadata      the JSON text of the snapshot. May come from anybody.
 * @param metadata_len  its bytes, without a NUL at the end.
 * @param fd            what to read: a file, pipe or socket; sparse: a file.
 * @param options       may be NULL: nothing may follow the data.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @retval GUESTMEM_OK                   memory holds what the snapshot holds.
 * @retval GUESTMEM_E_BAD_HANDLE         mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT   metadata is NULL; a bad struct size, unknown flag, or
 *   reserved is not 0.
 * @retval GUESTMEM_E_METADATA           the metadata is empty, malformed, inconsistent or longer than
 *   64 MiB.
 * @retval GUESTMEM_E_UNSUPPORTED        another format, version, layout or kind of checksum; sparse
 *   data from what is no file; or memory whose missing pages a userfaultfd supplies.
 * @retval GUESTMEM_E_MISMATCH           the snapshot is of other regions, or a read-only region holds
 *   something else: memory is as it was, unless data for other regions came before that in a stream.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT     the data ends too early.
 * @retval GUESTMEM_E_SNAPSHOT_LONG      the data goes on after its end.
 * @retval GUESTMEM_E_CORRUPT            a checksum does not match.
 * @retval GUESTMEM_E_IO                 reading failed after `completed` bytes, with os_errno; EFAULT
 *   at a page of memory that cannot be written.
 * @retval GUESTMEM_E_CANCELLED          the progress function asked to stop; memory is tainted.
 * @retval GUESTMEM_E_BUSY               another restore into a region of it, or a snapshot of one,
 *   has not ended.
 * @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
 * @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
 * @retval GUESTMEM_E_OS                 a system call failed.
 */
int guestmem_restore(const struct guestmem *mem,
                     const char *metadata,
                     size_t metadata_len,
                     int fd,
                     const struct guestmem_restore_options *options,
                     size_t options_size);

/**
 * Brings a snapshot back as guestmem_restore() does, from a function that gives the data. Any
 * thread.
 *
 * @param mem           a memory. Stop vCPUs and devices for the length of the call.
 * @param metadata      the JSON text of the snapshot. May come from anybody.
 * @param metadata_len  its bytes, without a NUL at the end.
 * @param read          gives the data. Runs on the calling thread.
 * @param user          passed to read.
 * @param options       may be NULL: nothing may follow the data.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @retval GUESTMEM_OK                   memory holds what the snapshot holds.
 * @retval GUESTMEM_E_BAD_HANDLE         mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT   metadata or read is NULL; a bad struct size, unknown flag,
 *   or reserved is not 0.
 * @retval GUESTMEM_E_METADATA           as guestmem_restore().
 * @retval GUESTMEM_E_UNSUPPORTED        as guestmem_restore().
 * @retval GUESTMEM_E_MISMATCH           as guestmem_restore().
 * @retval GUESTMEM_E_SNAPSHOT_SHORT     the data ends too early.
 * @retval GUESTMEM_E_SNAPSHOT_LONG      the data goes on after its end; memory is tainted unless
 *   there was no data.
 * @retval GUESTMEM_E_CORRUPT            a checksum does not match.
 * @retval GUESTMEM_E_IO                 read failed after `completed` bytes: os_errno is its errno,
 *   or EIO when it gave more than there was room for, or EFAULT at a page of memory that cannot be
 *   written.
 * @retval GUESTMEM_E_CANCELLED          the progress function asked to stop; memory is tainted.
 * @retval GUESTMEM_E_BUSY               another restore into a region of it, or a snapshot of one,
 *   has not ended.
 * @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
 * @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
 * @retval GUESTMEM_E_OS                 a system call failed.
 */
int guestmem_restore_read(const struct guestmem *mem,
                          const char *metadata,
                          size_t metadata_len,
                          guestmem_read_fn read,
                          void *user,
                          const struct guestmem_restore_options *options,
                          size_t options_size);


/*
 * 10 Image files
 *
 * A snapshot in one file: the sparse layout, then the metadata, then a trailer that says where it
 * is and guards it. Saving replaces the file as a whole or not at all; loading makes a new memory
 * of it, by reading it or by mapping it copy-on-write, which takes no time whatever its size, and
 * in which all machines from one image share its pages until they write to them.
 *
 * An image may come from anybody: what is damaged or makes no sense is refused. While one is
 * mapped, nobody may shorten or change the file; guestmem_save() never does, it makes a new file.
 */

/**
 * Map the image copy-on-write instead of reading it: ready at once, whatever its size. An image
 * that cannot be mapped is an error, it is never read instead. Where reading a hole through a mapping
 * makes the file larger, and is SIGBUS when it cannot grow (tmpfs, memfds; overlayfs may lie on one),
 * only data is mapped. Each run of it is a mapping, so of data in very many runs (as many mappings as
 * guestmem_remove_range() may take) the shortest are copied.
 */
#define GUESTMEM_LOAD_MAP 1

/** With _MAP: check all checksums first, and that nothing but zeros lies where there is no data. */
#define GUESTMEM_LOAD_VERIFY 2

/** How an image is to be loaded. All zero: it is read, and checked on the way. */
struct guestmem_load_options {
    /** GUESTMEM_LOAD_*. */
    uint64_t flags;
    /** The most threads to use, the calling one among them; 0: as many as help. */
    uint32_t threads;
    /** 0. */
    uint32_t reserved;
    /** May be NULL. Mapping moves nothing: with _MAP alone it is called once, with done = total. */
    guestmem_progress_fn progress;
    /** Passed to progress. */
    void *progress_user;
};

/**
 * Saves a memory to an image file. It is written to a temporary file beside path (mode 0600),
 * synced, and put in the place of path; then the folder is synced. So path holds the old image or
 * the new one, whole, whatever happens. A symbolic link at path is replaced, not followed. After a
 * failure there is no temporary file, and path is what it was; only where a file can have no
 * second name it may be the new image already, when the last sync fails. A process that is killed
 * may leave a file .guestmem-* in the folder, which can be deleted. Any thread.
 *
 * @param mem           a memory. Stop vCPUs and devices for the length of the call.
 * @param path          where the image is to be. May be the image that this memory is mapped from.
 * @param options       may be NULL: with checksums. Both layouts mean the image file, and _SYNC is
 *   implied.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @retval GUESTMEM_OK                  path holds the image.
 * @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT  path is NULL; a bad struct size, unknown flag or layout.
 * @retval GUESTMEM_E_UNSUPPORTED       as guestmem_snapshot(); path is a device, pipe or socket.
 * @retval GUESTMEM_E_TAINTED           a restore into this memory failed half way.
 * @retval GUESTMEM_E_BUSY              path is a file whose shared mapping is this memory, or may be, as
 *   guestmem_snapshot() says; a restore into a region of it has not ended.
 * @retval GUESTMEM_E_IO                writing or syncing failed, with os_errno; EFAULT at a page of
 *   memory that cannot be read.
 * @retval GUESTMEM_E_CANCELLED         the progress function asked to stop.
 * @retval GUESTMEM_E_TOO_LARGE         the metadata would exceed 64 MiB, or a limit of the process
 *   was met.
 * @retval GUESTMEM_E_NO_MEMORY         a host allocation failed.
 * @retval GUESTMEM_E_OS                another system call failed: there is no such folder, or path is
 *   one, say.
 */
int guestmem_save(const struct guestmem *mem,
                  const char *path,
                  const struct guestmem_snapshot_options *options,
                  size_t options_size);

/**
 * Brings an image file back into a memory with the same regions, as guestmem_restore() does. Any
 * thread.
 *
 * @param mem           a memory. Stop vCPUs and devices for the length of the call.
 * @param path          the image.
 * @param options       may be NULL.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @retval GUESTMEM_OK                   memory holds what the image holds.
 * @retval GUESTMEM_E_BAD_HANDLE         mem is no live memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT   path is NULL; a bad struct size, unknown flag, or reserved
 *   is not 0.
 * @retval GUESTMEM_E_METADATA           path is no image, or a damaged one.
 * @retval GUESTMEM_E_UNSUPPORTED        as guestmem_restore().
 * @retval GUESTMEM_E_MISMATCH           the image is of other regions, or a read-only region holds
 *   something else; memory is as it was.
 * @retval GUESTMEM_E_CORRUPT            a checksum does not match.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT     the file was shortened while it was read.
 * @retval GUESTMEM_E_IO                 reading failed after `completed` bytes, with os_errno; EFAULT
 *   at a page of memory that cannot be written.
 * @retval GUESTMEM_E_CANCELLED          the progress function asked to stop; memory is tainted.
 * @retval GUESTMEM_E_BUSY               another restore into a region of it, or a snapshot of one,
 *   has not ended.
 * @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
 * @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
 * @retval GUESTMEM_E_OS                 another system call failed: there is no such file, say.
 */
int guestmem_restore_file(const struct guestmem *mem,
                          const char *path,
                          const struct guestmem_restore_options *options,
                          size_t options_size);

/**
 * Makes a new memory of an image file, with the regions of the memory that was saved: plain RAM,
 * or copy-on-write mappings of the file with _MAP. Any thread.
 *
 * @param path          the image. With _MAP nobody may shorten or change the file while the memory
 *   lives; other files may take its name.
 * @param options       may be NULL: read, with all checks.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param out           the memory, with one reference that goes to guestmem_unref().
 * @retval GUESTMEM_OK                   *out is the memory.
 * @retval GUESTMEM_E_INVALID_ARGUMENT   path or out is NULL; a bad struct size, unknown flag, or
 *   reserved is not 0.
 * @retval GUESTMEM_E_METADATA           path is no image, or a damaged one.
 * @retval GUESTMEM_E_UNSUPPORTED        another version, or kind of checksum; _VERIFY of an image
 *   without checksums.
 * @retval GUESTMEM_E_CORRUPT            a checksum does not match; with _MAP and _VERIFY also: there
 *   is data in what should be a hole.
 * @retval GUESTMEM_E_SNAPSHOT_SHORT     the file was shortened while it was read.
 * @retval GUESTMEM_E_BACKING            with _MAP: the file system offers no mappings.
 * @retval GUESTMEM_E_IO                 reading failed after `completed` bytes, with os_errno.
 * @retval GUESTMEM_E_CANCELLED          the progress function asked to stop.
 * @retval GUESTMEM_E_NO_MEMORY          a host allocation failed, or the regions do not fit the
 *   address space.
 * @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
 * @retval GUESTMEM_E_OS                 another system call failed: there is no such file, say.
 */
int guestmem_load(const char *path,
                  const struct guestmem_load_options *options,
                  size_t options_size,
                  struct guestmem **out);

/**
 * The metadata of an image file. Its checksum is checked and all that can be checked without
 * looking at the data. Any thread.
 *
 * @param path      the image.
 * @param metadata  the JSON text, which goes to guestmem_free().
 * @retval GUESTMEM_OK                   *metadata is the text.
 * @retval GUESTMEM_E_INVALID_ARGUMENT   path or metadata is NULL.
 * @retval GUESTMEM_E_METADATA           path is no image, or a damaged one.
 * @retval GUESTMEM_E_UNSUPPORTED        another version, or kind of checksum.
 * @retval GUESTMEM_E_IO                 reading failed, with os_errno.
 * @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
 * @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
 * @retval GUESTMEM_E_OS                 another system call failed: there is no such file, say.
 */
int guestmem_image_metadata(const char *path, char **metadata);

/**
 * Opens what later calls need of /proc and /dev, and keeps it open: for programs that shut themselves
 * in a folder (chroot(2), pivot_root(2)) or change their user without exec(3), after which
 * /proc/self/pagemap belongs to root. Snapshots, images, removing ranges and descriptions go on to
 * work then. Four descriptors at the most stay open as long as the process; no folder is among them. A
 * second call opens what is missing, as after closefrom(3). A forked child has to call it for itself.
 * The page tables are kept by the first snapshot, restore or save too. Any thread.
 *
 * @retval GUESTMEM_OK             all that there is is open.
 * @retval GUESTMEM_E_UNSUPPORTED  there is no /proc, or it belongs to another user already.
 * @retval GUESTMEM_E_TOO_LARGE    a limit of the process or the system was met: descriptors.
 * @retval GUESTMEM_E_NO_MEMORY    a host allocation failed.
 * @retval GUESTMEM_E_OS           another system call failed.
 */
int guestmem_prepare(void);

#ifdef __cplusplus
}
#pragma GCC diagnostic pop
#endif

#include "guestmem_inline.h"

#endif /* GUESTMEM_H */
