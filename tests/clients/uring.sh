# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

# run FIXED: fio reads and writes a file of ext4 without the page cache; its buffers are the device's memory. They have
# more than two ranges, and one of them lies across the end of the first range.
run() {
	fio --name=clients --filename=/file --size=264M --bs=4M --iodepth=66 --rw=randrw --direct=1 \
		--ioengine=io_uring --fixedbufs="$1" --iomem="mmapshared:/dev/$dax" \
		--verify=crc32c --verify_fatal=1 --output=/run/fio
	local status=$?
	cat /run/fio
	[[ $status == 0 ]] && grep -q 'err= 0' /run/fio
}

needs "a device of three ranges" carve
check "io_uring does direct I/O on ext4 with buffers on the device" run 0
check "io_uring does the same with fixed buffers" run 1
sleep 5 # io_uring lets go of fixed buffers a little after its file is closed
check "the device can be unbound and bound afterwards" unbound_and_bound
check "the neighbours' bytes are as they were" neighbours
finish
