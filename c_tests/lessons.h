/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Bugs that shipped in other programs doing this job, each with a short test under its name: about
 * addresses and values in lessons.c, about what is the host's in lessons_host.c, about saved state in
 * lessons_snapshot.c, about calls that are not to be made, or that fail, in lessons_calls.c. Most are
 * covered in depth by the program for their subject. Some by that alone, or the larger part:
 *
 *   a library that was loaded is unloaded, then a thread ends: crash    dlopen.c
 *   hot-unplug, and the addresses of the host are used anew             hotplug_references.c
 *   Cloud Hypervisor PR 8767 (Kata), regions that come later            hotplug.c
 *   DPDK, CVE-2020-10726, 100,000 rounds                                lifetime.c
 *   vm-memory, Cloud Hypervisor, exact reads: 3 GiB, 1 byte, EINTR      transfer.c
 *   vm-memory, CVE-2020-13759, the speed that its cure took; crosvm,
 *     copies of slices byte by byte                                     counts/hot_calls.c
 *   QEMU 2013-14, CVE-2023-28448, CVE-2023-50711, everything in it      snapshot_hostile.c, image_hostile.c
 *   Firecracker #5705, holes and edges in every combination             image_roundtrip.c */
#ifndef LESSONS_H
#define LESSONS_H

#include "support/snapshots.h"

static const struct guestmem_range two[2] = {{0x10000, 0x2000}, {0x20000, 0x2000}};
__attribute__((unused)) static const struct guestmem_range touching[2] = {{0x10000, 0x2000}, {0x12000, 0x2000}};

#define RUN(test) (printf("%s\n", #test), (void)fflush(stdout), test())

#endif
