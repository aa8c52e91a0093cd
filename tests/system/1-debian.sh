#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Debian's own kernel, with the C driver, before anything of ours is there; then our packages.
. /run/step/lib.sh

install_ours() {
	apt-get install -y /run/step/first/*.deb
}

files_are_there() {
	local release
	release=$(linux-version list | grep -- '-dax-') &&
		ls "/boot/vmlinuz-$release" "/boot/initrd.img-$release" "/boot/config-$release" \
			"/lib/modules/$release/modules.dep" /usr/sbin/daxlayout \
			/usr/lib/systemd/system/daxlayout-restore@.service \
			/usr/lib/udev/rules.d/95-daxlayout.rules \
			/usr/share/man/man1/daxlayout-restore.1.gz &&
		ls /usr/share/doc/daxlayout | grep -i install.md
}

check "Debian's kernel is up" system_is_up
check "it has the C driver" is_c
check "the soft-reserved memory is there" soft_reserved
check "udev has loaded the modules" autoloaded
check "the rule of the package daxctl is at work" daxctl_rule
check "daxctl carves the region" same_round
check "apt installs the packages" install_ours
check "files of the packages are in place" files_are_there
check "our kernel is the newest by name" our_kernel_is_newest
plan
