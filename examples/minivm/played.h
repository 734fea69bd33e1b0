// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The vCPU where there is no KVM: the same script from the same ROM, each access through the library. */
#ifndef MINIVM_PLAYED_H
#define MINIVM_PLAYED_H

#include <stdbool.h>

#include "guest.h"
#include "host.h"
#include "vcpu.h"

static void play_fill(const struct guestmem *mem, const struct step *step)
{
    uint32_t words[1024];
    for (uint32_t at = 0; at < step->size; at += (uint32_t)sizeof words) {
        for (uint32_t i = 0; i < 1024; i++)
            words[i] = pattern(step->addr + at + 4 * i);
        must(guestmem_write_all(mem, step->addr + at, words, sizeof words), "fill");
    }
}

/* False, and the address of the word in *wrong, if memory does not hold the pattern. */
static bool play_check(const struct guestmem *mem, const struct step *step, uint32_t *checksum, uint32_t *wrong)
{
    uint32_t words[1024];
    for (uint32_t at = 0; at < step->size; at += (uint32_t)sizeof words) {
        must(guestmem_read_exact(mem, step->addr + at, words, sizeof words), "check");
        for (uint32_t i = 0; i < 1024; i++) {
            *wrong = step->addr + at + 4 * i;
            if (words[i] != pattern(*wrong + step->extra))
                return false;
            *checksum = checksum_add(*checksum, words[i]);
        }
    }
    return true;
}

static void play_disk_request(const struct guestmem *mem, const struct step *step)
{
    const struct request_header header = {.type = step->code - STEP_READ, .sector = step->extra};
    const uint16_t write = step->code == STEP_READ ? DESC_WRITE : 0;
    const uint32_t half = step->size / 2;
    const struct desc chain[] = {
        {REQ_HEADER, sizeof header, DESC_NEXT, 1},
        {step->addr, half, DESC_NEXT | write, 2},
        {(uint64_t)step->addr + half, half, DESC_NEXT | write, 3},
        {REQ_STATUS, 1, DESC_WRITE, 0},
    };
    uint16_t avail;
    must(guestmem_write_all(mem, REQ_HEADER, &header, sizeof header), "request");
    must(guestmem_write_u8(mem, REQ_STATUS, 0xff), "request");
    must(guestmem_write_all(mem, RING_DESC, chain, sizeof chain), "ring");
    must(guestmem_read_u16(mem, RING_AVAIL + 2, &avail), "ring");
    must(guestmem_write_u16(mem, RING_AVAIL + 4 + 2u * (avail % RING_SIZE), 0), "ring");
    must(guestmem_store_u16(mem, RING_AVAIL + 2, (uint16_t)(avail + 1), GUESTMEM_RELEASE), "ring");
}

static bool play_disk_answer(const struct guestmem *mem, const struct step *step)
{
    uint16_t avail, used;
    uint8_t status;
    must(guestmem_read_u16(mem, RING_AVAIL + 2, &avail), "ring");
    must(guestmem_load_u16(mem, RING_USED + 2, GUESTMEM_ACQUIRE, &used), "ring");
    must(guestmem_read_u8(mem, REQ_STATUS, &status), "request");
    return used == avail && status == step->status;
}

/* What the library sees the guest sees: there is nothing to tell it. */
static void played_map(struct vcpu *vcpu, uint32_t slot, const struct guestmem_region_info *region)
{
    (void)vcpu, (void)slot, (void)region;
}

static void played_unmap(struct vcpu *vcpu, uint32_t slot)
{
    (void)vcpu, (void)slot;
}

static struct port_write played_run(struct vcpu *vcpu)
{
    struct played *cpu = &vcpu->played;
    struct step step;
    uint32_t wrong;
    uint8_t c;
    must(guestmem_read_exact(vcpu->mem, ROM_SCRIPT + cpu->step * sizeof step, &step, sizeof step), "step");

    switch (step.code) {
    case STEP_SAY:
        if (cpu->done_in_step == step.size)
            break;
        must(guestmem_read_u8(vcpu->mem, step.addr + cpu->done_in_step++, &c), "text");
        return (struct port_write){PORT_CONSOLE, c};
    case STEP_FILL:
        play_fill(vcpu->mem, &step);
        break;
    case STEP_CHECK:
        if (!play_check(vcpu->mem, &step, &cpu->checksum, &wrong))
            return (struct port_write){PORT_FAIL, wrong};
        break;
    case STEP_READ:
    case STEP_WRITE:
        if (cpu->done_in_step++ == 0) {
            play_disk_request(vcpu->mem, &step);
            return (struct port_write){PORT_DOORBELL, 0};
        }
        if (!play_disk_answer(vcpu->mem, &step))
            return (struct port_write){PORT_FAIL, step.addr};
        break;
    case STEP_UNPLUG:
    case STEP_PLUG:
        if (cpu->done_in_step++ == 0)
            return (struct port_write){PORT_RAM, step.code - STEP_UNPLUG};
        break;
    default:
        return (struct port_write){PORT_RESULT, cpu->checksum};
    }
    cpu->done_in_step = 0;
    return (struct port_write){PORT_PROGRESS, ++cpu->step};
}

static void played_create(struct vcpu *vcpu)
{
    vcpu->played = (struct played){0};
}

static void played_save(struct vcpu *vcpu, struct vcpu_state *state)
{
    state->played = vcpu->played;
}

static void played_load(struct vcpu *vcpu, const struct vcpu_state *state)
{
    vcpu->played = state->played;
}

static void played_destroy(struct vcpu *vcpu)
{
    (void)vcpu; /* holds nothing */
}

static const struct vcpu_kind played_vcpu = {"played in C", played_create, played_map,  played_unmap,
                                             played_run,    played_save,   played_load, played_destroy};

#endif
