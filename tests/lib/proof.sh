# SPDX-License-Identifier: BSD-2-Clause
# What tests/lib/proof.h is, for scripts: proof_figure ID met|unmet FIGURE...
# shellcheck shell=sh

proof_figure()
{
	[ -n "${PROOF-}" ] || return 0
	proof_id=$1 proof_met=$2
	shift 2
	printf '%s\t%s\t%s\n' "$proof_id" "$proof_met" "$*" >>"$PROOF"
}
