/* SPDX-License-Identifier: BSD-2-Clause */
/* The nested machine's first process (init.c), as built, inside this
 * program: nothing to install beside it, nothing to find at run time.
 */
__asm__(".pushsection .rodata\n"
	".global hv_init_blob, hv_init_blob_end\n"
	"hv_init_blob:\n"
	".incbin \"" HV_INIT_FILE "\"\n"
	"hv_init_blob_end:\n"
	".popsection\n");
