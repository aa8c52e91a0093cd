#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The second boot: the layout is back. Then kexec into the same kernel, after which this file runs
# again; and an upgrade while a device is in use.
. /run/step/lib.sh

next_kernel() {
	kexec -s -l "/boot/vmlinuz-$(uname -r)" --initrd="/boot/initrd.img-$(uname -r)" --reuse-cmdline
}

# A program that has the device mapped all the time finds its bytes after the upgrade.
upgrade_in_use() {
	local held status
	coproc HOLD { python3 bytes.py hold dax0.1; }
	read -r held <&"${HOLD[0]}" && [[ $held == held ]] || return
	apt-get install -y /run/step/second/*.deb
	status=$?
	exec {HOLD[1]}>&-
	wait "$HOLD_PID" && return "$status"
}

upgraded() {
	dpkg-query -W -f '${Version}\n' "linux-image-$(uname -r)" | grep -Fx "$(<second.version)"
}

if [[ ! -e $kept/kexec ]]; then
	check "our kernel is up" system_is_up
	check "the layout is back after a reboot" restored
	check "devices have the same links" links
	check "devices take bytes" python3 bytes.py fill dax0.1 dax0.2 dax0.3
	check "the next kernel is loaded" next_kernel
	echo "$results" >"$kept/kexec"
	cat /proc/sys/kernel/random/boot_id >"$kept/boot"
	sync
	systemctl --no-block kexec
	sleep infinity
fi
results=$(<"$kept/kexec")
check "kexec has started another kernel" another_boot
check "the next kernel is up" system_is_up
check "the layout is back after kexec" restored
check "devices have the same links after kexec" links
check "every byte is there after kexec" python3 bytes.py check dax0.1 dax0.2 dax0.3
check "an upgrade while a device is in use" upgrade_in_use
check "the other build is installed" upgraded
check "the layout is what it was" eval 'layout | same layout'
plan
