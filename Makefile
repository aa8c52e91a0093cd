# SPDX-License-Identifier: GPL-2.0
# The host side of the project; a kernel tree never sees this file. All work is
# done by tools/lab, which reads its variables from the environment.

MAKEFLAGS += --no-print-directory
.SUFFIXES:
.SILENT:
.DEFAULT_GOAL := help

# A variable given to make reaches lab through the environment; one that comes
# from the environment does so verbatim. Never use them in a recipe.
export CMD IMPL KERNEL DEBUG MEM CPUS APPEND QEMU FILES TIMEOUT ALLOW_SPLAT ICOUNT RANGES ONLY KDIR LLVM BUILTIN TOOLCHAIN SEED FIRST SEQUENCES REPLAY TRANSCRIPTS SECONDS

COMMANDS := run test compare matrix defects public stress model mutants check bench guest shell kernel module clean
.PHONY: help $(COMMANDS)

$(COMMANDS):
	lab=$$(tools/bootstrap.sh) && exec "$$lab" $@

help:
	cat tools/help.txt
