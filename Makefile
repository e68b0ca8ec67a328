# The VHD toolkit. Everything built lands under $(BUILD).
#
#   make            optimised build            make SAN=1   ASan + UBSan
#   make check      the whole quick test suite make layers  include rules
#   make demo       boot Debian from a VHD     make bench   measurements
#   make install    PREFIX, DESTDIR            make help    all of it

CC      ?= gcc
CLANG   ?= clang
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
SOVERSION := 0

ifeq ($(origin CC),default)
CC := gcc
endif

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wvla -Wimplicit-fallthrough -Werror
BASE := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -I$(BUILD)/gen \
        -MMD -MP -pthread -fPIC -fvisibility=default
ifeq ($(SAN),1)
BUILD := build-san
OPT  := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
        -fno-omit-frame-pointer
else
OPT  := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
endif
CFLAGS_ALL  := $(BASE) $(OPT) $(WARN) $(CFLAGS)
LDFLAGS_ALL := $(OPT) -pthread $(LDFLAGS)

LIBS_VHD   := -luring -laio -lisal
LIBS_TOOLS := -Wl,--as-needed -lext2fs -lcom_err -lfuse3 -lnbd -lcrypto -lz -lblkid -ljson-c -lisal

# ------------------------------------------------------------------ sources
# What is installed: vhd.h, and what it includes.
VHD_HEADERS := vhd/vhd.h vhd/vhd_check.h vhd/vhd_edit.h vhd/vhd_stream.h \
               vhd/err.h

VHD_SRC := vhd/footer.c vhd/header.c vhd/geometry.c vhd/creator.c \
           vhd/file.c vhd/lock.c vhd/split.c vhd/probe.c vhd/open.c \
           vhd/create.c vhd/create_child.c vhd/relate.c \
           vhd/inplace.c \
           vhd/info.c vhd/locator.c vhd/chain.c vhd/parent.c \
           vhd/bat.c vhd/batmap.c vhd/bitmap.c vhd/map.c \
           vhd/alloc.c vhd/written.c vhd/commit.c vhd/tail.c vhd/sync.c \
           vhd/queue.c vhd/queue_image.c vhd/queue_io.c vhd/queue_flush.c \
           vhd/engine_uring.c vhd/engine_aio.c vhd/engine_sync.c
VHD_SRC += vhd/zero.c
VHD_SRC += vhd/rebase.c vhd/rebase_copy.c vhd/rebase_header.c
VHD_SRC += vhd/survey.c vhd/check.c vhd/check_code.c vhd/check_footer.c \
           vhd/check_header.c vhd/check_bat.c vhd/check_batmap.c \
           vhd/check_chain.c vhd/check_data.c vhd/check_host.c \
           vhd/check_target.c
VHD_SRC += vhd/stream.c
VHD_SRC += vhd/layout.c vhd/resize.c vhd/resize_blocked.c vhd/resize_fixed.c
VHD_SRC += vhd/compact.c vhd/compact_scan.c vhd/compact_move.c \
           vhd/compact_copy.c vhd/compact_punch.c
VHD_SRC += vhd/undo.c vhd/repair.c vhd/repair_footer.c vhd/repair_bat.c \
           vhd/repair_batmap.c vhd/salvage.c vhd/salvage_parent.c vhd/set.c
VHD_SRC += vhd/merge.c vhd/merge_plan.c vhd/merge_copy.c

VMBUS_SRC := hv/gpa.c hv/vmbus/guid.c hv/vmbus/log.c hv/vmbus/message.c \
             hv/vmbus/connection.c hv/vmbus/offer.c hv/vmbus/gpadl.c \
             hv/vmbus/channel.c hv/vmbus/ring.c hv/vmbus/packet.c

HV_SRC := hv/kvm.c hv/partition.c hv/vcpu.c hv/control.c hv/memory.c \
          hv/cpuid.c hv/synic.c hv/hypercall.c hv/irq.c hv/board.c hv/acpi.c \
          hv/bzimage.c hv/boot_linux.c hv/chip/uart.c hv/chip/cmos.c \
          hv/chip/pm.c

STORVSP_SRC := storvsp/controller.c storvsp/mail.c storvsp/log.c \
               storvsp/session.c storvsp/channel.c storvsp/drain.c \
               storvsp/reset.c storvsp/request.c storvsp/buffer.c \
               storvsp/target.c storvsp/command.c storvsp/inquiry.c \
               storvsp/mode.c storvsp/capacity.c storvsp/readwrite.c \
               storvsp/sense.c

CLI_SRC := tools/cli/fault.c tools/cli/ident.c tools/cli/options.c \
           tools/cli/parent.c tools/cli/progress.c tools/cli/rate.c \
           tools/cli/size.c tools/cli/text.c

# Programs: sources beside the libraries they need are listed per program.
PROGRAMS := hv vhd vhd-convert vhd-inspect
# Names under which `vhd` is one of its verbs.
VHD_VERBS := vhd-bench vhd-check vhd-compare vhd-create vhd-diff vhd-map \
             vhd-repair
VHD_VERBS += vhd-merge
VHD_VERBS += vhd-set
VHD_VERBS += vhd-serve
SRC_vhd := tools/vhd.c tools/extent.c tools/verb_words.c tools/verb_check.c \
           tools/verb_compare.c tools/verb_create.c tools/verb_map.c \
           tools/verb_preset.c tools/verb_repair.c tools/verb_salvage.c \
           tools/convert_job.c tools/convert_input.c tools/convert_extents.c \
           tools/convert_image.c tools/convert_share.c tools/convert_output.c \
           tools/convert_writeback.c tools/convert_verify.c
VHD_VERBS += vhd-rebase vhd-snapshot
SRC_vhd += tools/verb_rebase.c tools/verb_snapshot.c
VHD_VERBS += vhd-resize vhd-compact
SRC_vhd += tools/verb_compact.c tools/freemap.c tools/freemap_ext.c \
           tools/freemap_tool.c tools/freemap_mount.c
SRC_vhd += tools/verb_resize.c tools/gpt.c tools/inspect_content.c \
           tools/inspect_hints.c tools/inspect_view.c tools/inspect_words.c
SRC_vhd += tools/verb_merge.c tools/merge_others.c
SRC_vhd += tools/verb_set.c tools/set_children.c
SRC_vhd += tools/verb_diff.c tools/diff_report.c
SRC_vhd += tools/verb_bench.c tools/bench_run.c
SRC_vhd += tools/verb_serve.c tools/serve.c
SRC_vhd-inspect := tools/vhd-inspect.c tools/extent.c tools/inspect_content.c \
                   tools/inspect_hints.c tools/inspect_json.c \
                   tools/inspect_text.c tools/inspect_view.c \
                   tools/inspect_words.c tools/inspect_alloc.c \
                   tools/inspect_chain.c tools/inspect_map.c \
                   tools/inspect_svg.c tools/inspect_svg_band.c \
                   tools/inspect_svg_legend.c \
                   tools/convert_output.c tools/convert_input.c
SRC_vhd-convert := tools/vhd-convert.c tools/convert_args.c \
                   tools/convert_job.c \
                   tools/convert_input.c tools/convert_extents.c \
                   tools/convert_output.c tools/convert_writeback.c \
                   tools/convert_image.c tools/convert_copy.c \
                   tools/convert_file.c tools/convert_from.c \
                   tools/convert_to.c tools/convert_to_stream.c \
                   tools/convert_serial.c tools/convert_bytes.c \
                   tools/convert_gzip.c tools/convert_feed.c \
                   tools/convert_stream.c tools/convert_from_stream.c \
                   tools/convert_spool.c tools/convert_digest.c \
                   tools/convert_report.c tools/convert_nbd.c \
                   tools/convert_nbd_ends.c tools/convert_qemu.c \
                   tools/convert_verify.c tools/convert_place.c \
                   tools/convert_inplace.c tools/convert_share.c \
                   tools/convert_diff.c \
                   tools/convert_journal.c tools/convert_resume.c \
                   tools/verb_words.c tools/verb_preset.c
SRC_hv          := tools/hv.c tools/hv_args.c tools/hv_disk.c tools/hv_run.c \
                   tools/hv_terminal.c tools/hv_escape.c tools/hv_nested.c \
                   tools/hv_qemu.c tools/hv_modules.c tools/hv_vmlinux.c \
                   tools/hv_shares.c tools/hv_initramfs.c tools/hv_cpio.c \
                   tools/hv_blob.c

PROGRAMS += vhd-mount
SRC_vhd-mount := tools/vhd-mount.c tools/mount_fs.c tools/mount_part.c \
                 tools/mount_overlay.c tools/served.c tools/extent.c \
                 tools/inspect_content.c tools/inspect_hints.c \
                 tools/inspect_view.c tools/inspect_words.c \
                 tools/verb_words.c
VHD_VERBS += vhd-unmount
SRC_vhd += tools/verb_unmount.c

# The nbdkit plugin.
SRC_plugin := tools/nbdkit_vhd.c tools/served.c tools/extent.c

# Unit tests: each is tests/NAME.c with cmocka, run from $(BUILD)/tests/NAME.
UNIT_VHD     := vhd_floor vhd_locator vhd_footer vhd_header vhd_geometry \
                vhd_creator vhd_probe vhd_open vhd_bitmap vhd_bat vhd_map \
                vhd_alloc vhd_commit vhd_tail vhd_crash vhd_create vhd_file \
                vhd_lock vhd_sync vhd_threads vhd_nomem vhd_inplace
UNIT_VHD     += vhd_stream
UNIT_VHD     += vhd_engine vhd_queue vhd_queue_sim vhd_queue_flush \
                vhd_queue_host vhd_queue_alloc vhd_queue_nomem vhd_model
UNIT_VHD     += vhd_check vhd_check_data vhd_check_target
UNIT_VHD     += vhd_chain vhd_layer vhd_written vhd_written_flush \
                vhd_written_crash vhd_create_child
UNIT_VHD     += vhd_rebase
UNIT_VHD     += vhd_resize vhd_compact
UNIT_VHD     += vhd_malformed vhd_split vhd_keep vhd_check_chain
UNIT_VHD     += vhd_merge vhd_merge_file vhd_random
UNIT_VHD     += vhd_set vhd_repair vhd_undo vhd_salvage vhd_oracle
UNIT_VHD     += vhd_zero
UNIT_VMBUS   := vmbus_guid vmbus_gpa vmbus_ring vmbus_packet \
                vmbus_connection vmbus_offer vmbus_gpadl vmbus_channel \
                vmbus_flow vmbus_message vmbus_fetch vmbus_fence vmbus_nomem \
                vmbus_stress
UNIT_HV      := hv_uart hv_chips hv_acpi hv_cpuid hv_boot hv_hypercall \
                hv_synic
UNIT_STORVSP := storvsp_session storvsp_command storvsp_inquiry storvsp_mode \
                storvsp_capacity storvsp_readwrite storvsp_target \
                storvsp_sense storvsp_buffer storvsp_log storvsp_vsp \
                storvsp_request storvsp_drain storvsp_reset storvsp_fault \
                storvsp_hostile storvsp_hostile_guest \
                storvsp_fetch storvsp_thread
UNIT_TOOLS   := tools_cli tools_convert tools_fault tools_hv tools_inspect \
                tools_size
UNIT_TOOLS   += tools_bench
SRC_tools_bench := tools/bench_run.c
UNIT_TOOLS   += tools_digest tools_stream
SRC_tools_stream  := $(filter-out tools/vhd-%,$(SRC_vhd-convert))
SRC_tools_digest  := tools/convert_digest.c tools/convert_job.c
UNIT_TOOLS   += tools_place
SRC_tools_place   := $(filter-out tools/vhd-%,$(SRC_vhd-convert))
SRC_tools_convert := $(filter-out tools/vhd-%,$(SRC_vhd-convert))
SRC_tools_hv      := tools/hv_args.c tools/hv_disk.c tools/hv_escape.c \
                     tools/hv_terminal.c tools/hv_modules.c \
                     tools/hv_shares.c tools/hv_cpio.c
UNIT_TOOLS   += tools_gpt
SRC_tools_gpt     := tools/gpt.c
SRC_tools_inspect := $(filter-out tools/vhd-%,$(SRC_vhd-inspect))
TESTLIB_SRC  := tests/lib/memfile.c tests/lib/recfile.c tests/lib/vhdimg.c \
                tests/lib/simengine.c
TESTLIB_SRC  += tests/lib/scsitask.c tests/lib/vsc.c \
                tests/lib/vsc_scsi.c tests/lib/simvsp.c
TESTLIB_SRC  += tests/lib/guest.c tests/lib/guest_talk.c \
                tests/lib/guest_ring.c tests/lib/fakedev.c
TESTLIB_SRC  += tests/lib/diffimg.c
TESTLIB_SRC  += tests/lib/malformed.c
TESTLIB_SRC  += tests/lib/stack.c tests/lib/world.c tests/lib/world_write.c
TESTLIB_SRC  += tests/lib/checkimg.c tests/lib/damage.c tests/lib/oracle.c
# These have hv/gpa.c replaced by the door that counts and flips.
WATCHED      := vmbus_fetch storvsp_fetch

# Fuzz targets: fuzz/NAME.c, seeds in fuzz/corpus/NAME/. FUZZ_SRC_NAME lists
# what else is built into it, FUZZ_LIBS_NAME what is linked to it.
TIME ?= 10
FUZZ := vmbus_ring vmbus_message storvsp_session scsi_cdb
FUZZ += vhd_open
FUZZ += vhd_repair
FUZZ += vhd_edit
FUZZ += vhd_merge
FUZZ += hv_loader
FUZZ_SRC_hv_loader := hv/bzimage.c hv/boot_linux.c hv/memory.c hv/acpi.c \
                      hv/gpa.c
FUZZ += hv_pio_mmio
FUZZ_SRC_hv_pio_mmio := hv/board.c hv/chip/uart.c hv/chip/cmos.c hv/chip/pm.c
FUZZ += tool_args
FUZZ_SRC_tool_args  := $(filter-out tools/vhd-%,$(SRC_vhd-convert)) \
                       tools/hv_args.c tools/hv_escape.c $(CLI_SRC) $(VHD_SRC)
FUZZ_LIBS_tool_args := $(LIBS_VHD) $(LIBS_TOOLS)
FUZZ += vhd_ops
FUZZ_SRC_vhd_ops  := $(VHD_SRC) tests/lib/memfile.c tests/lib/oracle.c
FUZZ_LIBS_vhd_ops := $(LIBS_VHD)
FUZZ += vhd_chain
FUZZ_SRC_vhd_chain  := $(VHD_SRC) tests/lib/memfile.c tests/lib/oracle.c \
                       tests/lib/vhdimg.c tests/lib/diffimg.c
FUZZ_LIBS_vhd_chain := $(LIBS_VHD)
FUZZ += hv_hypercall
FUZZ_SRC_hv_hypercall := $(VMBUS_SRC) hv/hypercall.c tests/lib/guest.c \
                         tests/lib/guest_talk.c tests/lib/guest_ring.c \
                         tests/lib/fakedev.c
FUZZ_SRC_vhd_merge  := $(VHD_SRC) tests/lib/memfile.c \
                       tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_merge := $(LIBS_VHD)
FUZZ_SRC_vhd_edit  := $(VHD_SRC) tools/gpt.c tests/lib/memfile.c \
                       tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_edit := $(LIBS_VHD)
FUZZ_SRC_vhd_repair  := $(VHD_SRC) tests/lib/memfile.c \
                       tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_repair := $(LIBS_VHD)
FUZZ_SRC_vhd_open  := $(VHD_SRC) tests/lib/memfile.c \
                       tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_open := $(LIBS_VHD)
FUZZ_SRC_vmbus_ring    := hv/gpa.c hv/vmbus/ring.c hv/vmbus/packet.c
FUZZ_SRC_vmbus_message := $(VMBUS_SRC) tests/lib/guest.c \
                          tests/lib/guest_talk.c tests/lib/guest_ring.c \
                          tests/lib/fakedev.c
FUZZ_SRC_storvsp_session := $(STORVSP_SRC) $(VMBUS_SRC) $(VHD_SRC) \
                            tests/lib/guest.c tests/lib/guest_talk.c \
                            tests/lib/guest_ring.c tests/lib/vsc.c \
                            tests/lib/vsc_scsi.c tests/lib/memfile.c \
                            tests/lib/simengine.c
FUZZ_LIBS_storvsp_session := $(LIBS_VHD)
FUZZ_SRC_scsi_cdb := storvsp/command.c storvsp/inquiry.c storvsp/mode.c \
                     storvsp/capacity.c storvsp/readwrite.c storvsp/sense.c \
                     storvsp/target.c

# Where foreign bytes come in, FILE:TARGET; fuzz-build fails where a target is
# missing or is not built from its file.
FUZZ_SURFACES := vhd/probe.c:vhd_open vhd/open.c:vhd_open vhd/alloc.c:vhd_ops \
                 vhd/zero.c:vhd_ops vhd/locator.c:vhd_chain \
                 vhd/parent.c:vhd_chain vhd/chain.c:vhd_chain \
                 vhd/repair.c:vhd_repair vhd/check.c:vhd_repair \
                 vhd/resize.c:vhd_edit vhd/compact.c:vhd_edit \
                 tools/gpt.c:vhd_edit vhd/merge.c:vhd_merge \
                 storvsp/command.c:scsi_cdb storvsp/readwrite.c:scsi_cdb \
                 storvsp/request.c:storvsp_session \
                 storvsp/session.c:storvsp_session \
                 storvsp/channel.c:storvsp_session \
                 hv/vmbus/ring.c:vmbus_ring hv/vmbus/packet.c:vmbus_ring \
                 hv/vmbus/message.c:vmbus_message \
                 hv/vmbus/gpadl.c:vmbus_message \
                 hv/hypercall.c:hv_hypercall hv/board.c:hv_pio_mmio \
                 hv/chip/uart.c:hv_pio_mmio hv/chip/cmos.c:hv_pio_mmio \
                 hv/chip/pm.c:hv_pio_mmio hv/bzimage.c:hv_loader \
                 hv/boot_linux.c:hv_loader tools/convert_args.c:tool_args \
                 tools/hv_args.c:tool_args tools/cli/options.c:tool_args \
                 tools/cli/size.c:tool_args tools/cli/text.c:tool_args

MANPAGES := tools/vhd-inspect.1 tools/vhd-convert.1 tools/hv.1
MANPAGES += tools/vhd.1 tools/vhd-check.1 tools/vhd-compare.1 \
            tools/vhd-create.1 tools/vhd-map.1 tools/vhd-repair.1
MANPAGES += tools/vhd-merge.1
MANPAGES += tools/vhd-resize.1 tools/vhd-compact.1
MANPAGES += tools/vhd-rebase.1 tools/vhd-snapshot.1

MANPAGES += tools/vhd-set.1

MANPAGES += tools/vhd-diff.1

# libfuse3 has its headers in a folder of its own.
$(BUILD)/obj/tools/freemap_mount.o: CFLAGS_ALL += -I/usr/include/fuse3
MANPAGES += tools/vhd-bench.1

MANPAGES += tools/vhd-serve.1 tools/vhd-mount.1 tools/vhd-unmount.1

# -------------------------------------------------------------------- rules
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIBVHD     := $(BUILD)/lib/libvhd.a
LIBVHD_SO  := $(BUILD)/lib/libvhd.so.$(SOVERSION)
LIBVMBUS   := $(BUILD)/lib/libvmbus.a
LIBHV      := $(BUILD)/lib/libhv.a
LIBSTORVSP := $(BUILD)/lib/libstorvsp.a
LIBCLI     := $(BUILD)/lib/libcli.a
LIBTEST    := $(BUILD)/lib/libtest.a
NBD_PLUGIN := $(BUILD)/lib/nbdkit/nbdkit-vhd-plugin.so

UNIT := $(UNIT_VHD) $(UNIT_VMBUS) $(UNIT_HV) $(UNIT_STORVSP) $(UNIT_TOOLS)

.PHONY: all clean layers style unit check install help deps demo bench \
        unit-build unit-run bench-build
.DELETE_ON_ERROR:
all: $(addprefix $(BUILD)/bin/,$(PROGRAMS) $(VHD_VERBS)) $(LIBVHD) $(LIBVHD_SO) \
     $(NBD_PLUGIN)

$(addprefix $(BUILD)/bin/,$(VHD_VERBS)): $(BUILD)/bin/vhd
	ln -sf vhd $@

$(LIBVHD): $(call obj,$(VHD_SRC))
$(LIBVMBUS): $(call obj,$(VMBUS_SRC))
$(LIBHV): $(call obj,$(HV_SRC))
$(LIBSTORVSP): $(call obj,$(STORVSP_SRC))
$(LIBCLI): $(call obj,$(CLI_SRC))
$(LIBTEST): $(call obj,$(TESTLIB_SRC))
$(BUILD)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

# The shared library shows what vhd.h and its parts declare and nothing else;
# they are the one list of it.
$(BUILD)/gen/libvhd.map: $(VHD_HEADERS) | $(BUILD)/.deps
	@mkdir -p $(@D)
	{ echo 'VHD_$(SOVERSION) {'; echo '	global:'; \
	  $(CC) -E -P -x c vhd/vhd.h | grep -oE '\<vhd_[a-z0-9_]+ *\(' | \
	  tr -d ' (' | sort -u | sed 's/.*/		&;/'; \
	  echo '	local: *;'; echo '};'; } >$@

$(LIBVHD_SO): $(call obj,$(VHD_SRC)) $(BUILD)/gen/libvhd.map
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,$(@F) \
	  -Wl,--version-script=$(BUILD)/gen/libvhd.map \
	  -o $@ $(filter %.o,$^) $(LIBS_VHD)

# The library is inside; nbdkit sees one name.
$(NBD_PLUGIN): $(call obj,$(SRC_plugin)) $(LIBCLI) $(LIBVHD)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -shared -Wl,--exclude-libs,ALL \
	  -Wl,--version-script=tools/nbdkit_vhd.map \
	  -o $@ $^ -Wl,--as-needed $(LIBS_VHD)

$(BUILD)/obj/%.o: %.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/obj/tools/cli/options.o $(BUILD)/obj/tools/nbdkit_vhd.o: CFLAGS_ALL += -DCLI_VERSION=\"$(VERSION)\"

$(BUILD)/obj/tools/mount_fs.o: CFLAGS_ALL += -I/usr/include/fuse3

# The DSDT: from ASL at build time, into a header of bytes.
$(BUILD)/gen/dsdt.h: hv/dsdt.asl | $(BUILD)/.deps
	@mkdir -p $(@D)
	iasl -ve -oa -p $(BUILD)/gen/dsdt -tc $< >$(BUILD)/gen/dsdt.log 2>&1 || \
	  { cat $(BUILD)/gen/dsdt.log; exit 1; }
	sed 's/^unsigned char/static const &/' $(BUILD)/gen/dsdt.hex >$@
$(BUILD)/obj/hv/acpi.o $(BUILD)/obj/fuzz-objects/hv/acpi.o: \
  $(BUILD)/gen/dsdt.h

# The first process of hv's nested machine: static, never sanitized (it runs
# without libraries), carried inside hv.
$(BUILD)/gen/hv-init: tools/hv_init.c tools/hv_init.h | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CC) $(BASE) $(WARN) -Os -static -s -o $@ $<
$(BUILD)/obj/tools/hv_blob.o: $(BUILD)/gen/hv-init
$(BUILD)/obj/tools/hv_blob.o: CFLAGS_ALL += -DHV_INIT_FILE=\"$(BUILD)/gen/hv-init\"

define program_rule
$(BUILD)/bin/$(1): $$(call obj,$$(SRC_$(1))) $(LIBCLI) \
                   $(if $(filter hv,$(1)),$(LIBSTORVSP) $(LIBHV) $(LIBVMBUS)) \
                   $(LIBVHD)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ -Wl,--as-needed $$(LIBS_VHD) $$(LIBS_TOOLS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# $(1) test name, $(2) libraries
define unit_rule
$(BUILD)/tests/$(1): $$(call obj,tests/$(1).c) \
                     $(if $(filter $(1),$(WATCHED)),$(call obj,tests/lib/gpa_watch.c)) \
                     $(LIBTEST) $(2)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ -lcmocka $$(LIBS_VHD) $$(LIBS_TOOLS)
endef
$(foreach t,$(UNIT_VHD),$(eval $(call unit_rule,$(t),$(LIBVHD))))
$(foreach t,$(UNIT_VMBUS),$(eval $(call unit_rule,$(t),$(LIBVMBUS) $(LIBVHD))))
$(foreach t,$(UNIT_HV),$(eval $(call unit_rule,$(t),$(LIBHV) $(LIBVMBUS) $(LIBVHD))))
$(foreach t,$(UNIT_STORVSP),$(eval $(call unit_rule,$(t),$(LIBSTORVSP) $(LIBVMBUS) $(LIBVHD))))
$(foreach t,$(UNIT_TOOLS),$(eval $(call unit_rule,$(t),$(call obj,$(SRC_$(t))) $(LIBCLI) $(LIBVHD))))

# Allocations of this one can be made to fail.
$(BUILD)/tests/vmbus_nomem: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc,--wrap=eventfd
$(BUILD)/tests/vhd_nomem: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc \
  -Wl,--wrap=strdup,--wrap=realpath,--wrap=fdopendir \
  -Wl,--wrap=aligned_alloc
# No unit test, but built like one: what tests/cross_vhd.sh runs.
$(eval $(call unit_rule,cross_vhd,$(LIBVHD)))

# This one counts and refuses the library's allocations.
$(BUILD)/tests/vhd_queue_nomem: LDFLAGS_ALL += \
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

unit-build: $(addprefix $(BUILD)/tests/,$(UNIT) cross_vhd)
unit: unit-build
	tests/run-unit.sh $(BUILD) $(UNIT)
# What is built; a test that is not fails.
unit-run:
	tests/run-unit.sh $(BUILD) $(UNIT)

# ------------------------------------------------------------------ fuzz
# Always clang with libFuzzer, ASan and UBSan, whatever CC and SAN are; its
# objects are apart from all others.
FUZZ_OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer
fuzz_obj = $(patsubst %.c,$(BUILD)/obj/fuzz-objects/%.o,$(1))

$(BUILD)/obj/fuzz-objects/tools/cli/options.o: \
  FUZZ_OPT += -DCLI_VERSION=\"$(VERSION)\"
$(BUILD)/obj/fuzz-objects/%.o: %.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CLANG) $(BASE) $(FUZZ_OPT) -fsanitize=fuzzer-no-link $(WARN) \
	  -c -o $@ $<

define fuzz_rule
$(BUILD)/fuzz/$(1): $$(call fuzz_obj,fuzz/$(1).c $$(FUZZ_SRC_$(1)))
	@mkdir -p $$(@D)
	$$(CLANG) $$(FUZZ_OPT) -fsanitize=fuzzer -pthread -o $$@ $$^ \
	  $$(FUZZ_LIBS_$(1))
.PHONY: fuzz-$(1)
fuzz-$(1): $(BUILD)/fuzz/$(1)
	tests/run-fuzz.sh $(BUILD) $(TIME) $(1)
endef
$(foreach t,$(FUZZ),$(eval $(call fuzz_rule,$(t))))

# Every surface of FUZZ_SURFACES has a target that is built from it and has
# seeds; every file in fuzz/ is a target.
surface_file   = $(firstword $(subst :, ,$(1)))
surface_target = $(lastword $(subst :, ,$(1)))
surface_fault  = $(if $(filter $(surface_target),$(FUZZ)),$(if $(filter \
  $(surface_file),$(FUZZ_SRC_$(surface_target))),$(if $(wildcard \
  fuzz/corpus/$(surface_target)/*),,$(1):no-seeds),$(1):not-built-in),$(1))
surface_faults = $(strip $(foreach s,$(FUZZ_SURFACES),$(call \
  surface_fault,$(s))) $(filter-out $(FUZZ),$(patsubst fuzz/%.c,%,$(wildcard \
  fuzz/*.c))))
.PHONY: fuzz-surfaces
fuzz-surfaces:
	@if [ -n '$(surface_faults)' ]; then \
	  echo 'surfaces without a fuzz target: $(surface_faults)'; exit 1; fi

.PHONY: fuzz fuzz-build fuzz-replay
fuzz-build: fuzz-surfaces $(addprefix $(BUILD)/fuzz/,$(FUZZ))
fuzz: fuzz-build
	tests/run-fuzz.sh $(BUILD) $(TIME) $(FUZZ)
fuzz-replay: fuzz-build
	tests/run-fuzz.sh $(BUILD) 0 $(FUZZ)

# ------------------------------------------------- packages, suites, demo
# What the compiler needs is installed (as root) or asked for (otherwise)
# before the first object; the other targets ask for more by themselves.
$(BUILD)/.deps: tools/deps.sh
	@mkdir -p $(@D)
	@tools/deps.sh build
	@touch $@

deps:
	@tools/deps.sh

layers:
	tests/layers.sh --self-test
	tests/layers.sh

style:
	tests/style.sh

# Each suite builds what it runs, so that a failure to build is its first line.
export BUILD
check:
	+@MAKE='$(MAKE)' SAN='$(SAN)' tests/check.sh

# Programs of benchmarks only are prerequisites of bench-build.
bench-build: $(BUILD)/bench/queue $(BUILD)/bench/measure $(BUILD)/bench/chain
$(BUILD)/bench/measure: $(call obj,tests/bench/measure.c)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^
$(BUILD)/bench/queue: $(call obj,tests/bench/queue.c) $(LIBVHD)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_VHD)
$(BUILD)/bench/chain: $(call obj,tests/bench/chain.c) $(LIBVHD)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_VHD)

bench:
	+@MAKE='$(MAKE)' tests/bench/run.sh

demo:
	+@MAKE='$(MAKE)' AUTO='$(AUTO)' tests/guest/demo/demo.sh

help:
	@echo 'make                 programs into $(BUILD)/bin, libraries into $(BUILD)/lib'
	@echo 'make SAN=1           the same under ASan and UBSan, into build-san'
	@echo 'make CC=clang        the same by clang'
	@echo 'make demo            boot Debian from a dynamic VHD to a login prompt'
	@echo 'make demo AUTO=1     the same without a person; prints a summary'
	@echo 'make check           every test of the quick suite (SAN=1: sanitized)'
	@echo 'make unit            unit tests only'
	@echo 'make fuzz            every fuzz target for TIME=10 seconds'
	@echo 'make fuzz-NAME       one of: $(FUZZ)'
	@echo 'make fuzz-replay     their seeds only'
	@echo 'make bench           measurements against fio and QEMU'
	@echo 'make layers style    rules of the tree: includes, sizes'
	@echo 'make install         PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make deps            install the Debian packages all of this needs'
	@echo 'make clean'

# ---------------------------------------------------------------- install
BINDIR     := $(PREFIX)/bin
LIBDIR     := $(PREFIX)/lib
INCLUDEDIR := $(PREFIX)/include/vhd
MANDIR     := $(PREFIX)/share/man/man1
COMPDIR    := $(PREFIX)/share/bash-completion/completions

$(BUILD)/gen/vhd.pc: Makefile | $(BUILD)/.deps
	@mkdir -p $(@D)
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' \
	  'includedir=$${prefix}/include/vhd' '' 'Name: vhd' \
	  'Description: Virtual Hard Disk images' 'Version: $(VERSION)' \
	  'Libs: -L$${libdir} -lvhd' 'Libs.private: $(LIBS_VHD) -pthread' \
	  'Cflags: -I$${includedir}' >$@

# PREFIX is written into vhd.pc, so it is made for this one. nbdkit's own folder
# gets the plugin, too, where it is below PREFIX.
install: all
	@rm -f $(BUILD)/gen/vhd.pc
	@$(MAKE) --no-print-directory -s $(BUILD)/gen/vhd.pc
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBDIR)/pkgconfig \
	  $(LIBDIR)/nbdkit \
	  $(INCLUDEDIR) $(MANDIR) $(COMPDIR))
	install -m 755 $(addprefix $(BUILD)/bin/,$(PROGRAMS)) $(DESTDIR)$(BINDIR)
	for verb in $(VHD_VERBS); do \
	  ln -sf vhd $(DESTDIR)$(BINDIR)/$$verb; done
	install -m 644 tools/vhd.bash-completion $(DESTDIR)$(COMPDIR)/vhd
	for name in vhd-convert vhd-inspect vhd-mount $(VHD_VERBS); do \
	  ln -sf vhd $(DESTDIR)$(COMPDIR)/$$name; done
	install -m 644 $(VHD_HEADERS) $(DESTDIR)$(INCLUDEDIR)
	install -m 644 $(LIBVHD) $(DESTDIR)$(LIBDIR)
	install -m 755 $(LIBVHD_SO) $(DESTDIR)$(LIBDIR)
	ln -sf $(notdir $(LIBVHD_SO)) $(DESTDIR)$(LIBDIR)/libvhd.so
	install -m 644 $(BUILD)/gen/vhd.pc $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(NBD_PLUGIN) $(DESTDIR)$(LIBDIR)/nbdkit
	dir=$$(nbdkit --dump-config 2>/dev/null | \
	  sed -n 's/^plugindir=//p'); \
	case $$dir in $(PREFIX)/*) install -d $(DESTDIR)$$dir && \
	  install -m 755 $(NBD_PLUGIN) $(DESTDIR)$$dir ;; esac
	install -m 644 $(MANPAGES) $(DESTDIR)$(MANDIR)

clean:
	rm -rf build build-san

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
