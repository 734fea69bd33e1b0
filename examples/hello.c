// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Guest memory in 40 lines: create it, give it to KVM, read and write it. */
#include <fcntl.h>
#include <guestmem.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int fail(void)
{
    char why[200];
    guestmem_last_error_message(why, sizeof why);
    fprintf(stderr, "hello: %s\n", why);
    return 1;
}

int main(void)
{
    const struct guestmem_range ram[] = {{0, 640 << 10}, {16 << 20, 64 << 20}};
    struct guestmem *mem;
    if (guestmem_new(ram, 2, &mem) != GUESTMEM_OK) return fail();

    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    for (uint32_t slot = 0; vm >= 0 && slot < guestmem_num_regions(mem); slot++) {
        struct guestmem_region_info region;
        if (guestmem_region_info(mem, slot, &region, sizeof region) != GUESTMEM_OK) return fail();
        struct kvm_userspace_memory_region args = {slot, 0, region.guest_addr, region.size,
                                                   (uintptr_t)region.host_addr};
        if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &args) != 0) return perror("hello: KVM"), 1;
    }
    puts(vm >= 0 ? "KVM has the guest's memory" : "there is no KVM here");

    uint64_t value = 0; /* a device's access: the address is the guest's, so every call checks it */
    if (guestmem_write_u64(mem, 0x1000, 42) || guestmem_read_u64(mem, 0x1000, &value)) return fail();
    printf("the guest's memory holds %d at 0x1000\n", (int)value);
    if (guestmem_read_u64(mem, 0xa0000, &value) != GUESTMEM_OK)
        printf("refused: %s\n", guestmem_strerror(GUESTMEM_E_INVALID_ADDRESS));
    guestmem_unref(mem);
    return 0;
}
