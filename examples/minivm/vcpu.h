// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* A vCPU as the machine sees it: something that runs until the guest writes to a port. Two kinds: kvm.h, played.h. */
#ifndef MINIVM_VCPU_H
#define MINIVM_VCPU_H

#if defined(__x86_64__)
#define HAVE_KVM 1
#include <linux/kvm.h>
#else
#define HAVE_KVM 0
#endif

#include <stddef.h>
#include <stdint.h>

#include <guestmem.h>

struct port_write {
    uint16_t port;
    uint32_t value;
};

struct played { /* the registers of the vCPU that is played in C */
    uint32_t step, done_in_step, checksum;
};

struct vcpu_state { /* what a snapshot must hold, for the kind of vCPU in use */
    struct played played;
#if HAVE_KVM
    struct kvm_regs regs; /* a guest that uses more (FPU, MSRs, interrupts) needs more saved */
    struct kvm_sregs sregs;
#endif
};

struct vcpu {
    const struct vcpu_kind *kind;
    const struct guestmem *mem;
    struct played played;
#if HAVE_KVM
    int vm_fd, fd;
    struct kvm_run *run;
    size_t run_size;
#endif
};

struct vcpu_kind {
    const char *name;
    void (*create)(struct vcpu *vcpu); /* ready to start in ROM */
    /* Lets the guest see a region, under a number of the caller's, and takes it from its sight. */
    void (*map)(struct vcpu *vcpu, uint32_t slot, const struct guestmem_region_info *region);
    void (*unmap)(struct vcpu *vcpu, uint32_t slot);
    struct port_write (*run)(struct vcpu *vcpu);
    void (*save)(struct vcpu *vcpu, struct vcpu_state *state);
    void (*load)(struct vcpu *vcpu, const struct vcpu_state *state);
    void (*destroy)(struct vcpu *vcpu);
};

#endif
