# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

copied_in_and_out() {
	head -c "$size" /dev/urandom >/tmp/in || return
	daxio --input=/tmp/in --output="/dev/$dax" &&
		daxio --input="/dev/$dax" --output=/tmp/out --len="$size" &&
		cmp /tmp/in /tmp/out && seen "$((size / MIB)) MiB in three ranges"
}

part_copied() { # across the end of the first range
	rm -f /tmp/out
	head -c 1048577 /dev/urandom >/tmp/in || return
	local seek=$((unit - 524288))
	daxio --input=/tmp/in --output="/dev/$dax" --seek="$seek" &&
		daxio --input="/dev/$dax" --output=/tmp/out --skip="$seek" --len=1048577 &&
		cmp /tmp/in /tmp/out
}

zeroed() {
	rm -f /tmp/in /tmp/out
	daxio --zero --output="/dev/$dax" &&
		daxio --input="/dev/$dax" --output=/tmp/out --len="$size" &&
		cmp -n "$size" /tmp/out /dev/zero
	local status=$?
	rm -f /tmp/out
	return "$status"
}

pool_made() {
	pmempool create obj --layout=clients "/dev/$dax" && pmempool info "/dev/$dax" && pmempool check -v "/dev/$dax"
}

needs "a device of three ranges" carve
check "daxio copies a file in, and out again" copied_in_and_out
check "daxio copies across the end of a range" part_copied
check "daxio zeroes the device" zeroed
check "libpmem2 maps, copies, persists, maps again" /clients/pmem2.py "$dax"
check "pmempool makes, shows and checks a pool" pool_made
check "libpmemobj uses that pool: objects in each range" /clients/pmemobj.py "$dax" "$unit"
check "the neighbours' bytes are as they were" neighbours
finish
