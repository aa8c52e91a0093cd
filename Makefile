# SPDX-License-Identifier: GPL-2.0
# The host side of the project; a kernel tree never sees this file. All work is
# done by tools/lab, which reads its variables from the environment.

MAKEFLAGS += --no-print-directory
.SUFFIXES:
.SILENT:
.DEFAULT_GOAL := help

# Variables on make's command line, and those of the environment, reach lab through the
# environment, the latter verbatim. Never use them in a recipe, and never `export` one: that would
# set it when nobody gave it. LAB_GIVEN has the names of those on the command line, so that lab
# finds misspelt ones.
export LAB_GIVEN := $(strip $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))

COMMANDS := run test compare matrix architectures defects public stress model mutants check bench colours clients guest shell kernel module deb system floors
.PHONY: help clean $(COMMANDS)

$(COMMANDS):
	lab=$$(tools/bootstrap.sh) && exec "$$lab" $@

help:
	cat tools/help.txt

clean:
	tools/clean.sh
