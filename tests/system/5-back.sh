#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Debian's own kernel again: nothing of ours is left.
. /run/step/lib.sh

check "Debian's kernel is up" system_is_up
check "it has the C driver" is_c
check "the soft-reserved memory is where it was" soft_reserved
check "udev has loaded the modules" autoloaded
check "daxctl does what it did" same_round
plan
