// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * minivm: a small virtual machine monitor, on guest memory held by libguestmem.
 *
 * A guest of its own (64-bit code in a ROM) fills memory with patterns and asks a disk for blocks through a virtio-like
 * ring; three times it asks for what it must not have. Half way it is stopped and saved, its machine is taken down,
 * another is built from what was saved, and the guest goes on where it was, has more RAM plugged in and taken out
 * again, and checks that all is as it left it. It was saved as an image too, and does so once more in a machine whose
 * memory is that image, mapped.
 *
 *     cc minivm.c $(pkg-config --cflags --libs guestmem) -o minivm && ./minivm [--no-kvm] [--image FILE]
 *
 * This file is what a monitor does with guest memory. Beside it in minivm/: the guest (guest.h), its vCPU (vcpu.h) by
 * KVM (kvm.h) or, where there is none, played in C (played.h), and the host program's small needs (host.h).
 *
 * The guest is never trusted: whatever comes from it (addresses, lengths, indexes, port writes) is loaded once and
 * checked, by the library where it is about memory and here where it is not.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <guestmem.h>

#include "minivm/guest.h"
#include "minivm/host.h"
#include "minivm/played.h"
#include "minivm/vcpu.h"
#if HAVE_KVM
#include "minivm/kvm.h"
#endif

/* ---- 1. Guest memory --------------------------------------------------------------------------------------------- */

enum { LOW, ROM, HIGH, REGIONS }; /* their indexes, and their slots */
enum { PLUG_SLOT = REGIONS }; /* of what is plugged in, whatever its index */

static const char *const region_name[REGIONS] = {"low RAM", "ROM", "high RAM"};

struct memory {
    struct guestmem *all; /* what the guest and its devices see */
    struct guestmem *ram; /* the same RAM without the ROM: what a snapshot holds and a restore may write */
};

static struct memory memory_create(int rom_fd)
{
    const struct guestmem_region_options options[REGIONS] = {
        [LOW] = {.guest_addr = LOW_ADDR, .size = LOW_SIZE},
        [ROM] = {.guest_addr = ROM_ADDR,
                 .size = ROM_SIZE,
                 .fd = rom_fd,
                 .flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY,
                 .purpose = GUESTMEM_PURPOSE_BIOS},
        [HIGH] = {.guest_addr = HIGH_ADDR, .size = HIGH_SIZE},
    };
    struct guestmem_region *region[REGIONS];
    struct memory memory;

    for (size_t i = 0; i < REGIONS; i++)
        must(guestmem_region_new(&options[i], sizeof options[i], &region[i]), region_name[i]);
    must(guestmem_from_regions(region, REGIONS, &memory.all), "guest memory");

    struct guestmem_region *const ram[] = {region[LOW], region[HIGH]};
    must(guestmem_from_regions(ram, 2, &memory.ram), "guest RAM");

    for (size_t i = 0; i < REGIONS; i++)
        guestmem_region_unref(region[i]); /* the two memories hold references of their own */
    return memory;
}

static void memory_destroy(struct memory *memory)
{
    guestmem_unref(memory->ram);
    guestmem_unref(memory->all);
}

/* The ROM: the script and its texts and, for a CPU that understands it, the code. */
static int rom_build(void)
{
    int fd = temp_file();
    if (ftruncate(fd, ROM_SIZE) != 0)
        die("ROM file: %s", strerror(errno));
#if HAVE_KVM
    file_write(fd, guest_code, guest_code_size, 0);
#endif
    file_write(fd, script, sizeof script, ROM_SCRIPT - ROM_ADDR);
    file_write(fd, greeting, sizeof greeting - 1, ROM_TEXT - ROM_ADDR);
    file_write(fd, farewell, sizeof farewell - 1, ROM_TEXT - ROM_ADDR + sizeof greeting - 1);
    return fd;
}

/* ---- 2. The disk: follows a virtio-like split ring in guest memory ----------------------------------------------- */

struct disk {
    int fd;
    uint16_t next; /* index in the available ring of the next request; part of the machine's state */
};

struct chain {
    struct guestmem_access range[RING_SIZE]; /* what the disk may do there is the guest's word too */
    size_t count;
};

static bool to_write(const struct guestmem_access *range)
{
    return range->access == GUESTMEM_ACCESS_WRITE;
}

/* Each descriptor is read once. False if the chain leads out of the table or in circles, or is too short. */
static bool chain_read(const struct guestmem *mem, uint16_t head, struct chain *chain)
{
    struct desc desc = {.flags = DESC_NEXT, .next = head};
    for (chain->count = 0; desc.flags & DESC_NEXT; chain->count++) {
        if (desc.next >= RING_SIZE || chain->count == RING_SIZE)
            return false;
        must(guestmem_dma_read(mem, RING_DESC + desc.next * sizeof desc, &desc, sizeof desc), "descriptor");
        chain->range[chain->count] = (struct guestmem_access){
            .guest_addr = desc.addr,
            .size = desc.len,
            .access = desc.flags & DESC_WRITE ? GUESTMEM_ACCESS_WRITE : GUESTMEM_ACCESS_READ,
        };
    }
    return chain->count >= 3;
}

/* The translated chain is an array for preadv(2) and pwritev(2) as it is: straight between file and guest memory. */
static const char *disk_move(int fd, bool read, const struct guestmem_slice *slices, size_t count, uint64_t bytes,
                             uint64_t at)
{
    const struct iovec *pieces = (const struct iovec *)(const void *)slices;
    ssize_t n = read ? preadv(fd, pieces, (int)count, (off_t)at) : pwritev(fd, pieces, (int)count, (off_t)at);
    return n >= 0 && (uint64_t)n == bytes ? NULL : "short transfer with the disk's file";
}

/* Returns NULL or what is wrong with the request; nothing that a guest asks for is fatal. */
static const char *disk_transfer(const struct guestmem *mem, const struct disk *disk, const struct chain *chain,
                                 struct request_header *header, uint64_t *bytes, struct text *error)
{
    struct guestmem_slice slices[2 * RING_SIZE]; /* a range over regions that touch gives more than one slice */
    size_t slice_count;

    /*
     * One call checks the data buffers of the whole chain: a bad one is found before the first is used. It is told
     * which of them will be written, or a guest that names its ROM as a buffer to be filled would kill this process.
     */
    if (guestmem_dma_read(mem, chain->range[0].guest_addr, header, sizeof *header) != GUESTMEM_OK ||
        guestmem_translate_for(mem, &chain->range[1], chain->count - 2, slices, 2 * RING_SIZE, &slice_count) !=
            GUESTMEM_OK) {
        *error = last_error();
        return error->s;
    }
    if (header->type > 1)
        return "unknown request";
    const bool read = header->type == 0;
    for (size_t i = 1; i < chain->count - 1; i++) {
        if (read && !to_write(&chain->range[i]))
            return "the buffer is not for writing";
        *bytes += chain->range[i].size;
    }
    if (header->sector > DISK_SIZE / SECTOR_SIZE || *bytes > DISK_SIZE - header->sector * SECTOR_SIZE)
        return "past the end of the disk";
    return disk_move(disk->fd, read, slices, slice_count, *bytes, header->sector * SECTOR_SIZE);
}

/* Serves one request and tells of it; the number of bytes that the guest's buffers received. */
static uint32_t disk_request(const struct guestmem *mem, const struct disk *disk, uint16_t head)
{
    struct chain chain;
    struct request_header header = {0};
    struct text error;
    uint64_t bytes = 0, start = now_ns();

    if (!chain_read(mem, head, &chain)) {
        tell(0, "disk   refuses a malformed chain");
        return 0;
    }
    const char *wrong = disk_transfer(mem, disk, &chain, &header, &bytes, &error);
    const uint8_t status = wrong ? DISK_ERROR : DISK_OK;
    if (wrong)
        tell(0, "disk   refuses: %s", wrong);
    else
        tell(now_ns() - start, "disk   %s %s, sector %" PRIu64 " %s 0x%08" PRIx64, header.type ? "writes" : "reads",
             size_text(bytes).s, header.sector, header.type ? "from" : "to", chain.range[1].guest_addr);

    const size_t last = chain.count - 1;
    if (!to_write(&chain.range[last]) ||
        guestmem_dma_write(mem, chain.range[last].guest_addr, &status, 1) != GUESTMEM_OK)
        return 0;
    return status == DISK_OK && header.type == 0 ? (uint32_t)bytes + 1 : 1;
}

/* The rings are translated once for all requests; then each index costs one inline access. */
static void disk_doorbell(const struct guestmem *mem, struct disk *disk)
{
    struct guestmem_slice avail, used;
    uint16_t produced = 0, head = 0;
    must(guestmem_get_slice(mem, RING_AVAIL, 4 + 2 * RING_SIZE, &avail), "available ring");
    must(guestmem_get_slice_writable(mem, RING_USED, 4 + 8 * RING_SIZE, &used), "used ring");

    guestmem_slice_load_u16(avail, 2, GUESTMEM_ACQUIRE, &produced);
    if ((uint16_t)(produced - disk->next) > RING_SIZE)
        die("the guest claims more requests than its ring holds");
    while (disk->next != produced) {
        const size_t slot = disk->next % RING_SIZE;
        guestmem_slice_load_u16(avail, 4 + 2 * slot, GUESTMEM_RELAXED, &head);
        const uint32_t element[2] = {head, disk_request(mem, disk, head)};
        must(guestmem_slice_write(used, 4 + 8 * slot, element, sizeof element), "used ring");
        disk->next++;
        guestmem_slice_store_u16(used, 2, disk->next, GUESTMEM_RELEASE);
    }
}

static int disk_build(void)
{
    int fd = temp_file();
    uint32_t words[1024];
    for (uint32_t at = 0; at < DISK_SIZE; at += (uint32_t)sizeof words) {
        for (uint32_t i = 0; i < 1024; i++)
            words[i] = pattern(DISK_FOR + at + 4 * i);
        file_write(fd, words, sizeof words, at);
    }
    return fd;
}

/* ---- 3. The machine ---------------------------------------------------------------------------------------------- */

struct machine {
    struct memory memory;
    struct disk disk;
    struct vcpu vcpu;
};

static void machine_create(struct machine *m, const struct vcpu_kind *kind, int rom_fd, int disk_fd)
{
    *m = (struct machine){.memory = memory_create(rom_fd), .disk = {.fd = disk_fd}};
    m->vcpu = (struct vcpu){.kind = kind, .mem = m->memory.all};
    kind->create(&m->vcpu);
}

/* All memory comes from an image, copy-on-write: at once, whatever its size. The ROM in it is RAM now. */
static void machine_create_from_image(struct machine *m, const struct vcpu_kind *kind, const char *image, int disk_fd)
{
    const struct guestmem_load_options options = {.flags = GUESTMEM_LOAD_MAP};
    *m = (struct machine){.disk = {.fd = disk_fd}};
    must(guestmem_load(image, &options, sizeof options, &m->memory.all), image);
    m->memory.ram = guestmem_ref(m->memory.all);
    m->vcpu = (struct vcpu){.kind = kind, .mem = m->memory.all};
    kind->create(&m->vcpu);
}

static void machine_destroy(struct machine *m)
{
    m->vcpu.kind->destroy(&m->vcpu);
    memory_destroy(&m->memory);
}

/*
 * While the guest runs. The devices know the new RAM before the guest does, so that they find what it tells them of.
 * Nothing is saved while it is there: memory.ram can go without it.
 */
static void ram_plug(struct machine *m)
{
    const struct guestmem_region_options options = {.guest_addr = PLUG_ADDR, .size = PLUG_SIZE};
    struct guestmem_region *region;
    struct guestmem_region_info info;

    const uint64_t start = now_ns();
    must(guestmem_region_new(&options, sizeof options, &region), "RAM to plug in");
    must(guestmem_add_region(m->memory.all, region), "RAM to plug in");
    guestmem_region_unref(region); /* the memory holds a reference of its own */
    must(guestmem_find_region(m->memory.all, PLUG_ADDR, &info, sizeof info, NULL), "RAM to plug in");
    m->vcpu.kind->map(&m->vcpu, PLUG_SLOT, &info);
    tell(now_ns() - start, "host   plugs in %s of RAM at 0x%08" PRIx32, size_text(PLUG_SIZE).s, PLUG_ADDR);
}

/*
 * In this order. The guest may say that it has let go, and write on: as long as the slot is there it writes to host
 * addresses, and after the last reference these are free for anything else in this process.
 */
static void ram_unplug(struct machine *m)
{
    struct guestmem_region *region;

    const uint64_t start = now_ns();
    m->vcpu.kind->unmap(&m->vcpu, PLUG_SLOT);
    must(guestmem_remove_region(m->memory.all, PLUG_ADDR, &region), "RAM to take out");
    /* The disk works in this thread and keeps no pointers but to its rings: no call is under way. */
    guestmem_region_unref(region);
    tell(now_ns() - start, "host   takes that RAM out again, from the vCPU first");
}

/* Each change costs the host a little memory until the machine goes: no guest may make them without end. */
static void ram_request(struct machine *m, bool wanted)
{
    enum { CHANGES_ALLOWED = 100 };
    if (guestmem_generation(m->memory.all) >= CHANGES_ALLOWED)
        die("the guest has RAM plugged in and taken out too often");
    if (wanted == guestmem_address_in_range(m->memory.all, PLUG_ADDR))
        return;
    if (wanted)
        ram_plug(m);
    else
        ram_unplug(m);
}

static void console_write(char c)
{
    static char line[64];
    static size_t len;
    if (c != '\n' && len < sizeof line)
        line[len++] = c >= ' ' && c <= '~' ? c : '?'; /* no control characters from a guest to a terminal */
    if (c == '\n' || len == sizeof line) {
        tell(0, "guest  says \"%.*s\"", (int)len, line);
        len = 0;
    }
}

static void tell_step(const struct step *step, uint64_t ns)
{
    if (step->code == STEP_FILL || step->code == STEP_CHECK)
        tell(ns, "guest  %s %s at 0x%08" PRIx32, step->code == STEP_FILL ? "fills" : "checks",
             size_text(step->size).s, step->addr);
}

/* Runs the guest until it has done `stop_after` steps, or is finished: then returns true. */
static bool machine_run(struct machine *m, uint32_t stop_after, uint32_t *checksum)
{
    uint64_t start = now_ns();
    for (;;) {
        struct port_write out = m->vcpu.kind->run(&m->vcpu);
        switch (out.port) {
        case PORT_CONSOLE:
            console_write((char)out.value);
            break;
        case PORT_DOORBELL:
            disk_doorbell(m->memory.all, &m->disk);
            break;
        case PORT_RAM:
            ram_request(m, out.value != 0);
            break;
        case PORT_PROGRESS:
            if (out.value < 1 || out.value > STEPS)
                die("the guest reports a step that does not exist");
            tell_step(&script[out.value - 1], now_ns() - start);
            start = now_ns();
            if (out.value == stop_after)
                return false;
            break;
        case PORT_RESULT:
            *checksum = out.value;
            return true;
        case PORT_FAIL:
            die("the guest found what it did not expect at 0x%08" PRIx32, out.value);
        default:
            die("the guest wrote to port 0x%x, where nothing is", out.port);
        }
    }
}

/* ---- 4. Saving and restoring: a file with the state, and one with the memory, as a stream or as an image ---------- */

struct saved {
    struct vcpu_state vcpu;
    uint64_t disk_next;
    uint64_t metadata_len; /* the metadata follows */
};

/* `fd` stands at the end of the data, after a snapshot as after a restore. */
static void tell_transfer(const char *verb, const struct guestmem *ram, int fd, uint64_t ns)
{
    const off_t bytes = lseek(fd, 0, SEEK_CUR);
    tell(ns, "host   %s memory, %s of data in %s of RAM, %s/s", verb, size_text((uint64_t)bytes).s,
         size_text(guestmem_memory_size(ram)).s, size_text((uint64_t)((double)bytes / (double)ns * 1e9)).s);
}

static void machine_save(struct machine *m, int state_fd, int memory_fd)
{
    struct saved saved;
    char *metadata;
    memset(&saved, 0, sizeof saved); /* its padding too: it goes to a file */
    m->vcpu.kind->save(&m->vcpu, &saved.vcpu);
    saved.disk_next = m->disk.next;

    const uint64_t start = now_ns();
    must(guestmem_snapshot(m->memory.ram, memory_fd, NULL, 0, &metadata), "snapshot");
    tell_transfer("saves", m->memory.ram, memory_fd, now_ns() - start);

    saved.metadata_len = strlen(metadata);
    file_write(state_fd, &saved, sizeof saved, 0);
    file_write(state_fd, metadata, saved.metadata_len, sizeof saved);
    tell(0, "host   saves vCPU and disk, %s, and the snapshot's metadata, %s", size_text(sizeof saved).s,
         size_text(saved.metadata_len).s);
    guestmem_free(metadata);
}

static void image_save(const struct machine *m, const char *path)
{
    struct stat stat_now;
    const uint64_t start = now_ns();
    must(guestmem_save(m->memory.all, path, NULL, 0), path);
    const uint64_t ns = now_ns() - start;
    if (stat(path, &stat_now) != 0)
        die("%s: %s", path, strerror(errno));
    tell(ns, "host   saves memory as an image too, %s on disk, synced",
         size_text((uint64_t)stat_now.st_blocks * 512).s);
}

/* What is not memory. */
static void state_restore(struct machine *m, const struct saved *saved)
{
    m->disk.next = (uint16_t)saved->disk_next;
    m->vcpu.kind->load(&m->vcpu, &saved->vcpu);
}

static void machine_restore(struct machine *m, int state_fd, int memory_fd)
{
    struct saved saved;
    file_read(state_fd, &saved, sizeof saved, 0);
    char *metadata = malloc(saved.metadata_len);
    if (!metadata)
        die("no memory for the metadata");
    file_read(state_fd, metadata, saved.metadata_len, sizeof saved);
    if (lseek(memory_fd, 0, SEEK_SET) != 0)
        die("the snapshot's file: %s", strerror(errno));

    const uint64_t start = now_ns();
    must(guestmem_restore(m->memory.ram, metadata, saved.metadata_len, memory_fd, NULL, 0), "restore");
    tell_transfer("restores", m->memory.ram, memory_fd, now_ns() - start);
    free(metadata);

    state_restore(m, &saved);
}

/* ---- 5. The story ------------------------------------------------------------------------------------------------ */

static void tell_layout(const struct guestmem *mem)
{
    uint64_t end = 0;
    for (size_t i = 0; i < guestmem_num_regions(mem); i++) {
        struct guestmem_region_info r = region_info(mem, i);
        if (r.guest_addr > end)
            tell(0, "(hole)%*s%10s", 30, "", size_text(r.guest_addr - end).s);
        end = r.guest_addr + r.size;
        tell(0, "%-9s  0x%08" PRIx64 " - 0x%08" PRIx64 "  %10s  %s", region_name[i], r.guest_addr, end - 1,
             size_text(r.size).s, r.flags & GUESTMEM_REGION_READ_ONLY ? "read-only, from a file" : "read and write");
    }
}

/* Bytes of data between two offsets of a file; the holes have never been written. */
static uint64_t data_between(int fd, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;
    while (from < to) {
        off_t data = lseek(fd, (off_t)from, SEEK_DATA);
        off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (hole < 0 || (uint64_t)data >= to)
            break;
        from = (uint64_t)hole < to ? (uint64_t)hole : to;
        sum += from - (uint64_t)data;
    }
    return sum;
}

/*
 * A line for each region. The backing file is asked, not the memory: looking at a page that was never written would
 * allocate it. It is opened anew, because the file offset of the descriptor is not ours to move.
 */
static void tell_picture(const struct guestmem *mem)
{
    enum { CELLS = 64 };
    static const char *const shade[] = {"·", "░", "▒", "▓", "█"};

    for (size_t i = 0; i < guestmem_num_regions(mem); i++) {
        struct guestmem_region_info r = region_info(mem, i);
        const uint64_t cell = r.size / CELLS;
        char path[40];
        snprintf(path, sizeof path, "/proc/thread-self/fd/%" PRId32, r.fd);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            die("%s: %s", path, strerror(errno));

        printf("  %-9s ", region_name[i]);
        for (uint64_t at = r.fd_offset; at < r.fd_offset + r.size; at += cell)
            fputs(shade[(data_between(fd, at, at + cell) * 4 + cell - 1) / cell], stdout);
        printf(" %8s\n", size_text(data_between(fd, r.fd_offset, r.fd_offset + r.size)).s);
        close(fd);
    }
}

static const struct vcpu_kind *vcpu_choose(bool no_kvm, struct text *why_not)
{
    if (no_kvm)
        snprintf(why_not->s, sizeof why_not->s, "--no-kvm was asked for");
#if HAVE_KVM
    else if (kvm_usable(why_not))
        return &kvm_vcpu;
#else
    else
        snprintf(why_not->s, sizeof why_not->s, "the guest's code is for x86-64");
#endif
    return &played_vcpu;
}

struct options {
    bool no_kvm;
    const char *image; /* NULL: a temporary file */
};

static struct options options_read(int argc, char **argv)
{
    struct options options = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-kvm") == 0)
            options.no_kvm = true;
        else if (strcmp(argv[i], "--image") == 0 && i + 1 < argc)
            options.image = argv[++i];
        else
            die("usage: minivm [--no-kvm] [--image FILE]");
    }
    return options;
}

static void check(uint32_t checksum)
{
    const uint32_t expected = expected_checksum();
    if (checksum != expected)
        die("the guest's checksum is 0x%08" PRIx32 ", it should be 0x%08" PRIx32, checksum, expected);
}

/* The saved machine again, of the image. What it does was told before. */
static uint32_t run_from_image(const struct vcpu_kind *kind, const char *image, int disk_fd, int state_fd)
{
    struct machine third;
    struct saved saved;
    uint32_t checksum;

    const uint64_t start = now_ns();
    machine_create_from_image(&third, kind, image, disk_fd);
    heading("Once more, in a machine whose memory is the image, mapped", now_ns() - start);
    file_read(state_fd, &saved, sizeof saved, 0);
    state_restore(&third, &saved);
    mute(true);
    const uint64_t run = now_ns();
    if (!machine_run(&third, 0, &checksum))
        die("the guest stopped unasked");
    mute(false);
    tell(now_ns() - run, "guest  does all that again, pages coming as they are used");
    machine_destroy(&third);
    return checksum;
}

int main(int argc, char **argv)
{
    const struct options options = options_read(argc, argv);
    struct text why_not, path;
    const struct vcpu_kind *kind = vcpu_choose(options.no_kvm, &why_not);
    if (kind == &played_vcpu)
        printf("skipped: no KVM: %s; the guest's part is played in C\n\n", why_not.s);
    printf("minivm: a guest %s, on memory held by libguestmem %s\n", kind->name, guestmem_version_string());

    const int rom_fd = rom_build(), disk_fd = disk_build();
    const int state_fd = temp_file(), memory_fd = temp_file();
    const char *const image = options.image ? options.image : temp_path(&path);
    struct machine first, second;
    uint32_t checksum;

    uint64_t start = now_ns();
    machine_create(&first, kind, rom_fd, disk_fd);
    heading("A machine is built", now_ns() - start);
    tell_layout(first.memory.all);

    heading("The guest starts in ROM", 0);
    if (machine_run(&first, STOP_AFTER, &checksum))
        die("the guest was finished before it could be stopped");

    heading("It is stopped half way. Where its memory holds data:", 0);
    tell_picture(first.memory.all);
    machine_save(&first, state_fd, memory_fd);
    image_save(&first, image);
    machine_destroy(&first);

    start = now_ns();
    machine_create(&second, kind, rom_fd, disk_fd);
    heading("That machine is gone, and another is built", now_ns() - start);
    machine_restore(&second, state_fd, memory_fd);

    heading("The guest goes on where it was", 0);
    if (!machine_run(&second, 0, &checksum))
        die("the guest stopped unasked");

    heading("It is finished. Where its memory holds data:", 0);
    tell_picture(second.memory.all);
    machine_destroy(&second);
    check(checksum);
    check(run_from_image(kind, image, disk_fd, state_fd));
    printf("\nThe guest's checksum 0x%08" PRIx32 " is twice the one that the host expects: all is well.\n", checksum);

    if (!options.image)
        unlink(image);
    close(rom_fd);
    close(disk_fd);
    close(state_fd);
    close(memory_fd);
    return EXIT_SUCCESS;
}
