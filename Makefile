# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# make            the shared and the static library, into build/, and the examples
# make run        the demonstration: a small KVM guest on guest memory of this library
# make test       the whole suite: Rust tests, and the C programs against each form of the library
# make bench      side by side with plain C; BENCH_ARGS, see benches/README.md; bench-picture draws it
# make fuzz       hostile images and sequences of calls, each for FUZZ_SECONDS=20; see fuzz/README.md
# make doc        the reference manual, into build/doc/html
# make install    PREFIX=/usr/local DESTDIR= LIBDIR=$(PREFIX)/lib

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
CARGO ?= cargo
INSTALL ?= install
STRIP ?= strip
OBJCOPY ?= objcopy
NM ?= nm

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
ABI := $(firstword $(subst ., ,$(VERSION)))
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Apart from where `cargo build` and `cargo bench` put theirs.
SHIP := $(TARGET)/ship
SHARED := build/libguestmem.so.$(VERSION)
STATIC := build/libguestmem.a
HEADERS := include/guestmem.h include/guestmem_inline.h
SOURCES := Cargo.toml Cargo.lock build.rs $(shell find src -name '*.rs')
WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow
EXAMPLES := build/hello build/clone build/minivm build/guestmem-image

all: $(SHARED) $(STATIC) $(EXAMPLES)

# An rlib among the crate types would turn LTO off without a word, so the one is named here.
$(SHIP)/release/libguestmem.a: $(SOURCES)
	$(CARGO) rustc --locked --quiet --release --lib --crate-type staticlib --target-dir $(SHIP)
	@touch $@

# Linked here, as rustc links with a version script of its own that knows no versions, and linkers
# refuse a second one. The libraries are those of `rustc --print native-static-libs`.
$(SHARED): $(SHIP)/release/libguestmem.a packaging/libguestmem.map
	@mkdir -p build
	$(CC) -shared -o $@ $(LDFLAGS) -Wl,--version-script=packaging/libguestmem.map \
	    -Wl,-soname,libguestmem.so.$(ABI) -Wl,-z,nodelete,-z,relro,-z,now,-z,noexecstack,-z,defs \
	    -Wl,-O1,--gc-sections,--as-needed,--whole-archive $< \
	    -Wl,--no-whole-archive -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
	ln -sf $(notdir $@) build/libguestmem.so.$(ABI)
	ln -sf libguestmem.so.$(ABI) build/libguestmem.so

# Hidden, as a plugin or library that is linked with it would otherwise hand out the calls as its own;
# `make STATIC_VISIBILITY=default` for those that want to.
STATIC_VISIBILITY ?= hidden
ARCHIVE = CC="$(CC)" LD="$(LD)" OBJCOPY="$(OBJCOPY)" NM="$(NM)" AR="$(AR)" packaging/archive

# Made anew when the visibility is another.
build/visibility.$(STATIC_VISIBILITY):
	@mkdir -p build
	rm -f build/visibility.*
	touch $@

$(STATIC): $(SHIP)/release/libguestmem.a packaging/archive build/visibility.$(STATIC_VISIBILITY)
	$(ARCHIVE) $< $@ $(STATIC_VISIBILITY)

LINK_EXAMPLE = $(CC) -std=gnu11 -O2 -g $(WARNINGS) $(CFLAGS) -Iinclude -o $@ $< \
    -Lbuild -lguestmem -Wl,-rpath,'$$ORIGIN'

build/%: examples/%.c $(SHARED) $(HEADERS)
	$(LINK_EXAMPLE)

build/minivm: $(wildcard examples/minivm/*.h)

build/guestmem-image: examples/guestmem_image.c $(wildcard examples/guestmem_image/*.h) $(SHARED) $(HEADERS)
	$(LINK_EXAMPLE)

# The image that it leaves is there for guestmem-image to look at.
run: build/minivm build/guestmem-image
	build/minivm --image build/minivm.img
	build/guestmem-image map build/minivm.img

test:
	$(CARGO) test --locked

install: $(SHARED) $(STATIC)
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/guestmem \
	    $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)
	$(INSTALL) -m 644 $(STATIC) $(DESTDIR)$(LIBDIR)
	$(STRIP) --strip-unneeded $(DESTDIR)$(LIBDIR)/$(notdir $(SHARED))
	$(STRIP) --strip-debug $(DESTDIR)$(LIBDIR)/$(notdir $(STATIC))
	ln -sf $(notdir $(SHARED)) $(DESTDIR)$(LIBDIR)/libguestmem.so.$(ABI)
	ln -sf libguestmem.so.$(ABI) $(DESTDIR)$(LIBDIR)/libguestmem.so
	for file in guestmem.pc cmake/guestmem-config.cmake cmake/guestmem-config-version.cmake; do \
	    target=$$(echo $$file | sed 's,^guestmem.pc,pkgconfig/&,; s,^cmake/,cmake/guestmem/,'); \
	    sed -e 's,@PREFIX@,$(PREFIX),g' -e 's,@LIBDIR@,$(LIBDIR),g' \
	        -e 's,@INCLUDEDIR@,$(INCLUDEDIR),g' -e 's,@VERSION@,$(VERSION),g' -e 's,@ABI@,$(ABI),g' \
	        packaging/$$file.in > $(DESTDIR)$(LIBDIR)/$$target || exit 1; \
	done

# What the C programs are built and run against: an installed library, as a user has it.
stage: $(SHARED) $(STATIC)
	$(MAKE) --no-print-directory -s install DESTDIR=$(CURDIR)/build/stage PREFIX=/usr LIBDIR=/usr/lib

# A library that cannot unwind, in place of the shared one.
stage-abort: stage
	$(CARGO) rustc --locked --quiet --profile abort --lib --crate-type cdylib
	rm -rf build/stage-abort
	cp -a build/stage build/stage-abort
	cp $(TARGET)/abort/libguestmem.so build/stage-abort/usr/lib/libguestmem.so.$(VERSION)

# Programs of the suite run the tool too.
check-shared check-static check-abort check-valgrind check-asan: build/guestmem-image

check-shared check-static: check-%: stage
	$(MAKE) --no-print-directory -C c_tests STAGE=$(CURDIR)/build/stage LINK=$* OUT=$(CURDIR)/build/c_tests-$*

check-abort: stage-abort
	$(MAKE) --no-print-directory -C c_tests STAGE=$(CURDIR)/build/stage-abort LINK=shared OUT=$(CURDIR)/build/c_tests-abort

# Where every instruction is expensive the programs do fewer rounds.
INSTRUMENTED := GUESTMEM_TEST_FAST=1 GUESTMEM_TEST_NO_INJECTION=1

# Slots of handles are never freed, but can always be reached.
LEAKS := definite,indirect,possible
VALGRIND := valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=$(LEAKS) \
    --errors-for-leak-kinds=$(LEAKS)

# With the names that installing strips off, so that reports can be read.
stage-valgrind: stage
	rm -rf build/stage-valgrind
	cp -a build/stage build/stage-valgrind
	cp $(SHARED) build/stage-valgrind/usr/lib

check-valgrind: stage-valgrind
	$(INSTRUMENTED) $(MAKE) --no-print-directory -C c_tests STAGE=$(CURDIR)/build/stage-valgrind \
	    LINK=shared OUT=$(CURDIR)/build/c_tests-valgrind RUN="$(VALGRIND)"

# AddressSanitizer in the library too: a compiler feature that stable Rust has to be asked for.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
ASAN := -O1 -g -fsanitize=address

stage-asan: stage
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg guestmem_asan" $(CARGO) rustc --locked \
	    --quiet --release --lib --crate-type cdylib --target $(HOST) --target-dir $(TARGET)/asan
	rm -rf build/stage-asan
	cp -a build/stage build/stage-asan
	cp $(TARGET)/asan/$(HOST)/release/libguestmem.so build/stage-asan/usr/lib/libguestmem.so.$(VERSION)

check-asan: stage-asan
	c_tests/asan/awake build/stage-asan
	$(INSTRUMENTED) $(MAKE) --no-print-directory -C c_tests STAGE=$(CURDIR)/build/stage-asan LINK=shared \
	    OUT=$(CURDIR)/build/c_tests-asan CFLAGS="$(ASAN)" CXXFLAGS="$(ASAN)"

# ThreadSanitizer in the library too. Programs are linked with the runtime that comes with rustc, as
# gcc's lacks functions that its code calls. Rust's standard library is not built for it: what that
# hides is in c_tests/tsan/suppressions.
TSAN := -O1 -g -fsanitize=thread -static-libtsan -L$(CURDIR)/build/tsan-runtime
TSAN_PROGRAMS := handles_race hotplug hotplug_map hotplug_policy hotplug_threads hotplug_whole inline_threads tearing threads

stage-tsan: stage
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg guestmem_asan" \
	    $(CARGO) rustc --locked --quiet --release --lib --crate-type cdylib --target $(HOST) --target-dir $(TARGET)/tsan
	rm -rf build/stage-tsan
	cp -a build/stage build/stage-tsan
	cp $(TARGET)/tsan/$(HOST)/release/libguestmem.so build/stage-tsan/usr/lib/libguestmem.so.$(VERSION)
	mkdir -p build/tsan-runtime
	ln -sf $$(ls $$(rustc --print target-libdir)/librustc*_rt.tsan.a) build/tsan-runtime/libtsan.a

check-tsan: stage-tsan
	c_tests/tsan/awake build/stage-tsan "$(TSAN)"
	TSAN_OPTIONS=suppressions=$(CURDIR)/c_tests/tsan/suppressions $(INSTRUMENTED) $(MAKE) --no-print-directory \
	    -C c_tests STAGE=$(CURDIR)/build/stage-tsan LINK=shared OUT=$(CURDIR)/build/c_tests-tsan CFLAGS="$(TSAN)" \
	    ONLY="$(TSAN_PROGRAMS)"

# Instructions of the hot calls, against c_tests/counts/recorded.
check-counts: stage
	c_tests/counts/run build/stage build/c_tests-counts

# Calls, types and constants, against packaging/abi/. Of the library in build/, as types are in the
# debug information that installing strips off.
check-abi: $(SHARED)
	packaging/abi/check $(SHARED) include/guestmem.h build/abi

# aarch64, the processor that has code of its own here, beside x86-64: run by qemu. Programs about
# pages are not among these, as it does little of what madvise(2) asks for; nor is inline_threads, as
# it lets an ldar pass an earlier stlr.
AARCH64 := aarch64-unknown-linux-gnu
QEMU := qemu-aarch64 -L /usr/aarch64-linux-gnu
QEMU_PROGRAMS := access access_values asking cplusplus creating dlopen dlopen_nomem edges handles image_roundtrip lessons lessons_host library \
    lifetime nulls seed_examples shadow shadow_language slices snapshot structs tearing threads translating writable \
    $(filter-out inline_threads,$(basename $(notdir $(wildcard c_tests/inline*.c c_tests/inline*.cc))))

stage-aarch64 check-aarch64-run: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER := aarch64-linux-gnu-gcc
check-aarch64-run: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := $(QEMU)

stage-aarch64: stage
	$(CARGO) rustc --locked --quiet --release --lib --crate-type cdylib,staticlib --target $(AARCH64) --target-dir $(SHIP)
	rm -rf build/stage-aarch64
	cp -a build/stage build/stage-aarch64
	cp $(SHIP)/$(AARCH64)/release/libguestmem.so build/stage-aarch64/usr/lib/libguestmem.so.$(VERSION)

# The scale is for tearing alone: words that could tear do so once in millions.
check-aarch64-run: stage-aarch64
	$(INSTRUMENTED) GUESTMEM_TEST_SCALE=500 $(MAKE) --no-print-directory -C c_tests LINK=shared \
	    STAGE=$(CURDIR)/build/stage-aarch64 OUT=$(CURDIR)/build/c_tests-aarch64 CC=aarch64-linux-gnu-gcc \
	    CXX=aarch64-linux-gnu-g++ RUN="$(QEMU)" ONLY="$(QEMU_PROGRAMS)"
	READELF=aarch64-linux-gnu-readelf OBJDUMP=aarch64-linux-gnu-objdump packaging/test/thread-locals $(SHIP)/$(AARCH64)/release/libguestmem.so
	CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ LD=aarch64-linux-gnu-ld OBJCOPY=aarch64-linux-gnu-objcopy \
	    NM=aarch64-linux-gnu-nm AR=aarch64-linux-gnu-ar RUST_TARGET=$(AARCH64) RUN="$(QEMU)" \
	    packaging/test/link/run $(SHIP)/$(AARCH64)/release/libguestmem.a build/check-link-aarch64
	$(CARGO) clippy --locked --quiet --lib --target $(AARCH64) -- -D warnings
	$(CARGO) test --locked --quiet --lib --target $(AARCH64) -- volatile:: address::

# The header needs compilers only; the rest needs Rust's standard library for aarch64.
check-aarch64: check-aarch64-header
	rm -rf build/c_tests-aarch64
	mkdir -p build/c_tests-aarch64
	if [ -d "$$(rustc --print target-libdir --target $(AARCH64))" ]; then \
	    $(MAKE) --no-print-directory check-aarch64-run; \
	else \
	    echo 'skipped: no standard library: rustup target add $(AARCH64)' | tee build/c_tests-aarch64/rust.log; \
	fi

# musl, the other C library that the sources are for: its static library, in static programs. The
# kernel's headers are the system's.
MUSL := x86_64-unknown-linux-musl
MUSL_CFLAGS := -O1 -g -static -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
MUSL_PROGRAMS := access access_values asking backings callers_memory creating edges fork handles hotplug image_roundtrip \
    inline_view lessons lifetime signals snapshot snapshot_backings threads transfer_errors translating
# What catches panics; musl's own gcc has it in libgcc_eh.
MUSL_UNWIND = $(shell rustc --print target-libdir --target $(MUSL))/self-contained/libunwind.a

stage-musl: stage
	$(CARGO) rustc --locked --quiet --release --lib --crate-type staticlib --target $(MUSL) --target-dir $(SHIP)
	rm -rf build/stage-musl
	cp -a build/stage build/stage-musl
	rm build/stage-musl/usr/lib/libguestmem.so*
	$(ARCHIVE) $(SHIP)/$(MUSL)/release/libguestmem.a build/stage-musl/usr/lib/libguestmem.a hidden

check-musl-run: stage-musl
	$(MAKE) --no-print-directory -C c_tests STAGE=$(CURDIR)/build/stage-musl LINK=static \
	    OUT=$(CURDIR)/build/c_tests-musl CC=musl-gcc CFLAGS="$(MUSL_CFLAGS)" LDLIBS="$(MUSL_UNWIND)" \
	    ONLY="$(MUSL_PROGRAMS)"
	$(CARGO) clippy --locked --quiet --lib --target $(MUSL) -- -D warnings

check-musl:
	rm -rf build/c_tests-musl
	mkdir -p build/c_tests-musl
	if [ -d "$$(rustc --print target-libdir --target $(MUSL))" ]; then \
	    $(MAKE) --no-print-directory check-musl-run; \
	else \
	    echo 'skipped: no standard library: rustup target add $(MUSL)' | tee build/c_tests-musl/rust.log; \
	fi

# With the oldest Rust, in a chroot below build/.
check-msrv:
	.ci/msrv

# Readers of a table that is replaced, in every interleaving.
check-loom:
	RUSTFLAGS='--cfg loom' $(CARGO) test --locked --quiet --manifest-path loom/Cargo.toml --target-dir $(TARGET)/loom

# The header by itself, in every language that it is for.
check-header: COMPILERS := gcc clang
check-aarch64-header: COMPILERS := aarch64-linux-gnu-gcc "clang --target=aarch64-linux-gnu"
check-header check-aarch64-header:
	for compiler in $(COMPILERS); do \
	    for std in c99 c11 c17 c2x c++11 c++14 c++17 c++20; do \
	        language=c; case $$std in c++*) language=c++;; esac; \
	        echo '#include <guestmem.h>' | $$compiler -x $$language -std=$$std $(WARNINGS) -Werror \
	            -Iinclude -fsyntax-only - || exit; \
	    done; \
	done

check-install: $(SHARED) $(STATIC)
	+packaging/test/run $(SHIP)/release/libguestmem.a

# Beside another static Rust library, and in plugins; what the library keeps for each thread.
check-link: $(SHARED) packaging/archive
	packaging/test/thread-locals $(SHARED)
	CC="$(CC)" CXX="$(CXX)" LD="$(LD)" OBJCOPY="$(OBJCOPY)" NM="$(NM)" AR="$(AR)" \
	    packaging/test/link/run $(SHIP)/release/libguestmem.a build/check-link

# Under libFuzzer: what reads metadata, snapshots and images; every call, against a model.
FUZZ_TARGETS := image calls
FUZZ_SECONDS ?= 20

fuzz:
	for target in $(FUZZ_TARGETS); do \
	    fuzz/run $$target -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 || exit; \
	done

# Each program by itself, with BENCH_ARGS. Figures mean something on an idle machine only.
BENCHES := $(patsubst benches/%.c,build/bench/%,$(wildcard benches/*.c))
PEERS := build/bench/libempty.so build/bench/libvm_memory_peer.so

# Where a loop happens to lie would decide some comparisons, so all begin at a cache line.
BENCH_CFLAGS := -std=gnu11 -O2 -g -falign-functions=64 -falign-loops=64 $(WARNINGS)

build/bench/%: benches/%.c $(wildcard benches/*.h benches/*/*.h) $(SHARED) $(HEADERS) $(PEERS)
	$(CC) $(BENCH_CFLAGS) $(CFLAGS) -Iinclude -o $@ $< -pthread -Wl,--as-needed,-z,now \
	    -Lbuild -lguestmem -Lbuild/bench -lvm_memory_peer -lempty -Wl,-rpath,'$$ORIGIN/..:$$ORIGIN'

build/bench/libempty.so: benches/empty/empty.c benches/empty/empty.h
	@mkdir -p build/bench
	$(CC) $(BENCH_CFLAGS) $(CFLAGS) -shared -fPIC -Wl,-soname,libempty.so -o $@ $<

build/bench/libvm_memory_peer.so: $(addprefix benches/vm-memory/,Cargo.toml Cargo.lock src/lib.rs)
	@mkdir -p build/bench
	$(CARGO) build --locked --quiet --release --manifest-path $< --target-dir $(TARGET)/vm-memory-peer
	cp $(TARGET)/vm-memory-peer/release/libvm_memory_peer.so $@

bench: $(BENCHES)
	for bench in $(BENCHES); do $$bench $(BENCH_ARGS) || exit; done

# The README's picture of calls and copies.
bench-picture: build/bench/calls build/bench/copies
	build/bench/calls --csv build/bench/calls.csv
	build/bench/copies --csv build/bench/copies.csv
	benches/picture.py build/bench/calls.csv build/bench/copies.csv >build/bench/fastpath.svg
	cp build/bench/fastpath.svg benches/fastpath.svg

doc:
	@mkdir -p build/doc
	doxygen docs/Doxyfile

clean:
	$(CARGO) clean
	rm -rf build

.PHONY: all run test install stage stage-abort stage-asan stage-valgrind stage-aarch64 check-shared check-static \
    check-abort check-valgrind check-asan stage-tsan check-tsan check-counts check-aarch64 check-aarch64-run check-aarch64-header \
    check-abi check-header check-install check-link check-musl check-msrv \
    check-musl-run stage-musl bench bench-picture fuzz doc clean
