# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Functions that the steps share: KTAP, and checks of a region that are the same on every kernel. A step sources this
# file, and calls `plan` at its end.

results=0
at=/sys/bus/dax/devices
kept=/var/lib/test # stays on the disk from one boot to the next

# check NAME COMMAND...: a test. What the command prints is shown if it fails.
check() {
	local name=$1 output
	shift
	results=$((results + 1))
	if output=$("$@" 2>&1); then
		echo "ok $results - $name"
	else
		printf '%s\n' "$output" | tail -n 40 | sed 's/^/# /'
		echo "not ok $results - $name"
	fi
}

plan() {
	echo "1..$results"
}

# same NAME: compares standard input with what was kept under NAME before. The first time it keeps it.
same() {
	cat >"$kept/$1.new"
	[[ -s $kept/$1.new ]] || { echo "there is nothing to compare"; return 1; }
	[[ -e $kept/$1 ]] || cp "$kept/$1.new" "$kept/$1"
	diff -u "$kept/$1" "$kept/$1.new"
}

wait_for() { # wait_for COMMAND...: until it succeeds, for up to 3 minutes
	local i
	for ((i = 0; i < 180; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 1
	done
	echo "after 3 minutes: still not: $*"
	"$@"
}

driver() { # the name of a device's driver
	basename "$(readlink "$at/$1/driver" || echo none)"
}

is_rust() {
	grep -q '^CONFIG_DEV_DAX_RUST=y' "/boot/config-$(uname -r)"
}

is_c() {
	grep -q '^CONFIG_DEV_DAX=[my]' "/boot/config-$(uname -r)" && ! is_rust
}

# is_build first|second: succeeds if the kernel's version is that of the package.
is_build() {
	local version
	version=$(<"$1.version")
	uname -v | grep -F "#${version##*-} "
}

system_is_up() {
	local state
	state=$(systemctl is-system-running --wait)
	[[ $state == running ]] && return
	echo "the system is $state"
	systemctl --failed --no-legend --plain
	return 1
}

# The kernel takes the memory for soft-reserved, and all of it is one region.
soft_reserved() {
	wait_for test -e "$at/dax0.0" || return
	local region
	region=$(dirname "$(realpath "$at/dax0.0")")/dax_region
	[[ $(<"$region/size") == $((2 << 30)) ]] || { echo "$region: $(<"$region/size") bytes"; return 1; }
	dmesg | grep -o '0x[0-9a-f]*-0x[0-9a-f]*\] *soft reserved' | sort -u | same soft-reserved
}

# Modules that udev has loaded, since nobody else asks for them.
autoloaded() {
	wait_for test -e "$at/dax0.0" &&
		wait_for grep -q '^device_dax ' /proc/modules &&
		wait_for grep -q '^dax_hmem ' /proc/modules &&
		! grep -rs dax_hmem /etc/modules /etc/modules-load.d /usr/lib/modules-load.d
}

# The rule of the package daxctl asks for a unit for each device. Debian 13 has no such unit.
daxctl_rule() {
	udevadm info --query=property --property=SYSTEMD_WANTS --value /dev/dax0.0 |
		grep -F 'daxdev-reconfigure@dev-dax0.0.service'
}

# What daxctl does to the region, in any kernel: an empty region, two devices, one of them bigger
# later, one as memory. It ends with an empty region.
daxctl_round() {
	empty_region
	daxctl create-device -r 0 -s 256M &&
		daxctl create-device -r 0 -s 256M &&
		daxctl disable-device dax0.1 && daxctl destroy-device dax0.1 &&
		daxctl create-device -r 0 -s 512M &&
		daxctl list -RDMu &&
		daxctl reconfigure-device --mode=system-ram --no-online dax0.2 &&
		daxctl list -d dax0.2 -u &&
		daxctl reconfigure-device --mode=devdax --force dax0.2 &&
		daxctl list -Du
	local status=$?
	empty_region
	return "$status"
}

same_round() {
	daxctl_round >/run/round
	local status=$?
	cat /run/round
	[[ $status == 0 ]] && same round </run/round
}

empty_region() {
	local device
	for device in $(daxctl list | jq -r '.[]?.chardev' | sort -r); do
		if [[ $(driver "$device") == kmem ]]; then
			daxctl reconfigure-device --mode=devdax --force "$device" >/dev/null
		fi
		[[ $(driver "$device") == none ]] || daxctl disable-device "$device" >/dev/null
		[[ $device == dax0.0 ]] || daxctl destroy-device "$device" >/dev/null
	done
	if [[ $(<$at/dax0.0/size) != 0 ]]; then echo 0 >$at/dax0.0/size; fi
}

# The region's devices by name, size, driver and ranges, as daxctl and daxlayout say it.
layout() {
	daxctl list -DM | jq -S 'map({chardev, size, align, mode, mappings}) | sort_by(.chardev)'
	daxlayout save | jq -S .
}

restored() {
	wait_for systemctl is-active daxlayout-restore@dax0.0.service &&
		layout | same layout
}

# Links by physical address, for each device that has a driver.
links() {
	(cd /dev/dax/by-address && for link in *; do echo "$link $(readlink "$link")"; done) | same links
}

newest_kernel() {
	linux-version list | linux-version sort | tail -n 1
}

our_kernel_is_newest() {
	newest_kernel | grep -- '-dax-'
}

debians_kernel_is_newest() {
	local newest
	newest=$(newest_kernel) && [[ -n $newest && $newest != *-dax-* ]]
}

another_boot() {
	[[ -s $kept/boot && $(<"$kept/boot") != "$(</proc/sys/kernel/random/boot_id)" ]]
}
