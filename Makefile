# swarm: build, check, bench, demo. Everything that is built goes to $(BUILD).
#
#   sudo make demo     install what is needed, build, run the story on a local three-node cluster
#   sudo make check    install what is needed, build, run every test
#
# Other targets: deps all install asan unit sim mutants soak bench tidy format clean (see README.md)

ifeq ($(origin CC),default)
CC      := gcc
endif
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo 0.1.0)

PROTOC  := protoc
# Of what builds all by itself; a `make -jN` of the user's counts more.
JOBS    := $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
# `make V=1` shows the commands.
Q       := $(if $(V),,@)
say      = $(if $(V),,@echo '  $(1)')
PKGS    := libuv libzmq libprotobuf-c yaml-0.1 sqlite3 libarchive libsodium libseccomp jansson

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wformat=2 -Wundef -Werror
OPT  ?= -O2 -g
SAN  ?=
# Warnings that guess at values, and guess wrong when the sanitizers' code stands in between.
SAN_WARN := -Wno-format-truncation -Wno-format-overflow -Wno-maybe-uninitialized
CPPFLAGS += -D_GNU_SOURCE -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   += -std=gnu11 $(OPT) $(WARN) $(SAN) -fno-strict-aliasing -fstack-protector-strong
LDFLAGS  += $(SAN)
LDLIBS   += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -lpthread

find_c = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
obj_of = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

PROTO      := $(sort $(wildcard proto/*.proto))
GEN_C      := $(PROTO:proto/%.proto=$(BUILD)/gen/proto/%.pb-c.c)
GEN_H      := $(GEN_C:.c=.h)
SHARED_C   := $(call find_c,shared)
MANAGER_C  := $(filter-out manager/main.c,$(call find_c,manager))
AGENT_C    := $(filter-out agent/main.c agent/unpack/main.c agent/shim/%,$(call find_c,agent))
CTL_C      := $(filter-out swarmctl/main.c,$(call find_c,swarmctl))
SHIM_C     := $(call find_c,agent/shim)
TESTLIB_C  := $(call find_c,tests/lib)
UNIT_C     := $(call find_c,tests/unit)
SIM_C      := $(call find_c,tests/sim)
RAFT_SIM_C := $(call find_c,tests/raft-sim)
GOLDEN_C   := $(call find_c,tests/golden)
BENCH_C    := $(call find_c,tests/bench)
ALL_C      := $(SHARED_C) $(MANAGER_C) $(AGENT_C) $(CTL_C) $(SHIM_C) $(TESTLIB_C) $(UNIT_C) \
              $(SIM_C) $(RAFT_SIM_C) $(GOLDEN_C) $(BENCH_C)

LIB_SHARED  := $(BUILD)/libshared.a
LIB_MANAGER := $(BUILD)/libmanager.a
LIB_AGENT   := $(BUILD)/libagent.a
LIB_CTL     := $(BUILD)/libswarmctl.a
LIB_TEST    := $(BUILD)/libtest.a
LIBS_ALL    := $(LIB_TEST) $(LIB_MANAGER) $(LIB_AGENT) $(LIB_CTL) $(LIB_SHARED)

BINARIES := $(BUILD)/swarm-manager $(BUILD)/swarm-agent $(BUILD)/swarm-shim $(BUILD)/swarm-unpack \
            $(BUILD)/swarmctl
UNITS    := $(UNIT_C:tests/%.c=$(BUILD)/tests/%)

.PHONY: FORCE all deps install asan unit golden sim check bench tidy format demo clean tests fuzz fuzz-programs mutants soak
.SECONDARY:
all: $(BINARIES)

deps:
	deploy/deps.sh

# --- generated code -------------------------------------------------------------------------------
$(BUILD)/gen/proto/%.pb-c.c $(BUILD)/gen/proto/%.pb-c.h: proto/%.proto $(PROTO)
	@mkdir -p $(BUILD)/gen/proto
	$(call say,PROTO $<)
	$(Q)$(PROTOC) --c_out=$(BUILD)/gen proto/$*.proto

$(BUILD)/obj/gen/%.pb-c.o: $(BUILD)/gen/proto/%.pb-c.c $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 $(OPT) -w -c -o $@ $<

# --- objects, libraries, programs -----------------------------------------------------------------
$(BUILD)/version.h: FORCE
	@mkdir -p $(BUILD)
	@echo '#define SWARM_VERSION "$(VERSION)"' | cmp -s - $@ || \
	  echo '#define SWARM_VERSION "$(VERSION)"' > $@
FORCE:

$(BUILD)/obj/%.o: %.c $(GEN_H) | $(BUILD)/version.h
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(CPPFLAGS) -I$(BUILD) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB_SHARED): $(call obj_of,$(SHARED_C)) $(patsubst proto/%.proto,$(BUILD)/obj/gen/%.pb-c.o,$(PROTO))
$(LIB_MANAGER): $(call obj_of,$(MANAGER_C))
$(LIB_AGENT): $(call obj_of,$(AGENT_C))
$(LIB_CTL): $(call obj_of,$(CTL_C))
$(LIB_TEST): $(call obj_of,$(TESTLIB_C))
$(BUILD)/%.a:
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $^

$(BUILD)/swarm-manager: $(BUILD)/obj/manager/main.o $(LIB_MANAGER) $(LIB_SHARED)
$(BUILD)/swarm-agent: $(BUILD)/obj/agent/main.o $(LIB_AGENT) $(LIB_SHARED)
$(BUILD)/swarm-unpack: $(BUILD)/obj/agent/unpack/main.o $(LIB_AGENT) $(LIB_SHARED)
$(BUILD)/swarmctl: $(BUILD)/obj/swarmctl/main.o $(LIB_CTL) $(LIB_SHARED)
$(BUILD)/swarm-manager $(BUILD)/swarm-agent $(BUILD)/swarm-unpack $(BUILD)/swarmctl:
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The supervisor is one static program against musl, built by itself without the sanitizers.
MULTIARCH := $(shell gcc -print-multiarch 2>/dev/null)
$(BUILD)/kernel-headers:
	@mkdir -p $@
	@ln -sfn /usr/include/linux $@/linux
	@ln -sfn /usr/include/asm-generic $@/asm-generic
	@ln -sfn /usr/include/$(MULTIARCH)/asm $@/asm
MUSL := musl-gcc -static -Os -D_GNU_SOURCE -I. -I$(BUILD) -isystem $(BUILD)/kernel-headers -std=gnu11 \
  $(WARN) -ffunction-sections -fdata-sections -Wl,--gc-sections -s
$(BUILD)/swarm-shim: $(SHIM_C) $(wildcard agent/shim/*.h) | $(BUILD)/kernel-headers $(BUILD)/version.h
	$(call say,LD $@)
	$(Q)$(MUSL) -o $@ $(SHIM_C)
# The same, with numbered places to fail at.
$(BUILD)/swarm-shim-test: $(SHIM_C) $(wildcard agent/shim/*.h) | $(BUILD)/kernel-headers $(BUILD)/version.h
	$(call say,LD $@)
	$(Q)$(MUSL) -DSHIM_TEST -o $@ $(SHIM_C)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/libexec/swarm
	install -m 755 $(BUILD)/swarmctl $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BUILD)/swarm-manager $(BUILD)/swarm-agent $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(BUILD)/swarm-shim $(BUILD)/swarm-unpack $(DESTDIR)$(PREFIX)/libexec/swarm/
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 644 deploy/completions/swarmctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/swarmctl
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in swarm-manager swarm-agent; do \
	  sed 's|@PREFIX@|$(PREFIX)|g' deploy/systemd/$$unit.service.in \
	    >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service || exit 1; \
	done

# --- tests ----------------------------------------------------------------------------------------
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBS_ALL)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
$(BUILD)/tests/sim-run: $(call obj_of,$(SIM_C)) $(LIBS_ALL)
$(BUILD)/tests/raft-sim-run: $(call obj_of,$(RAFT_SIM_C)) $(LIBS_ALL)
$(BUILD)/tests/golden-run: $(call obj_of,$(GOLDEN_C)) $(LIBS_ALL)
$(BUILD)/tests/sim-run $(BUILD)/tests/raft-sim-run $(BUILD)/tests/golden-run:
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBS_ALL)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

TEST_PROGRAMS := $(UNITS) $(if $(SIM_C),$(BUILD)/tests/sim-run) $(BUILD)/tests/raft-sim-run \
  $(if $(GOLDEN_C),$(BUILD)/tests/golden-run)
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_C))
tests: all $(BUILD)/swarm-shim-test $(TEST_PROGRAMS)

unit: tests
	tests/run.sh unit
golden: tests
	tests/run.sh golden
SEED ?= 1
sim: $(BUILD)/tests/sim-run
	$(BUILD)/tests/sim-run --seed $(SEED) --verbose
# Both simulators on new seeds, without end or for SOAK_SECONDS, until one fails.
soak: $(BUILD)/tests/sim-run $(BUILD)/tests/raft-sim-run
	BUILD=$(BUILD) tests/soak.sh
# Deliberate bugs: the tests must catch each.
mutants: tests
	BUILD=$(BUILD) CC="$(CC)" tests/sim/mutants/run.sh
check: deps
	$(MAKE) $(JOBS) tests
	BUILD=$(BUILD) tests/run.sh all
asan:
	$(MAKE) $(JOBS) BUILD=build-asan OPT="-O1 -g" \
	  SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
	  $(SAN_WARN)" tests
# Fuzzers (libFuzzer, clang): build-fuzz/fuzz/NAME SEEDS; tests/fuzz/seeds.sh makes seeds.
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIB_MANAGER) $(LIB_SHARED)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
fuzz-programs: $(FUZZ_PROGRAMS)
fuzz:
	$(MAKE) BUILD=build-fuzz CC=clang OPT="-O1 -g" \
	  SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" fuzz-programs
bench: all $(BENCH_PROGRAMS)
	BUILD=$(BUILD) tests/bench/run.sh
tidy:
	tests/tidy/tidy.sh
format:
	git ls-files '*.c' '*.h' | xargs -r clang-format -i
demo: deps
	$(MAKE) $(JOBS) all
	BUILD=$(BUILD) KEEP=$(KEEP) deploy/demo/demo.sh
clean:
	rm -rf build build-asan build-fuzz

-include $(patsubst %.c,$(BUILD)/obj/%.d,$(ALL_C) manager/main.c agent/main.c swarmctl/main.c)
