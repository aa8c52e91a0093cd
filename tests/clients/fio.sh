# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

run() { # run OPTION...: fio with verification; an error that it only prints counts
	fio --name=clients --filename="/dev/$dax" --ioengine=dev-dax --size="$((3 * unit / bytes * bytes))" \
		--verify=crc32c --verify_fatal=1 --output=/run/fio "$@"
	local status=$?
	cat /run/fio
	[[ $status == 0 ]] && grep -q 'err= 0' /run/fio
}

two_processes() {
	run --rw=write --bs=256K --do_verify=0 && run --rw=read --bs=256K
}

# fio must see that a byte in the last range is another.
finds_a_byte() {
	local said
	/clients/dax.py spoil "$dax" || return
	said=$(run --rw=read --bs=256K 2>&1) && return 1
	echo "$said"
	[[ $said == *'verify failed'* || $said == *'verify: bad'* ]]
}

needs "a device of three ranges" carve
check "dev-dax writes in order, and verifies" run --rw=write --bs=1M
check "dev-dax writes at random, and verifies" run --rw=randwrite --bs=64K --number_ios=2000
check "another process verifies what one wrote" two_processes
check "and finds a byte that is another" finds_a_byte
check "the neighbours' bytes are as they were" neighbours
finish
