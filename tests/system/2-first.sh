#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The first boot of our kernel: the Rust driver, an empty region, and a layout that is saved.
. /run/step/lib.sh

region_is_empty() {
	[[ $(driver dax0.0) == none || $(<$at/dax0.0/size) == 0 ]] && [[ $(<$at/dax0.0/size) == 0 ]]
}

# dax0.2 has two ranges, one of them in a hole. dax0.4 is memory of the system.
carve() {
	daxlayout create -s 256M && daxctl create-device -r 0 -s 128M && daxlayout create -s 256M &&
		daxctl disable-device dax0.2 && daxctl destroy-device dax0.2 &&
		daxctl create-device -r 0 -s 512M &&
		[[ $(find $at/dax0.2/ -maxdepth 1 -name 'mapping[0-9]*' | wc -l) == 2 ]] &&
		daxlayout create -s 512M --driver kmem && daxctl online-memory dax0.4 &&
		[[ $(driver dax0.4) == kmem ]]
}

save() {
	daxlayout save /etc/daxlayout.json && layout | same layout && udevadm settle && links &&
		daxlayout show
}

check "our kernel is up" system_is_up
check "it has the Rust driver" is_rust
check "it says the version of the package" is_build first
check "the soft-reserved memory is where it was" soft_reserved
check "udev has loaded the modules" autoloaded
check "the region begins empty" region_is_empty
check "the rule of the package daxctl is at work" daxctl_rule
check "daxctl does what it did in the C driver" same_round
check "daxlayout and daxctl carve the region" carve
check "daxlayout saves the layout" save
plan
