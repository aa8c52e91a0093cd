# SPDX-License-Identifier: GPL-2.0
# The host side of the project; a kernel tree never sees this file. All work is
# done by tools/lab, which reads its variables from the environment.

MAKEFLAGS += --no-print-directory
.SUFFIXES:
.SILENT:
.DEFAULT_GOAL := help

# A variable given to make reaches lab through the environment; one that comes
# from the environment does so verbatim. Never use them in a recipe. `export`
# would set those that nobody gave. LAB_GIVEN has the names of those on the
# command line, for lab to find the misspelt ones.
export LAB_GIVEN := $(strip $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))

COMMANDS := run test compare matrix defects public stress model mutants check bench guest shell kernel module floors clean
.PHONY: help $(COMMANDS)

$(COMMANDS):
	lab=$$(tools/bootstrap.sh) && exec "$$lab" $@

help:
	cat tools/help.txt
