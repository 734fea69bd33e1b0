// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * The guest: the map of its machine, the script that it follows, and its code. Script and code lie in the ROM; the
 * script alone says what the guest does, so that the vCPU can also be played in C (played.h).
 */
#ifndef MINIVM_GUEST_H
#define MINIVM_GUEST_H

#include <stddef.h>
#include <stdint.h>

/* Plain numbers without suffix: the assembler reads these too. */
#define LOW_ADDR   0x00000000
#define LOW_SIZE   0x000a0000
#define ROM_ADDR   0x000f0000
#define ROM_SIZE   0x00010000
#define HIGH_ADDR  0x01000000
#define HIGH_SIZE  0x04000000
#define HIGH_END   0x05000000
#define PLUG_ADDR  0x05000000 /* where RAM can be plugged in; touches the high RAM */
#define PLUG_SIZE  0x02000000
#define PLUG_END   0x07000000

#define RING_DESC   0x1000 /* the ring and the request lie in low RAM */
#define RING_AVAIL  0x1100
#define RING_USED   0x1200
#define RING_SIZE   8
#define REQ_HEADER  0x2000
#define REQ_STATUS  0x2010
#define PAGE_TABLES 0x3000 /* three pages, for KVM */

#define ROM_SCRIPT 0x000f1000
#define ROM_TEXT   0x000f2000

#define PORT_CONSOLE  0x10 /* one character */
#define PORT_DOORBELL 0x20 /* the disk's ring has something new */
#define PORT_PROGRESS 0x30 /* steps done */
#define PORT_RESULT   0x40 /* the checksum; the guest is finished */
#define PORT_FAIL     0x50 /* where the guest found what it did not expect */
#define PORT_RAM      0x60 /* 1: the guest wants more RAM, which is there when it goes on; 0: it has let go of it */

#define STEP_END    0 /* report the checksum                                  */
#define STEP_SAY    1 /* write text to the console                            */
#define STEP_FILL   2 /* fill memory with the pattern                         */
#define STEP_CHECK  3 /* compare memory with the pattern, add to the checksum */
#define STEP_READ   4 /* from disk to memory                                  */
#define STEP_WRITE  5 /* from memory to disk                                  */
#define STEP_UNPLUG 6 /* let go of the RAM that was plugged in                */
#define STEP_PLUG   7 /* have RAM plugged in                                  */

#define DISK_OK    0
#define DISK_ERROR 1

/* The ring, and what goes over it, as virtio has them. */
enum { DESC_NEXT = 1, DESC_WRITE = 2 };

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct request_header {
    uint32_t type; /* 0: the disk is read, 1: it is written */
    uint32_t reserved;
    uint64_t sector;
};

/* One step of the script. The code below knows its layout. */
struct step {
    uint16_t code;
    uint16_t status; /* READ, WRITE: the answer that the guest expects */
    uint32_t addr;
    uint32_t size;
    uint32_t extra; /* READ, WRITE: sector; CHECK: address that the pattern was made for, minus addr */
};
_Static_assert(sizeof(struct step) == 16, "the guest's code goes on by 16 bytes");

/* Each 32-bit word of a pattern tells the address that it was made for. */
#define PATTERN_FACTOR 0x9e3779b1

static uint32_t pattern(uint32_t addr)
{
    return addr * PATTERN_FACTOR;
}

static uint32_t checksum_add(uint32_t sum, uint32_t word)
{
    return ((sum << 5) | (sum >> 27)) + word;
}

#define SECTOR_SIZE 512
#define DISK_SIZE   0x200000
#define DISK_FOR    0x40000000u /* the disk comes with the pattern of this address on */

static const char greeting[] = "hello from ROM\n";
static const char farewell[] = "every word is as I left it\n";

static const struct step script[] = {
    {STEP_SAY, 0, ROM_TEXT, sizeof greeting - 1, 0},
    {STEP_FILL, 0, 0x00020000, 0x40000, 0},
    {STEP_FILL, 0, HIGH_ADDR, 0x600000, 0},
    {STEP_FILL, 0, HIGH_END - 0x80000, 0x80000, 0},
    {STEP_READ, DISK_OK, 0x02400000, 0x100000, 0},
    {STEP_WRITE, DISK_OK, 0x00020000, 0x10000, 2048},
    {STEP_READ, DISK_ERROR, HIGH_END - 0x2000, 0x3000, 0}, /* hostile: its second half runs past the end of RAM */
    {STEP_READ, DISK_ERROR, ROM_ADDR, 0x1000, 0},          /* hostile: into the ROM */
    {STEP_FILL, 0, 0x03000000, 0x280000, 0},
#define STOP_AFTER 9 /* here the machine is saved; what follows runs in its successor */
    {STEP_FILL, 0, 0x03280000, 0x580000, 0},
    {STEP_READ, DISK_OK, 0x00070000, 0x10000, 2048}, /* what was written before the stop */
    {STEP_PLUG, 0, 0, 0, 0},
    {STEP_FILL, 0, PLUG_ADDR, 0x800000, 0},
    {STEP_WRITE, DISK_OK, PLUG_ADDR - 0x4000, 0x10000, 3072}, /* its first half lies in old RAM and in new */
    {STEP_READ, DISK_OK, PLUG_END - 0x10000, 0x10000, 3072},
    {STEP_CHECK, 0, PLUG_ADDR, 0x800000, 0},
    {STEP_CHECK, 0, PLUG_END - 0x10000, 0x10000, PLUG_ADDR - 0x4000u - (PLUG_END - 0x10000u)},
    {STEP_UNPLUG, 0, 0, 0, 0},
    {STEP_WRITE, DISK_ERROR, PLUG_ADDR - 0x4000, 0x10000, 3072}, /* hostile: it has let go of that */
    {STEP_CHECK, 0, 0x00020000, 0x40000, 0},
    {STEP_CHECK, 0, 0x00070000, 0x10000, 0x00020000u - 0x00070000u},
    {STEP_CHECK, 0, HIGH_ADDR, 0x600000, 0},
    {STEP_CHECK, 0, 0x02400000, 0x100000, DISK_FOR - 0x02400000u},
    {STEP_CHECK, 0, 0x03000000, 0x800000, 0},
    {STEP_CHECK, 0, HIGH_END - 0x80000, 0x80000, 0},
    {STEP_SAY, 0, ROM_TEXT + sizeof greeting - 1, sizeof farewell - 1, 0},
    {STEP_END, 0, 0, 0, 0},
};
#define STEPS (sizeof script / sizeof script[0])

/* What the guest must come to, from the script alone: no guest memory is looked at. */
static uint32_t expected_checksum(void)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < STEPS; i++)
        for (uint32_t at = 0; script[i].code == STEP_CHECK && at < script[i].size; at += 4)
            sum = checksum_add(sum, pattern(script[i].addr + at + script[i].extra));
    return sum;
}

#if defined(__x86_64__)
extern const unsigned char guest_code[];
extern const uint32_t guest_code_size;

#define STR(x) #x
#define EQU(name) EQU_(name, #name)
#define EQU_(value, name) ".set " name ", " STR(value) "\n"

/* 64-bit code, at user level with the right to ports. ebx: step; edi, ecx: its address, size; ebp: checksum. */
__asm__(".pushsection .rodata\n"
        ".globl guest_code, guest_code_size\n"
        ".hidden guest_code, guest_code_size\n"
        EQU(ROM_SCRIPT) EQU(RING_DESC) EQU(RING_AVAIL) EQU(RING_USED) EQU(RING_SIZE) EQU(REQ_HEADER) EQU(REQ_STATUS)
        EQU(PORT_CONSOLE) EQU(PORT_DOORBELL) EQU(PORT_PROGRESS) EQU(PORT_RESULT) EQU(PORT_FAIL) EQU(PORT_RAM)
        EQU(STEP_SAY) EQU(STEP_FILL) EQU(STEP_CHECK) EQU(STEP_READ) EQU(STEP_UNPLUG) EQU(PATTERN_FACTOR)
"guest_code:    cld\n"
"               xorl   %ebp, %ebp\n"
"               movl   $ROM_SCRIPT, %ebx\n"
".Lnext:        movl   4(%rbx), %edi\n"
"               movl   8(%rbx), %ecx\n"
"               movzwl (%rbx), %eax\n"
"               cmpl   $STEP_SAY, %eax\n"
"               je     .Lsay\n"
"               cmpl   $STEP_FILL, %eax\n"
"               je     .Lfill\n"
"               cmpl   $STEP_CHECK, %eax\n"
"               je     .Lcheck\n"
"               cmpl   $STEP_UNPLUG, %eax\n"
"               jae    .Lram\n"
"               cmpl   $STEP_READ, %eax\n"
"               jae    .Ldisk\n"
"               movl   %ebp, %eax\n"                    /* the end */
"               outl   %eax, $PORT_RESULT\n"
"               ud2\n"

".Ldone:        addl   $16, %ebx\n"                     /* sizeof(struct step) */
"               leal   -ROM_SCRIPT(%rbx), %eax\n"
"               shrl   $4, %eax\n"
"               outl   %eax, $PORT_PROGRESS\n"
"               jmp    .Lnext\n"

".Lfail:        movl   %edi, %eax\n"
"               outl   %eax, $PORT_FAIL\n"
"               ud2\n"

".Lsay:         movb   (%rdi), %al\n"
"               outb   %al, $PORT_CONSOLE\n"
"               incl   %edi\n"
"               loop   .Lsay\n"
"               jmp    .Ldone\n"

".Lfill:        shrl   $2, %ecx\n"
"1:             imull  $PATTERN_FACTOR, %edi, %eax\n"
"               stosl\n"
"               loop   1b\n"
"               jmp    .Ldone\n"

".Lcheck:       movl   12(%rbx), %esi\n"                /* esi: the address that the pattern was made for */
"               addl   %edi, %esi\n"
"               shrl   $2, %ecx\n"
"1:             imull  $PATTERN_FACTOR, %esi, %eax\n"
"               cmpl   (%rdi), %eax\n"
"               jne    .Lfail\n"
"               roll   $5, %ebp\n"
"               addl   %eax, %ebp\n"
"               addl   $4, %esi\n"
"               addl   $4, %edi\n"
"               loop   1b\n"
"               jmp    .Ldone\n"

".Lram:         subl   $STEP_UNPLUG, %eax\n"            /* 0: let go, 1: more */
"               outl   %eax, $PORT_RAM\n"
"               jmp    .Ldone\n"

/* A disk request is a chain of four descriptors: header, data in two halves, status byte. */
".Ldisk:        subl   $STEP_READ, %eax\n"              /* header: type (0 read, 1 write), 0, sector */
"               movl   %eax, REQ_HEADER\n"
"               movl   12(%rbx), %edx\n"
"               movl   %edx, REQ_HEADER + 8\n"
"               movb   $0xff, REQ_STATUS\n"
"               movl   $REQ_HEADER, RING_DESC\n"        /* desc[0]: the header; NEXT, 1 */
"               movl   $16, RING_DESC + 8\n"
"               movl   $0x10001, RING_DESC + 12\n"
"               xorl   $1, %eax\n"
"               leal   0x20001(, %rax, 2), %eax\n"      /* NEXT, 2 and, if the disk is read, WRITE */
"               shrl   $1, %ecx\n"
"               movl   %edi, RING_DESC + 16\n"          /* desc[1]: the first half */
"               movl   %ecx, RING_DESC + 24\n"
"               movl   %eax, RING_DESC + 28\n"
"               addl   %ecx, %edi\n"
"               addl   $0x10000, %eax\n"
"               movl   %edi, RING_DESC + 32\n"          /* desc[2]: the second half */
"               movl   %ecx, RING_DESC + 40\n"
"               movl   %eax, RING_DESC + 44\n"
"               movl   $REQ_STATUS, RING_DESC + 48\n"   /* desc[3]: the status byte; WRITE */
"               movl   $1, RING_DESC + 56\n"
"               movl   $2, RING_DESC + 60\n"
"               movzwl RING_AVAIL + 2, %eax\n"
"               movl   %eax, %edx\n"
"               andl   $RING_SIZE - 1, %edx\n"
"               movw   $0, RING_AVAIL + 4(, %rdx, 2)\n" /* avail.ring[idx % size] = 0 */
"               incl   %eax\n"
"               movw   %ax, RING_AVAIL + 2\n"           /* x86 keeps stores in order: a release */
"               outl   %eax, $PORT_DOORBELL\n"
"1:             pause\n"
"               cmpw   %ax, RING_USED + 2\n"
"               jne    1b\n"
"               movzbl REQ_STATUS, %eax\n"
"               cmpw   %ax, 2(%rbx)\n"
"               jne    .Lfail\n"
"               jmp    .Ldone\n"
".balign 4\n"
"guest_code_size:\n"
"               .long  . - guest_code\n"
".popsection\n");
#endif

#endif
