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
BASE  = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -I$(BUILD)/gen \
        -MMD -MP -pthread -fPIC -fvisibility=default
ifeq ($(SAN),1)
BUILD := build-san
OPT  := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
        -fno-omit-frame-pointer
else ifeq ($(TSAN),1)
BUILD := build-tsan
OPT  := -O1 -g -fsanitize=thread -Wno-tsan -fno-omit-frame-pointer
else ifeq ($(COV),1)
BUILD := build-cov
OPT  := -O0 -g --coverage
else
OPT  := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
endif
# One name for one folder: prerequisites that were recorded under another one
# would not count.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))
CFLAGS_ALL  := $(BASE) $(OPT) $(WARN) $(CFLAGS)
LDFLAGS_ALL := $(OPT) -pthread $(LDFLAGS)
ifeq ($(COV),1)
# Tests go through all of a small ring, and are not what is measured.
$(BUILD)/obj/tests/%.o: CFLAGS_ALL := $(BASE) -O2 -g $(WARN) $(CFLAGS)
endif

LIBS_VHD   := -luring -laio -lisal -lnbd
LIBS_TOOLS := -Wl,--as-needed -lext2fs -lcom_err -lfuse3 -lnbd -lcrypto -lz -lblkid -ljson-c -lseccomp -lisal

# ------------------------------------------------------------------ sources
# What is installed: vhd.h, and what it includes.
VHD_HEADERS := vhd/vhd.h vhd/vhd_check.h vhd/vhd_edit.h vhd/vhd_stream.h \
               vhd/err.h

VHD_SRC := vhd/footer.c vhd/header.c vhd/geometry.c vhd/creator.c vhd/file.c \
           vhd/lock.c vhd/split.c vhd/probe.c vhd/open.c vhd/open_file.c \
           vhd/image_life.c vhd/create.c vhd/create_write.c vhd/create_child.c \
           vhd/relate.c vhd/inplace.c vhd/info.c vhd/locator.c vhd/chain.c \
           vhd/parent.c vhd/bat.c vhd/batmap.c vhd/bitmap.c vhd/map.c \
           vhd/alloc.c vhd/written.c vhd/commit.c vhd/tail.c vhd/sync.c \
           vhd/queue.c vhd/queue_engine.c vhd/queue_image.c vhd/queue_io.c \
           vhd/queue_flush.c vhd/queue_req.c \
           vhd/engine_uring.c vhd/engine_aio.c vhd/engine_sync.c \
           vhd/engine_nbd.c vhd/nbd.c vhd/nbd_link.c vhd/nbd_run.c \
           vhd/nbd_send.c \
           vhd/nbd_part.c vhd/nbd_keep.c vhd/nbd_hand.c vhd/nbd_line.c \
           vhd/nbd_connector.c vhd/zero.c vhd/rebase.c \
           vhd/rebase_copy.c vhd/rebase_header.c vhd/survey.c vhd/check.c \
           vhd/check_tell.c vhd/check_code.c vhd/check_footer.c \
           vhd/check_header.c vhd/check_bat.c vhd/check_batmap.c \
           vhd/check_chain.c vhd/check_data.c vhd/check_host.c \
           vhd/check_target.c vhd/stream.c vhd/layout.c vhd/adopt.c vhd/grow.c \
           vhd/resize.c vhd/resize_blocked.c vhd/resize_fixed.c vhd/compact.c \
           vhd/compact_tell.c vhd/compact_scan.c vhd/compact_move.c \
           vhd/compact_copy.c vhd/compact_punch.c vhd/undo.c vhd/repair.c \
           vhd/repair_note.c vhd/repair_footer.c vhd/repair_bat.c \
           vhd/repair_batmap.c vhd/salvage.c vhd/salvage_parent.c vhd/set.c \
           vhd/merge.c vhd/merge_plan.c vhd/merge_copy.c

VMBUS_SRC := hv/gpa.c hv/vmbus/guid.c hv/vmbus/log.c hv/vmbus/queue.c \
             hv/vmbus/message.c hv/vmbus/connection.c hv/vmbus/offer.c \
             hv/vmbus/open.c hv/vmbus/gpadl.c hv/vmbus/channel.c \
             hv/vmbus/ring.c hv/vmbus/packet.c

IC_SRC := hv/ic/ic.c hv/ic/icmsg.c hv/ic/text.c hv/ic/shutdown.c \
          hv/ic/heartbeat.c hv/ic/timesync.c hv/ic/kvp.c hv/ic/vss.c

IDE_SRC := hv/chip/pci.c hv/chip/ide.c hv/chip/ide_line.c \
           hv/chip/ide_medium.c hv/chip/ide_data.c hv/chip/ide_dma.c \
           hv/chip/ide_ata.c hv/chip/ide_identify.c hv/chip/ide_atapi.c \
           hv/chip/ide_packet.c

INT13_SRC := $(addprefix hv/int13/,call.c move.c chs.c edd.c disc.c) \
             hv/eltorito.c

HV_SRC := hv/kvm.c hv/notice.c hv/partition.c hv/restart.c hv/machine.c \
          hv/vcpu.c hv/exits.c hv/control.c hv/console.c hv/outlet.c \
          hv/ask.c hv/rouse.c hv/stand.c hv/service.c $(IC_SRC) \
          hv/memory.c hv/cpuid.c hv/synic.c hv/hypercall.c hv/irq.c \
          hv/board.c hv/acpi.c \
          hv/bzimage.c hv/boot_linux.c hv/boot_bios.c $(INT13_SRC) \
          hv/chip/uart.c hv/chip/cmos.c hv/chip/pm.c hv/chip/fwcfg.c \
          hv/piix.c hv/smbios.c $(IDE_SRC)

# What a SCSI device does; no rings, no threads.
SCSI_SRC := $(addprefix storvsp/scsi/,target.c command.c disk_commands.c \
            reply.c plain.c opcodes.c inquiry.c mode.c select.c logsense.c \
            capacity.c readwrite.c provision.c sense.c attention.c reserve.c \
            reserve_in.c dvd.c dvd_info.c dvd_mode.c dvd_commands.c)
STORVSP_SRC := storvsp/device.c storvsp/controller.c storvsp/disks.c \
               storvsp/holders.c storvsp/tune.c storvsp/leave.c \
               storvsp/mail.c storvsp/log.c storvsp/session.c \
               storvsp/channel.c storvsp/drain.c storvsp/scope.c \
               storvsp/reset.c storvsp/request.c storvsp/buffer.c \
               $(SCSI_SRC) storvsp/blocks.c storvsp/compare.c \
               storvsp/turn.c storvsp/now.c \
               storvsp/gate.c storvsp/histogram.c storvsp/limit.c \
               storvsp/policy.c storvsp/stats.c

CLI_SRC := tools/cli/fault.c tools/cli/ident.c tools/cli/json.c \
           tools/cli/options.c tools/cli/parent.c tools/cli/progress.c \
           tools/cli/rate.c tools/cli/sandbox.c tools/cli/size.c \
           tools/cli/streams.c \
           tools/cli/text.c tools/cli/text_stream.c

# What a program gives up before it meets foreign bytes.
SANDBOX_SRC := tools/sandbox/table.c tools/sandbox/filter.c \
               tools/sandbox/landlock.c tools/sandbox/rights.c \
               tools/sandbox/ring.c tools/sandbox/places.c \
               tools/sandbox/server.c tools/sandbox/enter.c

# Programs: sources beside the libraries they need are listed per program.
PROGRAMS := hv vhd vhd-convert vhd-inspect vhd-mount
# Names under which `vhd` is one of its verbs.
VHD_VERBS := vhd-bench vhd-check vhd-compare vhd-create vhd-diff vhd-map \
             vhd-repair vhd-merge vhd-set vhd-serve vhd-rebase vhd-snapshot \
             vhd-resize vhd-compact vhd-unmount
SRC_vhd := tools/verb/vhd.c tools/inspect/extent.c tools/verb/words.c \
           tools/verb/stop.c \
           tools/verb/check.c tools/verb/compare.c tools/verb/create.c \
           tools/verb/map.c tools/verb/preset.c tools/verb/repair.c \
           tools/verb/salvage.c tools/convert/job.c tools/convert/input.c \
           tools/convert/extents.c tools/convert/image.c tools/convert/share.c \
           tools/convert/output.c tools/convert/writeback.c \
           tools/convert/verify.c tools/verb/rebase.c tools/verb/snapshot.c \
           tools/verb/compact.c tools/verb/freemap.c tools/verb/freemap_set.c \
           tools/verb/freemap_ext.c \
           tools/verb/freemap_tool.c tools/verb/freemap_mount.c \
           tools/verb/resize.c tools/verb/gpt.c tools/inspect/content.c \
           tools/inspect/hints.c tools/inspect/view.c tools/inspect/words.c \
           tools/verb/merge.c tools/verb/merge_others.c tools/verb/set.c \
           tools/verb/set_children.c tools/verb/diff.c \
           tools/verb/diff_report.c tools/verb/bench.c tools/verb/bench_run.c \
           tools/serve/verb_serve.c tools/serve/serve.c \
           tools/serve/verb_unmount.c
SRC_vhd-inspect := tools/inspect/vhd-inspect.c tools/inspect/extent.c \
                   tools/inspect/content.c tools/inspect/hints.c \
                   tools/inspect/json.c tools/inspect/json_parts.c \
                   tools/inspect/text.c tools/inspect/row.c \
                   tools/inspect/view.c tools/inspect/words.c \
                   tools/inspect/alloc.c tools/inspect/chain.c \
                   tools/inspect/map.c tools/inspect/svg.c \
                   tools/inspect/svg_text.c \
                   tools/inspect/svg_band.c tools/inspect/svg_legend.c \
                   tools/convert/output.c tools/convert/input.c
SRC_vhd-convert := tools/convert/vhd-convert.c tools/convert/args.c \
                   tools/convert/confine.c \
                   tools/convert/job.c tools/convert/input.c \
                   tools/convert/extents.c tools/convert/output.c \
                   tools/convert/writeback.c tools/convert/image.c \
                   tools/convert/copy.c tools/convert/file.c \
                   tools/convert/from.c tools/convert/to.c \
                   tools/convert/to_stream.c tools/convert/serial.c \
                   tools/convert/bytes.c tools/convert/gzip.c \
                   tools/convert/feed.c tools/convert/stream.c \
                   tools/convert/from_stream.c tools/convert/spool.c \
                   tools/convert/digest.c tools/convert/report.c \
                   tools/convert/nbd.c tools/convert/nbd_ends.c \
                   tools/convert/qemu.c tools/convert/verify.c \
                   tools/convert/place.c tools/convert/inplace.c \
                   tools/convert/share.c tools/convert/diff.c \
                   tools/convert/journal.c tools/convert/resume.c \
                   tools/verb/words.c tools/verb/preset.c
# hv: its command line and disks; its control socket.
HV_TERMINAL_SRC := tools/hv/terminal.c tools/hv/say.c hv/outlet.c
HV_ARGS_SRC := $(addprefix tools/hv/,args.c limit.c pin.c disk.c nbd_lazy.c \
               keeper.c) $(HV_TERMINAL_SRC)
HV_CTL_SRC := $(addprefix tools/hv/,ctl.c ctl_talk.c ctl_show.c ctl_request.c \
              ctl_socket.c ctl_server.c ctl_disk.c ctl_look.c ctl_life.c \
              ctl_console.c ctl_guest.c ctl_attach.c ctl_files.c \
              ctl_link.c)
SRC_hv := $(filter tools/%,$(HV_ARGS_SRC)) $(HV_CTL_SRC) \
          $(addprefix tools/hv/,main.c run.c accel.c \
          controllers.c fwdisk.c fwdisk_place.c fwdisk_door.c \
          fwdisk_turn.c firmware.c escape.c \
          nested.c qemu.c modules.c vmlinux.c shares.c initramfs.c \
          cpio.c blob.c)

SRC_vhd-mount := tools/serve/vhd-mount.c tools/serve/mount_fs.c \
                 tools/serve/mount_part.c tools/serve/mount_overlay.c \
                 tools/serve/served.c tools/inspect/extent.c \
                 tools/inspect/content.c tools/inspect/hints.c \
                 tools/inspect/view.c tools/inspect/words.c tools/verb/words.c

# The nbdkit plugin.
SRC_plugin := tools/serve/nbdkit_vhd.c tools/serve/served.c \
              tools/inspect/extent.c

# Unit tests: each is tests/NAME.c with cmocka, run from $(BUILD)/tests/NAME.
UNIT_VHD := vhd_floor vhd_locator vhd_footer vhd_header vhd_geometry \
            vhd_creator vhd_probe vhd_open vhd_bitmap vhd_bat vhd_map \
            vhd_alloc vhd_commit vhd_tail vhd_crash vhd_create vhd_file \
            vhd_lock vhd_sync vhd_threads vhd_nomem vhd_nomem_calls \
            vhd_inplace vhd_stream \
            vhd_engine vhd_queue vhd_queue_sim vhd_queue_flush vhd_queue_host \
            vhd_queue_alloc vhd_queue_nomem vhd_queue_zero vhd_queue_memory \
            vhd_model \
            vhd_check vhd_check_data \
            vhd_check_target vhd_chain vhd_parent vhd_layer vhd_written \
            vhd_written_flush vhd_written_crash vhd_create_child vhd_rebase vhd_resize vhd_resize_crash \
            vhd_grow \
            vhd_compact vhd_malformed_table vhd_malformed_footer \
            vhd_malformed_parent vhd_split vhd_keep vhd_check_chain \
            vhd_merge vhd_merge_file vhd_random vhd_set vhd_repair vhd_undo \
            vhd_salvage vhd_oracle vhd_zero vhd_bound vhd_confine vhd_fault \
            vhd_nbd vhd_nbd_wait vhd_written_nbd
UNIT_VMBUS := vmbus_guid vmbus_gpa vmbus_ring vmbus_ring_every \
              vmbus_ring_hostile vmbus_packet vmbus_connection \
              vmbus_offer vmbus_gpadl vmbus_channel vmbus_flow vmbus_message \
              vmbus_fetch vmbus_fence vmbus_nomem vmbus_stress \
              vmbus_hostile vmbus_pass \
              vmbus_bound
UNIT_HV := hv_uart hv_chips hv_acpi hv_cpuid hv_boot hv_hypercall hv_synic \
           hv_hypercall_fetch hv_kvm hv_rouse hv_reset hv_ask hv_outlet hv_ic \
           hv_ic_kvp hv_ic_vss hv_ic_hostile hv_ide hv_ide_dma hv_ide_dvd hv_pci hv_fwcfg \
           hv_int13 hv_bios hv_smbios
UNIT_STORVSP := storvsp_histogram storvsp_limit storvsp_gate storvsp_pause storvsp_full \
                storvsp_trace \
                storvsp_session storvsp_command storvsp_inquiry storvsp_mode \
                storvsp_capacity storvsp_readwrite storvsp_target \
                storvsp_sense storvsp_attention storvsp_buffer \
                storvsp_log storvsp_vsp \
                storvsp_request storvsp_drain storvsp_reset storvsp_remove \
                storvsp_fault \
                storvsp_fault_table \
                storvsp_hostile storvsp_hostile_guest storvsp_fetch \
                storvsp_thread storvsp_channels storvsp_hostile_scsi \
                storvsp_hostile_flood storvsp_hostile_steps \
                storvsp_hostile_flip storvsp_provision storvsp_select \
                storvsp_blocks storvsp_reserve storvsp_compare storvsp_dvd \
                storvsp_ide
# Its libraries' allocations are the test's own functions.
UNIT_COUNTED := storvsp_nomem
UNIT_TOOLS := tools_cli tools_convert tools_fault tools_hv tools_nested \
              tools_keeper tools_fwdisk tools_fwstress tools_firmware \
              tools_inspect tools_size tools_bench tools_digest tools_stream tools_place \
              tools_gpt tools_sandbox tools_ctl tools_ctl_request \
              tools_ctl_disk tools_ctl_guest tools_ctl_nbd tools_ctl_patience tools_accel
SRC_tools_bench := tools/verb/bench_run.c
SRC_tools_stream  := $(filter-out tools/convert/vhd-%,$(SRC_vhd-convert))
SRC_tools_digest  := tools/convert/digest.c tools/convert/job.c
SRC_tools_place   := $(filter-out tools/convert/vhd-%,$(SRC_vhd-convert))
SRC_tools_convert := $(filter-out tools/convert/vhd-%,$(SRC_vhd-convert))
SRC_tools_keeper  := tools/hv/keeper.c
SRC_tools_fwdisk  := $(addprefix tools/hv/,fwdisk.c fwdisk_place.c fwdisk_door.c \
                     fwdisk_turn.c)
SRC_tools_fwstress := $(SRC_tools_fwdisk)
SRC_tools_firmware := tools/hv/firmware.c $(HV_ARGS_SRC)
SRC_tools_hv      := $(addprefix tools/hv/,args.c limit.c pin.c escape.c) \
                     $(HV_TERMINAL_SRC)
SRC_tools_nested  := $(addprefix tools/hv/,disk.c nbd_lazy.c keeper.c \
                     modules.c shares.c cpio.c) $(HV_TERMINAL_SRC)
SRC_tools_ctl     := $(HV_ARGS_SRC) $(HV_CTL_SRC) $(SRC_tools_fwdisk) \
                     tools/hv/escape.c tests/lib/fakehv.c
SRC_tools_ctl_request := tools/hv/ctl_request.c
SRC_tools_ctl_disk  := $(SRC_tools_ctl)
SRC_tools_ctl_guest := $(SRC_tools_ctl)
SRC_tools_ctl_nbd   := $(SRC_tools_ctl)
SRC_tools_accel   := $(addprefix tools/hv/,accel.c ctl_socket.c pin.c)
SRC_tools_ctl_patience := $(SRC_tools_ctl)
SRC_tools_gpt     := tools/verb/gpt.c
SRC_tools_inspect := $(filter-out tools/inspect/vhd-%,$(SRC_vhd-inspect))
TESTLIB_SRC := tests/lib/memfile.c tests/lib/recfile.c tests/lib/vhdimg.c \
               tests/lib/simengine.c tests/lib/scsitask.c tests/lib/vsc.c \
               tests/lib/vsc_scsi.c tests/lib/simvsp.c tests/lib/guest.c \
               tests/lib/guest_talk.c tests/lib/guest_ring.c \
               tests/lib/fakedev.c tests/lib/diffimg.c tests/lib/malformed.c \
               tests/lib/stack.c tests/lib/world.c tests/lib/world_write.c \
               tests/lib/checkimg.c tests/lib/damage.c tests/lib/oracle.c \
               tests/lib/resizeimg.c \
               tests/lib/tally.c tests/lib/crashdisk.c tests/lib/crashstate.c \
               tests/lib/simdisk.c tests/lib/simmodel.c tests/lib/fakenbd.c \
               tests/lib/nbdhand.c
# Programs of tests/proof/*.sh, each tests/NAME.c with SRC_NAME, built by
# unit-build.
PROOF_PROGRAMS := proof/crash proof/sim proof/tools
SRC_proof/tools := tests/proof/toolcase.c tests/proof/toolrun.c \
                   tests/proof/tooldir.c tests/proof/tools_memory.c \
                   tests/proof/tools_calls.c tests/proof/tools_full.c
SRC_proof/crash := tests/proof/crash_class.c tests/proof/crash_op.c \
                   tests/proof/crash_edit.c tests/proof/crash_repair.c \
                   tests/proof/crash_model.c tests/proof/crash_check.c \
                   tests/proof/crash_run.c tests/proof/crash_guest.c \
                   tests/proof/crash_barrier.c
SRC_proof/sim := tests/proof/sim_event.c tests/proof/sim_machine.c \
                 tests/proof/sim_disk.c tests/proof/sim_ask.c \
                 tests/proof/sim_post.c \
                 tests/proof/sim_answer.c tests/proof/sim_fault.c \
                 tests/proof/sim_tally.c
# These have hv/gpa.c replaced by the door that counts and flips: all that run
# a guest's packets.
WATCHED      := vmbus_channel vmbus_flow vmbus_message vmbus_fetch \
                vmbus_stress vmbus_hostile hv_hypercall_fetch $(UNIT_STORVSP)
# Fuzz targets whose corpus is replayed behind that door, without libFuzzer.
REPLAYED     := storvsp_session vmbus_message

# These have the system calls of the library wrapped.
FAULTED      := vhd_fault
FAULT_SRC    := tests/lib/fault.c tests/lib/fault_table.c \
                tests/lib/fault_wrap.c tests/lib/fault_aio.c \
                tests/lib/faultrun.c \
                tests/lib/faultjudge.c tests/lib/faultwork.c \
                tests/lib/faultwork_queue.c tests/lib/faultwork_create.c \
                tests/lib/faultwork_edit.c
FAULT_WRAP   := pread64 pwrite64 preadv64 pwritev64 fdatasync fsync \
                fallocate64 ftruncate64 lseek64 posix_fadvise64 open64 \
                __open64_2 syscall close unlink fcntl64 fstat64 stat64 \
                lstat64 fstatvfs64 statx realpath fdopendir readdir64 ioctl \
                io_uring_queue_init_params io_uring_register_files_update \
                io_uring_register io_uring_submit \
                io_uring_submit_and_wait_timeout io_uring_get_events \
                io_setup io_submit io_getevents io_destroy eventfd read poll \
                vhd_file_read vhd_file_write vhd_file_flush vhd_file_zero \
                vhd_file_truncate vhd_file_size vhd_file_open vhd_file_adopt \
                vhd_file_close_checked vhd_file_close vhd_file_punch \
                vhd_open_retry

# Fuzz targets: fuzz/NAME.c, seeds in fuzz/corpus/NAME/. FUZZ_SRC_NAME lists
# what else is built into it, FUZZ_LIBS_NAME what is linked to it.
TIME ?= 10
FUZZ := vmbus_ring vmbus_message storvsp_packet storvsp_session scsi_cdb \
        vhd_open vhd_repair vhd_edit vhd_merge vhd_ops vhd_chain vhd_stream \
        vhd_beside hv_loader hv_pio_mmio hv_hypercall tool_args tool_verbs \
        tool_stream tool_freemap hv_ctl hv_ide hv_fwcfg hv_int13 \
        hv_ic nbd_reply
FUZZ_SRC_nbd_reply := $(VHD_SRC)
FUZZ_LIBS_nbd_reply := $(LIBS_VHD)
FUZZ_SRC_hv_fwcfg := hv/chip/fwcfg.c hv/gpa.c
FUZZ_SRC_hv_int13 := $(INT13_SRC) hv/gpa.c
FUZZ_SRC_hv_ctl := tools/hv/ctl_request.c $(CLI_SRC) $(VHD_SRC)
FUZZ_LIBS_hv_ctl := $(LIBS_VHD) $(LIBS_TOOLS)
FUZZ_SRC_hv_ic := $(IC_SRC) $(VMBUS_SRC) tests/lib/guest.c \
                  tests/lib/guest_talk.c tests/lib/guest_ring.c
FUZZ_SRC_hv_ide := hv/board.c hv/chip/uart.c hv/chip/cmos.c hv/chip/pm.c \
                   hv/gpa.c hv/piix.c $(IDE_SRC)
# The bus behind the door that counts fetches.
WATCHED_VMBUS := $(filter-out hv/gpa.c,$(VMBUS_SRC)) tests/lib/gpa_watch.c
FUZZ_SRC_hv_loader := hv/bzimage.c hv/boot_linux.c hv/memory.c hv/acpi.c \
                      hv/smbios.c \
                      hv/gpa.c
FUZZ_SRC_hv_pio_mmio := hv/board.c hv/chip/uart.c hv/chip/cmos.c hv/chip/pm.c
FUZZ_SRC_tool_args := $(filter-out tools/convert/vhd-%,$(SRC_vhd-convert)) \
                      tools/hv/args.c tools/hv/limit.c tools/hv/pin.c tools/hv/escape.c $(CLI_SRC) \
                      $(SANDBOX_SRC) $(VHD_SRC)
FUZZ_LIBS_tool_args := $(LIBS_VHD) $(LIBS_TOOLS)
FUZZ_SRC_tool_stream := $(filter-out tools/convert/vhd-%,$(SRC_vhd-convert)) \
                        $(CLI_SRC) $(SANDBOX_SRC) $(VHD_SRC) \
                        tests/lib/memfile.c
FUZZ_LIBS_tool_stream := $(LIBS_VHD) $(LIBS_TOOLS)
FUZZ_SRC_tool_verbs := $(filter-out tools/verb/vhd.c,$(SRC_vhd)) $(CLI_SRC) \
                       $(SANDBOX_SRC) $(VHD_SRC)
FUZZ_LIBS_tool_verbs := $(LIBS_VHD) $(LIBS_TOOLS)
FUZZ_SRC_tool_freemap := $(FUZZ_SRC_tool_verbs) tests/lib/memfile.c \
                         tests/lib/fuzzimg.c
FUZZ_LIBS_tool_freemap := $(LIBS_VHD) $(LIBS_TOOLS)
FUZZ_SRC_vhd_ops := $(VHD_SRC) tests/lib/memfile.c tests/lib/oracle.c
FUZZ_LIBS_vhd_ops := $(LIBS_VHD)
FUZZ_SRC_vhd_chain := $(VHD_SRC) tests/lib/memfile.c tests/lib/oracle.c \
                      tests/lib/vhdimg.c tests/lib/diffimg.c
FUZZ_LIBS_vhd_chain := $(LIBS_VHD)
FUZZ_SRC_hv_hypercall := $(VMBUS_SRC) hv/hypercall.c tests/lib/guest.c \
                      tests/lib/guest_talk.c tests/lib/guest_ring.c \
                      tests/lib/fakedev.c
FUZZ_SRC_vhd_merge := $(VHD_SRC) tests/lib/memfile.c tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_merge := $(LIBS_VHD)
FUZZ_SRC_vhd_edit := $(VHD_SRC) tools/verb/gpt.c tests/lib/memfile.c \
                     tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_edit := $(LIBS_VHD)
FUZZ_SRC_vhd_repair := $(VHD_SRC) tests/lib/memfile.c tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_repair := $(LIBS_VHD)
FUZZ_SRC_vhd_stream := $(VHD_SRC) tests/lib/memfile.c
FUZZ_LIBS_vhd_stream := $(LIBS_VHD)
FUZZ_SRC_vhd_beside := $(VHD_SRC) tests/lib/memfile.c tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_beside := $(LIBS_VHD)
FUZZ_SRC_vhd_open := $(VHD_SRC) tests/lib/memfile.c tests/lib/fuzzimg.c
FUZZ_LIBS_vhd_open := $(LIBS_VHD)
FUZZ_SRC_vmbus_ring := hv/gpa.c hv/vmbus/ring.c hv/vmbus/packet.c
FUZZ_SRC_vmbus_message := $(WATCHED_VMBUS) tests/lib/guest.c \
                      tests/lib/guest_talk.c tests/lib/guest_ring.c \
                      tests/lib/fakedev.c tests/lib/tally.c
FUZZ_SRC_storvsp_session := $(STORVSP_SRC) $(WATCHED_VMBUS) $(VHD_SRC) \
                      tests/lib/guest.c tests/lib/guest_talk.c \
                      tests/lib/guest_ring.c tests/lib/vsc.c \
                      tests/lib/vsc_scsi.c tests/lib/memfile.c \
                      tests/lib/simengine.c tests/lib/tally.c
FUZZ_LIBS_storvsp_session := $(LIBS_VHD)
FUZZ_SRC_storvsp_packet := $(FUZZ_SRC_storvsp_session)
FUZZ_LIBS_storvsp_packet := $(LIBS_VHD)
FUZZ_LIBS_scsi_cdb := $(LIBS_VHD)
FUZZ_SRC_scsi_cdb := $(SCSI_SRC) $(VHD_SRC) tests/lib/memfile.c

# Where foreign bytes come in, FILE:TARGET; fuzz-build fails where a target is
# missing or is not built from its file.
FUZZ_SURFACES := vhd/probe.c:vhd_open vhd/open_file.c:vhd_open \
                 vhd/footer.c:vhd_open vhd/header.c:vhd_open \
                 vhd/bat.c:vhd_open vhd/batmap.c:vhd_open \
                 vhd/bitmap.c:vhd_open vhd/alloc.c:vhd_ops \
                 vhd/zero.c:vhd_ops vhd/locator.c:vhd_chain \
                 vhd/parent.c:vhd_chain vhd/chain.c:vhd_chain \
                 vhd/repair.c:vhd_repair vhd/check.c:vhd_repair \
                 vhd/salvage.c:vhd_repair vhd/set.c:vhd_repair \
                 vhd/split.c:vhd_beside vhd/undo.c:vhd_beside \
                 vhd/stream.c:vhd_stream vhd/nbd_line.c:nbd_reply \
                 vhd/nbd_hand.c:nbd_reply \
                 vhd/resize.c:vhd_edit vhd/compact.c:vhd_edit \
                 tools/verb/gpt.c:vhd_edit vhd/merge_plan.c:vhd_merge \
                 vhd/merge_copy.c:vhd_merge \
                 storvsp/scsi/command.c:scsi_cdb storvsp/scsi/readwrite.c:scsi_cdb \
                 storvsp/scsi/provision.c:scsi_cdb \
                 storvsp/request.c:storvsp_packet \
                 storvsp/buffer.c:storvsp_packet \
                 storvsp/session.c:storvsp_packet \
                 storvsp/drain.c:storvsp_session \
                 storvsp/reset.c:storvsp_session \
                 storvsp/channel.c:storvsp_session \
                 hv/vmbus/ring.c:vmbus_ring hv/vmbus/packet.c:vmbus_ring \
                 hv/vmbus/message.c:vmbus_message \
                 hv/vmbus/queue.c:vmbus_message \
                 hv/vmbus/open.c:vmbus_message \
                 hv/vmbus/gpadl.c:vmbus_message \
                 hv/hypercall.c:hv_hypercall hv/board.c:hv_pio_mmio \
                 hv/chip/uart.c:hv_pio_mmio hv/chip/cmos.c:hv_pio_mmio \
                 hv/chip/pm.c:hv_pio_mmio hv/bzimage.c:hv_loader \
                 hv/boot_linux.c:hv_loader hv/chip/fwcfg.c:hv_fwcfg \
                 $(INT13_SRC:=:hv_int13) tools/convert/args.c:tool_args \
                 tools/hv/ctl_request.c:hv_ctl \
                 hv/ic/icmsg.c:hv_ic hv/ic/text.c:hv_ic hv/ic/kvp.c:hv_ic \
                 hv/ic/vss.c:hv_ic hv/ic/shutdown.c:hv_ic \
                 hv/ic/heartbeat.c:hv_ic hv/ic/timesync.c:hv_ic \
                 hv/piix.c:hv_ide $(addsuffix :hv_ide,$(IDE_SRC)) \
                 tools/hv/args.c:tool_args tools/cli/options.c:tool_args \
                 tools/cli/size.c:tool_args tools/cli/text.c:tool_args \
                 tools/convert/feed.c:tool_stream \
                 tools/verb/freemap_ext.c:tool_freemap \
                 tools/convert/stream.c:tool_stream \
                 $(addsuffix :tool_verbs,$(addprefix tools/verb/,check.c \
                 compact.c compare.c create.c diff.c map.c merge.c rebase.c \
                 repair.c resize.c salvage.c set.c snapshot.c words.c))

MANPAGES := tools/man/vhd-inspect.1 tools/man/vhd-convert.1 tools/man/hv.1 \
            tools/man/hv-ctl.1 \
            tools/man/vhd.1 tools/man/vhd-check.1 tools/man/vhd-compare.1 \
            tools/man/vhd-create.1 tools/man/vhd-map.1 tools/man/vhd-repair.1 \
            tools/man/vhd-merge.1 tools/man/vhd-resize.1 \
            tools/man/vhd-compact.1 tools/man/vhd-rebase.1 \
            tools/man/vhd-snapshot.1 tools/man/vhd-set.1 tools/man/vhd-diff.1 \
            tools/man/vhd-bench.1 tools/man/vhd-serve.1 tools/man/vhd-mount.1 \
            tools/man/vhd-unmount.1
MANPAGES7 := tools/man/vhd-sandbox.7

# libfuse3 has its headers in a folder of its own.
$(BUILD)/obj/tools/verb/freemap_mount.o: CFLAGS_ALL += -I/usr/include/fuse3

# -------------------------------------------------------------------- rules
comma := ,
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIBVHD     := $(BUILD)/lib/libvhd.a
LIBVHD_SO  := $(BUILD)/lib/libvhd.so.$(SOVERSION)
LIBVMBUS   := $(BUILD)/lib/libvmbus.a
LIBHV      := $(BUILD)/lib/libhv.a
LIBSTORVSP := $(BUILD)/lib/libstorvsp.a
LIBCLI     := $(BUILD)/lib/libcli.a
LIBSANDBOX := $(BUILD)/lib/libsandbox.a
LIBTEST    := $(BUILD)/lib/libtest.a
NBD_PLUGIN := $(BUILD)/lib/nbdkit/nbdkit-vhd-plugin.so

UNIT := $(UNIT_VHD) $(UNIT_VMBUS) $(UNIT_HV) $(UNIT_STORVSP) $(UNIT_COUNTED) \
        $(UNIT_TOOLS)

.PHONY: all clean layers style calls unit check check-long proof install help deps \
        demo bench unit-build unit-run bench-build watched check-guests
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
$(LIBSANDBOX): $(call obj,$(SANDBOX_SRC))
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
	  -Wl,--version-script=tools/serve/nbdkit_vhd.map \
	  -o $@ $^ -Wl,--as-needed $(LIBS_VHD)

$(BUILD)/obj/%.o: %.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/obj/tools/cli/options.o $(BUILD)/obj/tools/serve/nbdkit_vhd.o: CFLAGS_ALL += -DCLI_VERSION=\"$(VERSION)\"

$(BUILD)/obj/tools/serve/mount_fs.o: CFLAGS_ALL += -I/usr/include/fuse3

# The DSDT and the SSDT of PCI: from ASL at build time, into headers of bytes.
AML_HEADERS := $(addprefix $(BUILD)/gen/,dsdt.h ssdt_pci.h)
$(AML_HEADERS): $(BUILD)/gen/%.h: hv/%.asl | $(BUILD)/.deps
	@mkdir -p $(@D)
	iasl -ve -oa -p $(BUILD)/gen/$* -tc $< >$(BUILD)/gen/$*.log 2>&1 || \
	  { cat $(BUILD)/gen/$*.log; exit 1; }
	sed 's/^unsigned char/static const &/' $(BUILD)/gen/$*.hex >$@
$(BUILD)/obj/hv/acpi.o: $(AML_HEADERS)

# The option ROM: 16-bit code, its checksums set, as a header of bytes.
$(BUILD)/gen/int13_rom.h: hv/int13.S hv/int13.awk | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CC) -m32 -c -o $(BUILD)/gen/int13_rom.o hv/int13.S
	objcopy -O binary -j .text $(BUILD)/gen/int13_rom.o \
	  $(BUILD)/gen/int13.rom
	od -An -v -tu1 $(BUILD)/gen/int13.rom | awk -f hv/int13.awk >$@
$(BUILD)/obj/hv/boot_bios.o: $(BUILD)/gen/int13_rom.h

# The first process of hv's nested machine: static, never sanitized (it runs
# without libraries), carried inside hv.
$(BUILD)/gen/hv-init: tools/hv/init.c tools/hv/init.h | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CC) $(BASE) $(WARN) -Os -static -s -o $@ $<
$(BUILD)/obj/tools/hv/blob.o: $(BUILD)/gen/hv-init
$(BUILD)/obj/tools/hv/blob.o: CFLAGS_ALL += -DHV_INIT_FILE=\"$(BUILD)/gen/hv-init\"

define program_rule
$(BUILD)/bin/$(1): $$(call obj,$$(SRC_$(1))) $(LIBSANDBOX) $(LIBCLI) \
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
                     $(if $(filter $(1),$(FAULTED)),$(call obj,$(FAULT_SRC))) \
                     $(LIBTEST) $(2)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ -lcmocka $$(LIBS_VHD) $$(LIBS_TOOLS)
endef
$(foreach t,$(UNIT_VHD),$(eval $(call unit_rule,$(t),$(LIBVHD))))
$(foreach t,$(UNIT_VMBUS),$(eval $(call unit_rule,$(t),$(LIBVMBUS) $(LIBVHD))))
$(foreach t,$(UNIT_HV),$(eval $(call unit_rule,$(t),$(LIBHV) $(LIBVMBUS) $(LIBVHD))))
$(foreach t,$(UNIT_STORVSP),$(eval $(call unit_rule,$(t),$(LIBSTORVSP) $(LIBVMBUS) $(LIBVHD))))
$(foreach t,$(UNIT_TOOLS),$(eval $(call unit_rule,$(t),$(call obj,$(SRC_$(t))) \
  $(LIBSANDBOX) $(LIBCLI) $(if $(filter tools_firmware,$(t)),$(LIBHV)) \
  $(if $(filter tools_ctl% tools_firmware,$(t)),$(LIBSTORVSP) $(LIBVMBUS)) $(LIBVHD))))

COUNTED_CALLS := malloc calloc realloc aligned_alloc strdup strndup
$(BUILD)/lib/counted/%.a: $(BUILD)/lib/%.a
	@mkdir -p $(@D)
	objcopy $(foreach f,$(COUNTED_CALLS),--redefine-sym $(f)=counted_$(f)) \
	  $< $@
$(foreach t,$(UNIT_COUNTED),$(eval $(call unit_rule,$(t),$(patsubst \
  $(BUILD)/lib/%,$(BUILD)/lib/counted/%,$(LIBSTORVSP) $(LIBVMBUS) $(LIBVHD)))))

$(addprefix $(BUILD)/tests/,$(FAULTED)): \
  LDFLAGS_ALL += $(addprefix -Wl$(comma)--wrap=,$(FAULT_WRAP))
# Allocations of this one can be made to fail.
$(BUILD)/tests/vmbus_nomem: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc,--wrap=eventfd
$(BUILD)/tests/vhd_nomem: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc \
  -Wl,--wrap=strdup,--wrap=realpath,--wrap=fdopendir \
  -Wl,--wrap=aligned_alloc
$(BUILD)/tests/vhd_nomem_calls: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=calloc \
  -Wl,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup,--wrap=strndup \
  -Wl,--wrap=realpath,--wrap=fdopendir,--wrap=free
# These say how much is allocated at the worst.
PEAK_WRAP := malloc calloc realloc aligned_alloc free
$(BUILD)/tests/vhd_bound $(BUILD)/tests/vmbus_bound: \
  LDFLAGS_ALL += $(addprefix -Wl$(comma)--wrap=,$(PEAK_WRAP))
# There is no KVM in these but their own.
FAKE_KVM := -Wl,--wrap=open64,--wrap=ioctl,--wrap=eventfd,--wrap=mmap64 \
  -Wl,--wrap=munmap,--wrap=madvise,--wrap=write,--wrap=pthread_create \
  -Wl,--wrap=hv_cpu_virtualizes
FAKED_KVM := $(addprefix $(BUILD)/tests/,hv_kvm hv_rouse hv_reset hv_ask)
$(FAKED_KVM): LDFLAGS_ALL += $(FAKE_KVM)
$(FAKED_KVM): $(call obj,tests/lib/fakekvm.c)
$(BUILD)/tests/hv_bios: LDFLAGS_ALL += -Wl,--wrap=ioctl
$(BUILD)/obj/tests/hv_bios.o: $(BUILD)/gen/int13_rom.h
# This one does what a guest may do between two looks at its slot.
$(BUILD)/tests/hv_synic: LDFLAGS_ALL += -Wl,--wrap=hv_gpa_or32
# No unit test, but built like one: what tests/cross_vhd.sh runs.
$(eval $(call unit_rule,cross_vhd,$(LIBVHD)))
# The same for tests/nbd.sh and tests/blockdev.sh.
$(eval $(call unit_rule,store_work,$(LIBSANDBOX) $(LIBCLI) $(LIBVHD)))
# The same for tests/proof/corpus_peers.sh.
$(eval $(call unit_rule,corpus_image,$(LIBVHD)))
$(BUILD)/tests/corpus_image: $(call obj,tests/lib/fuzzimg.c)

define proof_rule
$(BUILD)/tests/$(1): $$(call obj,tests/$(1).c $$(SRC_$(1))) $(LIBTEST) \
                     $(LIBSTORVSP) $(LIBVMBUS) $(LIBVHD)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ -lcmocka $$(LIBS_VHD)
endef
$(foreach t,$(PROOF_PROGRAMS),$(eval $(call proof_rule,$(t))))
# Looks at the reasons that the guest is not told.
$(BUILD)/tests/proof/sim: LDFLAGS_ALL += -Wl,--wrap=scsi_verdict_from_vhd

# This one counts and refuses the library's allocations.
$(BUILD)/tests/vhd_queue_nomem: LDFLAGS_ALL += \
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

# What tests/proof/tools.sh puts in front of a tool's allocations.
$(BUILD)/tests/proof/nomem.so: tests/proof/nomem_preload.c tests/proof/nomem.h | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(CC) $(BASE) $(WARN) -O1 -g -shared -o $@ $< -ldl

# $(1) fuzz target
define replay_rule
$(BUILD)/tests/replay_$(1): $$(call obj,fuzz/$(1).c tests/lib/replay.c \
                            tests/lib/gpa_watch.c) $(LIBTEST) \
                            $(LIBSTORVSP) $(LIBVMBUS) $(LIBVHD)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS_VHD)
endef
$(foreach t,$(REPLAYED),$(eval $(call replay_rule,$(t))))
# gcc asks for the prototype that libFuzzer keeps to itself.
$(BUILD)/obj/fuzz/%.o: CFLAGS_ALL += -Wno-missing-prototypes

unit-build: $(addprefix $(BUILD)/tests/,$(UNIT) cross_vhd store_work corpus_image proof/nomem.so \
                                       $(addprefix replay_,$(REPLAYED)) \
                                       $(PROOF_PROGRAMS))
unit: unit-build
	tests/run-unit.sh $(BUILD) $(UNIT)
# Those that count what is fetched, for tests/proof/hostile.sh.
watched:
	@echo $(WATCHED)
# What is built; a test that is not fails.
# Those that take seconds begin first.
UNIT_LONG := vhd_fault vhd_repair vhd_nomem_calls vhd_model tools_stream
unit-run:
	tests/run-unit.sh $(BUILD) $(UNIT_LONG) $(filter-out $(UNIT_LONG),$(UNIT))

# For scripts that run them otherwise.
.PHONY: unit-names
unit-names:
	@echo $(UNIT)

# ------------------------------------------------------------------ fuzz
# Always clang with ASan and UBSan, whatever CC and SAN are; objects are apart
# from all others. The same targets are built three times:
#   fuzz  with libFuzzer
#   afl   with AFL++, which brings a driver of the same interface
#   cov   with libFuzzer's main and counters of lines and branches, no sanitizer
FUZZ_OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer
FUZZ_COV := -O1 -g -fprofile-instr-generate -fcoverage-mapping
AFL_CC   ?= afl-clang-fast
fuzz_obj = $(patsubst %.c,$(BUILD)/obj/$(1)-objects/%.o,$(2))

# $(1) folder, $(2) compiler, $(3) flags, $(4) group of packages for it
define fuzz_flavour
$(BUILD)/obj/$(1)-objects/tools/cli/options.o: \
  FUZZ_OWN += -DCLI_VERSION=\"$(VERSION)\"
$(BUILD)/obj/$(1)-objects/tools/verb/freemap_mount.o: \
  FUZZ_OWN += -I/usr/include/fuse3
$(BUILD)/obj/$(1)-objects/hv/acpi.o: $(AML_HEADERS)
$(BUILD)/obj/$(1)-objects/%.o: %.c | $(BUILD)/.deps $(BUILD)/.deps-$(4)
	@mkdir -p $$(@D)
	$(2) $(BASE) $(3) $$(FUZZ_OWN) $(WARN) -c -o $$@ $$<
endef
$(eval $(call fuzz_flavour,fuzz,$(CLANG),$(FUZZ_OPT) \
  -fsanitize=fuzzer-no-link,test))
$(eval $(call fuzz_flavour,afl,AFL_QUIET=1 $(AFL_CC),$(FUZZ_OPT),afl))
$(eval $(call fuzz_flavour,cov,$(CLANG),$(FUZZ_COV),test))
$(BUILD)/.deps-test $(BUILD)/.deps-afl: $(BUILD)/.deps-%: tools/deps.sh
	@mkdir -p $(@D)
	@tools/deps.sh $*
	@touch $@

# $(1) folder, $(2) compiler, $(3) flags, $(4) target
define fuzz_link
$(BUILD)/$(1)/$(4): $$(call fuzz_obj,$(1),fuzz/$(4).c $$(FUZZ_SRC_$(4)))
	@mkdir -p $$(@D)
	$(2) $(3) -fsanitize=fuzzer -pthread -o $$@ $$^ $$(FUZZ_LIBS_$(4))
endef
define fuzz_rule
$(call fuzz_link,fuzz,$(CLANG),$(FUZZ_OPT),$(1))
$(call fuzz_link,afl,AFL_QUIET=1 $(AFL_CC),$(FUZZ_OPT),$(1))
$(call fuzz_link,cov,$(CLANG),$(FUZZ_COV),$(1))
.PHONY: fuzz-$(1) fuzz-afl-$(1)
fuzz-$(1): $(BUILD)/fuzz/$(1)
	tests/run-fuzz.sh $(BUILD) $(TIME) $(1)
fuzz-afl-$(1): $(BUILD)/afl/$(1)
	tests/run-afl.sh $(BUILD) $(TIME) $(1)
endef
$(foreach t,$(FUZZ),$(eval $(call fuzz_rule,$(t))))

# Every surface of FUZZ_SURFACES has a target that is built from it and has
# seeds; every file in fuzz/ is a target; those named by the plan are there.
FUZZ_NAMED := vhd_open vhd_ops vhd_chain vhd_repair scsi_cdb storvsp_packet \
              storvsp_session vmbus_ring vmbus_message hv_hypercall \
              hv_pio_mmio hv_loader tool_args
surface_file   = $(firstword $(subst :, ,$(1)))
surface_target = $(lastword $(subst :, ,$(1)))
surface_fault  = $(if $(filter $(surface_target),$(FUZZ)),$(if $(filter \
  $(surface_file),$(FUZZ_SRC_$(surface_target))),$(if $(wildcard \
  fuzz/corpus/$(surface_target)/*),,$(1):no-seeds),$(1):not-built-in),$(1))
surface_faults = $(strip $(foreach s,$(FUZZ_SURFACES),$(call \
  surface_fault,$(s))) $(filter-out $(FUZZ),$(patsubst fuzz/%.c,%,$(wildcard \
  fuzz/*.c))) $(filter-out $(FUZZ),$(FUZZ_NAMED)))
fuzz_named_there = $(words $(filter $(FUZZ),$(FUZZ_NAMED)))
.PHONY: fuzz-surfaces
fuzz-surfaces:
	@if [ -n '$(surface_faults)' ]; then \
	  echo 'surfaces without a fuzz target: $(surface_faults)'; exit 1; fi

.PHONY: fuzz fuzz-build fuzz-replay fuzz-afl fuzz-cov-build \
        fuzz-coverage fuzz-sensitivity
fuzz-build: fuzz-surfaces $(addprefix $(BUILD)/fuzz/,$(FUZZ))
fuzz: fuzz-build
	@. tests/lib/proof.sh; proof_figure Z1 \
	  $(if $(surface_faults),unmet,met) "$(fuzz_named_there) of" \
	  "$(words $(FUZZ_NAMED)) named targets, $(words $(FUZZ)) in all;" \
	  "$(words $(FUZZ_SURFACES)) surfaces, each with one built from it"
	tests/run-fuzz.sh $(BUILD) $(TIME) $(FUZZ)
fuzz-replay: fuzz-build
	tests/run-fuzz.sh $(BUILD) 0 $(FUZZ)
fuzz-afl: $(addprefix $(BUILD)/afl/,$(FUZZ))
# How much of each surface's own file its seeds reach.
fuzz-cov-build: $(addprefix $(BUILD)/cov/,$(FUZZ))
fuzz-coverage: fuzz-cov-build
	tests/fuzz-coverage.sh $(BUILD) $(FUZZ_SURFACES)
# Whether planted defects are found.
fuzz-sensitivity:
	+MAKE='$(MAKE)' tests/fuzz-sensitivity.sh $(BUILD)

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
calls: all
	tests/calls.sh --self-test
	tests/calls.sh $(BUILD)

# Each suite builds what it runs, so that a failure to build is its first line.
export BUILD
check:
	+@MAKE='$(MAKE)' SAN='$(SAN)' tests/check.sh
# The long columns, hours of them: piece by piece, and only what has not been
# done with these sources; PIECES: some of the table in tests/proof/long.sh. And
# the table of goals, of the figures that either run leaves behind.
PIECES :=
check-long: all unit-build \
  $(if $(PIECES),$(if $(filter fuzz-%,$(PIECES)),fuzz-build),fuzz-build)
	+@MAKE='$(MAKE)' JOBS="$${JOBS:-$$(nproc)}" tests/proof/long.sh \
	  $(BUILD) $(PIECES)
	@tests/proof/table.sh $(BUILD) long
proof: check
	@tests/proof/table.sh $(BUILD)
# CELLS: quick, or such as 686/direct/2; the table of the README by TABLE=1.
CELLS := all
check-guests: all
	@tools/deps.sh build run test && tests/guest/matrix.sh $(BUILD) $(CELLS)
	@$(if $(TABLE),tests/guest/matrix-table.sh \
	  $(BUILD)/guest/matrix/results README.md)

# Tests of the tests: planted defects (all of them; a sample is part of check).
.PHONY: mutants
mutants:
	+@PROOF_LONG=1 MAKE='$(MAKE)' SAN='$(SAN)' tests/proof/mutants.sh $(BUILD)
# Coverage of the primary files, static analysis, unit tests REPEATS times.
.PHONY: coverage analyze repeat
coverage:
	+@PROOF_LONG=1 MAKE='$(MAKE)' tests/proof/coverage.sh $(BUILD)
analyze: $(AML_HEADERS) $(BUILD)/gen/hv-init
	@PROOF_LONG=1 tests/proof/analyze.sh $(BUILD)
repeat: unit-build
	+@PROOF_LONG=1 MAKE='$(MAKE)' tests/proof/repeat.sh $(BUILD)

# Programs of benchmarks only are prerequisites of bench-build.
bench-build: $(BUILD)/bench/queue $(BUILD)/bench/measure $(BUILD)/bench/chain \
             $(BUILD)/bench/vsc $(BUILD)/bench/first $(BUILD)/bench/hv_fake
$(BUILD)/bench/vsc: $(call obj,tests/bench/vsc.c tests/bench/drive.c) \
                    $(LIBTEST) $(LIBSTORVSP) $(LIBVMBUS) $(LIBVHD)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_VHD)
$(BUILD)/bench/first: $(call obj,tests/bench/first.c)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^
# The program hv, but for the KVM under it.
$(BUILD)/bench/hv_fake: $(call obj,$(SRC_hv) tests/bench/hv_fake.c \
                          tests/lib/fakekvm.c) $(LIBSANDBOX) $(LIBCLI) \
                        $(LIBSTORVSP) $(LIBHV) $(LIBVMBUS) $(LIBVHD)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $(FAKE_KVM) -Wl,--wrap=main -o $@ $^ $(LIBS_VHD) \
	  $(LIBS_TOOLS) -lcmocka
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
	@echo 'make proof           make check, then the table of goals with its figures'
	@echo 'make check-long      the long columns of the same: hours, in pieces;'
	@echo '                     goes on where it was ended; PIECES="crash sim:1/20"'
	@echo 'make check-guests    Debian kernels, ways to boot, 1 to 4 processors'
	@echo 'make unit            unit tests only'
	@echo 'make mutants         planted defects that the unit tests must notice'
	@echo 'make coverage        of the primary files, against the list of reasons'
	@echo 'make analyze         gcc -fanalyzer, cppcheck, clang-tidy, shellcheck'
	@echo 'make repeat          the unit tests REPEATS=100 times'
	@echo 'make fuzz            every fuzz target for TIME=10 seconds'
	@echo 'make fuzz-NAME       one of: $(FUZZ)'
	@echo 'make fuzz-replay     their seeds only'
	@echo 'make fuzz-coverage   lines and branches of each surface they reach'
	@echo 'make fuzz-sensitivity  planted defects, of which the fuzzers find most'
	@echo 'make fuzz-afl        the same targets for AFL++; fuzz-afl-NAME runs one'
	@echo 'make bench           measurements against fio and QEMU'
	@echo 'make layers style calls  rules of the tree: includes, sizes, who calls whom'
	@echo 'make install         PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make deps            install the Debian packages all of this needs'
	@echo 'make clean'

# ---------------------------------------------------------------- install
BINDIR     := $(PREFIX)/bin
LIBDIR     := $(PREFIX)/lib
INCLUDEDIR := $(PREFIX)/include/vhd
MANDIR     := $(PREFIX)/share/man/man1
MAN7DIR    := $(PREFIX)/share/man/man7
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
	  $(INCLUDEDIR) $(MANDIR) $(MAN7DIR) $(COMPDIR))
	install -m 755 $(addprefix $(BUILD)/bin/,$(PROGRAMS)) $(DESTDIR)$(BINDIR)
	for verb in $(VHD_VERBS); do \
	  ln -sf vhd $(DESTDIR)$(BINDIR)/$$verb; done
	install -m 644 tools/vhd.bash-completion $(DESTDIR)$(COMPDIR)/vhd
	for name in hv vhd-convert vhd-inspect vhd-mount $(VHD_VERBS); do \
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
	install -m 644 $(MANPAGES7) $(DESTDIR)$(MAN7DIR)

clean:
	rm -rf build build-san

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
