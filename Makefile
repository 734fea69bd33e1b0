# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# make            the shared and the static library, into build/, and the examples
# make run        the demonstration: a small KVM guest on guest memory of this library
# make test       the whole suite: Rust tests, and the C programs against each form of the library
# make bench      side by side with plain C; BENCH_ARGS, see benches/README.md; bench-picture draws it
# make fuzz       hostile images and sequences of calls, each for FUZZ_SECONDS=20; see fuzz/README.md
# make doc        the reference manual, into build/doc/html
# make install    PREFIX=/usr/local DESTDIR= LIBDIR=$(PREFIX)/lib
# V=1 shows the commands.

ifndef V
.SILENT:
endif

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

# Where the sources and crates lie leaves no trace in what is built. RUSTFLAGS of the environment
# replace these.
CRATES = $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src
MAPPED = '--remap-path-prefix=$(abspath $(SHIP))=/target', '--remap-path-prefix=$(CURDIR)=/guestmem', \
    '--remap-path-prefix=$(CRATES)=/crates'
REPRODUCIBLE = --config "build.rustflags=[$(MAPPED)]"

# An rlib among the crate types would turn LTO off without a word, so the one is named here.
$(SHIP)/release/libguestmem.a: $(SOURCES)
	echo 'building the library'
	$(CARGO) rustc --locked --quiet --release --lib --crate-type staticlib --target-dir $(SHIP) $(REPRODUCIBLE)
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
	echo 'building $@'
	$(LINK_EXAMPLE)

build/minivm: $(wildcard examples/minivm/*.h)

build/guestmem-image: examples/guestmem_image.c $(wildcard examples/guestmem_image/*.h) $(SHARED) $(HEADERS)
	echo 'building $@'
	$(LINK_EXAMPLE)

# The image that it leaves is there for guestmem-image to look at.
run: build/minivm build/guestmem-image
	build/minivm --image build/minivm.img
	build/guestmem-image map build/minivm.img

test:
	echo 'Rust tests, then $(words $(wildcard c_tests/*.c c_tests/*.cc)) C programs against each form of the library (shared, static, one'
	echo 'that cannot unwind): about ten minutes on two cores, once Rust is built.'
	$(CARGO) test --locked

install: $(SHARED) $(STATIC)
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/guestmem \
	    $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -p -m 644 $(HEADERS) $(DESTDIR)$(INCLUDEDIR)
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
stage: build/stage/made

build/stage/made: $(SHARED) $(STATIC) $(HEADERS) $(wildcard packaging/*.in packaging/cmake/*.in)
	$(MAKE) --no-print-directory -s install DESTDIR=$(CURDIR)/build/stage PREFIX=/usr LIBDIR=/usr/lib
	touch $@

# The same with another build of the library in place of one file: stage-FORM runs BUILD_FORM and takes
# LIBRARY_FORM.
define STAGE
stage-$(1): stage
	$$(BUILD_$(1))
	rm -rf build/stage-$(1)
	cp -a build/stage build/stage-$(1)
	cp -p $$(LIBRARY_$(1)) build/stage-$(1)/usr/lib/$(2)
endef
$(foreach form,abort valgrind asan tsan aarch64,$(eval $(call STAGE,$(form),$(notdir $(SHARED)))))
$(eval $(call STAGE,musl,libguestmem.a))

LIB := --locked --quiet --lib --crate-type

# A library that cannot unwind.
BUILD_abort = $(CARGO) rustc $(LIB) cdylib --profile abort
LIBRARY_abort = $(TARGET)/abort/libguestmem.so

# With the names that installing strips off, so that reports can be read.
LIBRARY_valgrind = $(SHARED)

# Sanitizers in the library too: a compiler feature that stable Rust has to be asked for.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
BUILD_SANITIZED = RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$(2) --cfg guestmem_asan" \
    $(CARGO) rustc $(LIB) cdylib --release --target $(HOST) --target-dir $(TARGET)/$(1)
BUILD_asan = $(call BUILD_SANITIZED,asan,address)
BUILD_tsan = $(call BUILD_SANITIZED,tsan,thread -Cunsafe-allow-abi-mismatch=sanitizer)
LIBRARY_asan = $(TARGET)/asan/$(HOST)/release/libguestmem.so
LIBRARY_tsan = $(TARGET)/tsan/$(HOST)/release/libguestmem.so

# The C programs against a form of the library, and those that say `runs: FORM`, with objects of their own.
C_TESTS = $(MAKE) --no-print-directory -C c_tests STAGE=$(CURDIR)/build/$(2) OUT=$(CURDIR)/build/c_tests-$(1)
THOSE_OF = $(call C_TESTS,$(1),stage-$(1)) OBJ=$(CURDIR)/build/c_tests-$(1)-obj RUNS=$(1)
# Where every instruction is expensive they do fewer rounds.
INSTRUMENTED := GUESTMEM_TEST_FAST=1

# Programs of the suite run the tool too.
check-shared check-static check-abort check-valgrind check-asan: build/guestmem-image

check-shared check-static: check-%: stage
	$(call C_TESTS,$*,stage) LINK=$*

check-abort: stage-abort
	$(call C_TESTS,abort,stage-abort)

# Slots of handles are never freed, but can always be reached.
LEAKS := definite,indirect,possible
VALGRIND := valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=$(LEAKS) \
    --errors-for-leak-kinds=$(LEAKS)

check-valgrind: stage-valgrind
	$(INSTRUMENTED) $(call C_TESTS,valgrind,stage-valgrind) RUNS=valgrind RUN="$(VALGRIND)"

ASAN := -O1 -g -fsanitize=address

check-asan: stage-asan
	c_tests/asan/awake build/stage-asan
	$(INSTRUMENTED) $(call THOSE_OF,asan) CFLAGS="$(ASAN)" CXXFLAGS="$(ASAN)"

# Programs are linked with the runtime of ThreadSanitizer that comes with rustc, as gcc's lacks functions
# that its code calls. Rust's standard library is not built for it: what that hides is in
# c_tests/tsan/suppressions.
TSAN := -O1 -g -fsanitize=thread -static-libtsan -L$(CURDIR)/build/tsan-runtime

check-tsan: stage-tsan
	mkdir -p build/tsan-runtime
	ln -sf $$(ls $$(rustc --print target-libdir)/librustc*_rt.tsan.a) build/tsan-runtime/libtsan.a
	c_tests/tsan/awake build/stage-tsan "$(TSAN)"
	TSAN_OPTIONS=suppressions=$(CURDIR)/c_tests/tsan/suppressions $(INSTRUMENTED) $(call THOSE_OF,tsan) CFLAGS="$(TSAN)"

# Instructions of the hot calls, against c_tests/counts/recorded.
check-counts: stage
	c_tests/counts/run build/stage build/c_tests-counts

# Calls, types and constants, against packaging/abi/. Of the library in build/, as types are in the
# debug information that installing strips off.
check-abi: $(SHARED)
	packaging/abi/check $(SHARED) include/guestmem.h build/abi

# Where Rust's standard library for another target is missing, the rest of a check is skipped.
define IF_RUST_HAS
	rm -rf build/c_tests-$(2)
	mkdir -p build/c_tests-$(2)
	if [ -d "$$(rustc --print target-libdir --target $(1))" ]; then \
	    $(MAKE) --no-print-directory check-$(2)-run; \
	else \
	    echo 'skipped: no standard library: rustup target add $(1)' | tee build/c_tests-$(2)/rust.log; \
	fi
endef

# aarch64, the processor that has code of its own here, beside x86-64: run by qemu. Programs about pages
# do not say `runs: qemu`, as it does little of what madvise(2) asks for; nor does inline_threads, as it
# lets an ldar pass an earlier stlr.
AARCH64 := aarch64-unknown-linux-gnu
QEMU := qemu-aarch64 -L /usr/aarch64-linux-gnu
BUILD_aarch64 = $(CARGO) rustc $(LIB) cdylib,staticlib --release --target $(AARCH64) --target-dir $(SHIP)
LIBRARY_aarch64 = $(SHIP)/$(AARCH64)/release/libguestmem.so

stage-aarch64 check-aarch64-run: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER := aarch64-linux-gnu-gcc
check-aarch64-run: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := $(QEMU)

# The scale is for tearing alone: words that could tear do so once in millions.
check-aarch64-run: stage-aarch64
	$(INSTRUMENTED) GUESTMEM_TEST_SCALE=500 $(call THOSE_OF,aarch64) RUNS=qemu CC=aarch64-linux-gnu-gcc \
	    CXX=aarch64-linux-gnu-g++ AR=aarch64-linux-gnu-ar RUN="$(QEMU)"
	READELF=aarch64-linux-gnu-readelf OBJDUMP=aarch64-linux-gnu-objdump packaging/test/thread-locals $(LIBRARY_aarch64)
	CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ LD=aarch64-linux-gnu-ld OBJCOPY=aarch64-linux-gnu-objcopy \
	    NM=aarch64-linux-gnu-nm AR=aarch64-linux-gnu-ar RUST_TARGET=$(AARCH64) RUN="$(QEMU)" \
	    packaging/test/link/run $(LIBRARY_aarch64:.so=.a) build/check-link-aarch64
	$(CARGO) clippy --locked --quiet --lib --target $(AARCH64) -- -D warnings
	$(CARGO) test --locked --quiet --lib --target $(AARCH64) -- volatile:: address::

# The header needs compilers only.
check-aarch64: check-aarch64-header
	$(call IF_RUST_HAS,$(AARCH64),aarch64)

# musl, the other C library that the sources are for: its static library, in static programs. The
# kernel's headers are the system's.
MUSL := x86_64-unknown-linux-musl
MUSL_CFLAGS := -O1 -g -static -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
# What catches panics; musl's own gcc has it in libgcc_eh.
MUSL_UNWIND = $(shell rustc --print target-libdir --target $(MUSL))/self-contained/libunwind.a
BUILD_musl = $(CARGO) rustc $(LIB) staticlib --release --target $(MUSL) --target-dir $(SHIP) && \
    $(ARCHIVE) $(SHIP)/$(MUSL)/release/libguestmem.a build/libguestmem-musl.a hidden
LIBRARY_musl = build/libguestmem-musl.a

check-musl-run: stage-musl
	$(call THOSE_OF,musl) LINK=static CC=musl-gcc CFLAGS="$(MUSL_CFLAGS)" LDLIBS="$(MUSL_UNWIND)"
	$(CARGO) clippy --locked --quiet --lib --target $(MUSL) -- -D warnings

check-musl:
	$(call IF_RUST_HAS,$(MUSL),musl)

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

# The same bytes from another folder and with another home of Cargo.
check-reproducible: $(SHARED) $(STATIC)
	+MAKE="$(MAKE)" packaging/test/reproducible build/check-reproducible $^

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

.PHONY: all run test install stage $(addprefix stage-,abort valgrind asan tsan aarch64 musl) check-shared check-static \
    check-abort check-valgrind check-asan check-tsan check-counts check-aarch64 check-aarch64-run check-aarch64-header \
    check-abi check-header check-install check-link check-musl check-msrv check-reproducible \
    check-musl-run bench bench-picture fuzz doc clean
