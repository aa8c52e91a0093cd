#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The other build runs. Then our packages are removed while it does.
. /run/step/lib.sh

remove() {
	apt-get purge -y "linux-image-$(uname -r)" "linux-headers-$(uname -r)" daxlayout
}

nothing_left() {
	local left
	left=$(ls -d "/boot/"*"$(uname -r)" "/usr/lib/modules/$(uname -r)" /usr/sbin/daxlayout \
		/usr/lib/udev/rules.d/*daxlayout* /usr/lib/modprobe.d/daxlayout* \
		/usr/src/linux-headers-"$(uname -r)" 2>/dev/null)
	[[ -z $left ]] || { echo "$left"; return 1; }
}

check "the other build is up" system_is_up
check "it has the Rust driver" is_rust
check "it says the version of the other package" is_build second
check "the layout is back after the upgrade" restored
check "devices have the same links" links
check "apt removes the packages" remove
check "nothing of them is left" nothing_left
check "Debian's kernel is the newest" debians_kernel_is_newest
plan
