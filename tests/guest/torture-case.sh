# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# The case "torture" of run.sh, which sources this.
# shellcheck disable=SC2154 # what run.sh sets

# Everything at once: four processors and channels, fio verifying on two disks,
# a third that comes and goes, one that grows, one that runs full, and resets.
case_torture()
{
	mkdir "$dir/rd"
	seed=$small_seed
	rounds=2
	limit=240
	[ "${PROOF_LONG-}" != 1 ] || { rounds=40; limit=1500; seed=${SEED:-1}; }
	echo "seed $seed, $rounds rounds"
	images dynamic full:64M grows:48M comes:8M
	cp "$here/inmore.sh" "$dir/rd/"
	expect 'an initramfs' more_initrd "$dir/initrd" "$work" "$dir/rd" \
		sr_mod isofs
	expect 'a disc' "$here/tools.sh" "$dir/tools.iso" fio sg_reset
	"$here/l1.sh" -t $((limit + 60)) -m 1536 -w "$dir" \
		"$here/torture.sh" "$build" "$dir" "$seed" $rounds $limit
	expect 'all commands' equal $? 0
	cat "$dir/ctl"
	log=$dir/console
	tr -d '\r' <"$log" | grep '^guest: '
	expect 'ends with 0' equal "$(cat "$dir/status")" 0
	expect 'to the end' said "$log" 'done'
	expect 'four processors' said "$log" 'cpus 4'
	expect 'it was paused more than once' [ "$(cat "$dir/pauses")" -gt 1 ]
	expect 'the guest reset its controllers' said "$log" 'resets ([3-9]|[0-9]{2})'
	expect 'each reset was done' equal "$(value "$log" 'RESET FAILED:')" ''
	expect 'no verify error' equal "$(value "$log" 'VERIFY FAILED:')" ''
	expect 'it sees its disk grow' said "$log" \
		"grown to $(((48 + 8 * rounds) * 2048))\$"
	expect 'no error of the disks that stay' equal \
		"$(value "$log" errors)" 0
	sound full grows comes
	readable full grows comes
	for disk in full grows; do
		passes=$(value "$log" "passes of $disk")
		expect "$disk: several passes" [ "${passes:-0}" -ge 3 ]
		expect "$disk: what the guest reads" equal \
			"$(value "$log" "md5 $disk")" "$(md5 "$dir/$disk.raw")"
	done
}
