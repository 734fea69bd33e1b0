// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The vCPU by KVM, and the guest's memory in KVM's slots. x86-64. */
#ifndef MINIVM_KVM_H
#define MINIVM_KVM_H

#include <inttypes.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "guest.h"
#include "host.h"
#include "vcpu.h"

static int kvm_call(int fd, unsigned long request, uintptr_t arg, const char *what)
{
    int result = ioctl(fd, request, arg);
    if (result < 0)
        die("%s: %s", what, strerror(errno));
    return result;
}

/* True if there is a KVM that can run the guest; else says why not. */
static bool kvm_usable(struct text *why)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        snprintf(why->s, sizeof why->s, "cannot open /dev/kvm: %s", strerror(errno));
        return false;
    }
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        snprintf(why->s, sizeof why->s, "KVM_CREATE_VM: %s", strerror(errno));
    bool able = vm >= 0 && ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) > 0 &&
                ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) > 0;
    if (vm >= 0 && !able)
        snprintf(why->s, sizeof why->s, "it lacks read-only memory or immediate exit");
    if (vm >= 0)
        close(vm);
    close(kvm);
    return able;
}

static void kvm_map(struct vcpu *vcpu, uint32_t slot, const struct guestmem_region_info *region)
{
    struct kvm_userspace_memory_region args = {
        .slot = slot,
        .flags = region->flags & GUESTMEM_REGION_READ_ONLY ? KVM_MEM_READONLY : 0,
        .guest_phys_addr = region->guest_addr,
        .memory_size = region->size,
        .userspace_addr = (uintptr_t)region->host_addr,
    };
    kvm_call(vcpu->vm_fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&args, "KVM memory slot");
}

/* When this returns, no vCPU reaches the slot's memory any more, nor does KVM for it. */
static void kvm_unmap(struct vcpu *vcpu, uint32_t slot)
{
    struct kvm_userspace_memory_region args = {.slot = slot, .memory_size = 0};
    kvm_call(vcpu->vm_fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&args, "KVM memory slot");
}

/*
 * Guest address = virtual address, in pages of 2 MiB: one table of each level is enough for the first GiB. RAM that may
 * be plugged in has its entries from the start.
 */
static void write_page_tables(const struct guestmem *mem)
{
    enum { PRESENT = 1, WRITABLE = 2, USER = 4, LARGE = 0x80, OPEN = PRESENT | WRITABLE | USER };
    must(guestmem_write_u64(mem, PAGE_TABLES, (PAGE_TABLES + 0x1000) | OPEN), "page tables");
    must(guestmem_write_u64(mem, PAGE_TABLES + 0x1000, (PAGE_TABLES + 0x2000) | OPEN), "page tables");
    for (uint64_t page = 0; page << 21 < PLUG_END; page++)
        must(guestmem_write_u64(mem, PAGE_TABLES + 0x2000 + 8 * page, page << 21 | LARGE | OPEN), "page tables");
}

/*
 * The guest starts in 64-bit mode, with flat segments set from outside, so that it needs no boot code and no GDT. It
 * runs at user level: there every KVM runs it natively, also one without hardware support, which has to emulate what
 * runs at kernel level.
 */
static void enter_long_mode(struct vcpu *vcpu)
{
    struct kvm_segment code = {.selector = 11, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {.selector = 19, .type = 3, .present = 1, .dpl = 3, .s = 1, .db = 1, .g = 1};
    code.limit = data.limit = 0xffffffff;

    write_page_tables(vcpu->mem);
    struct kvm_sregs sregs;
    kvm_call(vcpu->fd, KVM_GET_SREGS, (uintptr_t)&sregs, "KVM_GET_SREGS");
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr3 = PAGE_TABLES;
    sregs.cr4 |= 1u << 5;                           /* PAE */
    sregs.cr0 |= 1u << 31 | 1u << 16 | 1u << 5 | 1; /* PG, WP, NE, PE */
    sregs.efer |= 1u << 10 | 1u << 8;               /* LMA, LME */
    kvm_call(vcpu->fd, KVM_SET_SREGS, (uintptr_t)&sregs, "KVM_SET_SREGS");
    struct kvm_regs regs = {.rip = ROM_ADDR, .rflags = 3u << 12 | 2}; /* I/O privilege level 3 */
    kvm_call(vcpu->fd, KVM_SET_REGS, (uintptr_t)&regs, "KVM_SET_REGS");
}

static void kvm_create(struct vcpu *vcpu)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        die("/dev/kvm: %s", strerror(errno));
    vcpu->vm_fd = kvm_call(kvm, KVM_CREATE_VM, 0, "KVM_CREATE_VM");
    kvm_call(vcpu->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000, "KVM_SET_TSS_ADDR"); /* older Intel CPUs need it */

    for (size_t i = 0; i < guestmem_num_regions(vcpu->mem); i++) {
        struct guestmem_region_info region = region_info(vcpu->mem, i);
        kvm_map(vcpu, (uint32_t)i, &region);
    }

    vcpu->fd = kvm_call(vcpu->vm_fd, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU");
    vcpu->run_size = (size_t)kvm_call(kvm, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE");
    vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED)
        die("vCPU state: %s", strerror(errno));
    close(kvm);

    enter_long_mode(vcpu);
}

static struct port_write kvm_run(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    while (ioctl(vcpu->fd, KVM_RUN, 0) != 0)
        if (errno != EINTR)
            die("KVM_RUN: %s", strerror(errno));
    if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT || run->io.count != 1)
        die("the guest left for an unexpected reason, KVM exit %" PRIu32, run->exit_reason);

    struct port_write out = {.port = run->io.port};
    memcpy(&out.value, (const char *)run + run->io.data_offset, run->io.size);
    return out;
}

static void kvm_save(struct vcpu *vcpu, struct vcpu_state *state)
{
    /* A port write is completed only by entering the guest again: enter, but run no instruction. */
    vcpu->run->immediate_exit = 1;
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0 || errno != EINTR)
        die("the vCPU did not stop");
    vcpu->run->immediate_exit = 0;
    kvm_call(vcpu->fd, KVM_GET_REGS, (uintptr_t)&state->regs, "KVM_GET_REGS");
    kvm_call(vcpu->fd, KVM_GET_SREGS, (uintptr_t)&state->sregs, "KVM_GET_SREGS");
}

static void kvm_load(struct vcpu *vcpu, const struct vcpu_state *state)
{
    kvm_call(vcpu->fd, KVM_SET_SREGS, (uintptr_t)&state->sregs, "KVM_SET_SREGS");
    kvm_call(vcpu->fd, KVM_SET_REGS, (uintptr_t)&state->regs, "KVM_SET_REGS");
}

/* Before the guest memory goes: the slots point into it until the VM is closed. */
static void kvm_destroy(struct vcpu *vcpu)
{
    munmap(vcpu->run, vcpu->run_size);
    close(vcpu->fd);
    close(vcpu->vm_fd);
}

static const struct vcpu_kind kvm_vcpu = {
    "run by KVM", kvm_create, kvm_map, kvm_unmap, kvm_run, kvm_save, kvm_load, kvm_destroy};

#endif
