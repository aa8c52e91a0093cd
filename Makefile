# SPDX-License-Identifier: GPL-2.0
# The host side of the project; a kernel tree never sees this file. All work but `clean` is
# done by the tool in tools/, which reads its variables from the environment.

MAKEFLAGS += --no-print-directory
.SUFFIXES:
.SILENT:
.DEFAULT_GOAL := help

# Variables on make's command line, and those of the environment, reach the tool through the
# environment, the latter verbatim. Never use them in a recipe, and never `export` one: that would
# set it when nobody gave it. XTASK_GIVEN has the names of those on the command line, so that it
# finds misspelt ones.
export XTASK_GIVEN := $(strip $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))

COMMANDS := run test compare matrix architectures defects public stress model mutants check bench colours clients guest shell kernel module deb system floors
.PHONY: help clean $(COMMANDS)

$(COMMANDS):
	xtask=$$(tools/bootstrap.sh) && exec "$$xtask" $@

help:
	cat tools/help.txt

clean:
	tools/clean.sh
