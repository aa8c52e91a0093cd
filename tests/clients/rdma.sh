# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

# Soft RoCE on a network device that only this machine has. Packets have 4 KiB: soft RoCE, when it faults pages in,
# takes each packet for the beginning of a page.
soft_roce() {
	modprobe dummy numdummies=0 && modprobe rdma_rxe && modprobe ib_uverbs || return
	ip link set lo up && ip link add roce0 type dummy && ip address add 10.11.12.1/24 dev roce0 && ip link set roce0 mtu 9000 up &&
		rdma link add rxe0 type rxe netdev roce0 && wait_for test -e /dev/infiniband/uverbs0
}

# everywhere COMMAND: at the beginning of the device, across the ends of its ranges, and at its end.
everywhere() {
	local place
	for place in 0 $((unit - 32768)) $((2 * unit - 32768)) $((3 * unit - 65536)); do
		ask "$1" "$place" 65536 || return
	done
}

# A server of perftest that has its buffer on the device; a client writes from a file. Both fill their buffers with
# numbers of their own. The client sends the first half of its buffer to the second half of the server's, which
# lies across the end of the first range.
perftest() {
	local options=(-d rxe0 -x 0 -s $((4 * MIB)) -n 5 -F) server
	/clients/dax.py fill "$dax" && truncate -s 8M /run/client || return
	ib_write_bw "${options[@]}" --mmap="/dev/$dax" --mmap-offset=$((unit - 6 * MIB)) >/run/server 2>&1 &
	server=$!
	wait_for listens || {
		cat /run/server
		return 1
	}
	ib_write_bw "${options[@]}" --mmap=/run/client 10.11.12.1 && wait "$server" || {
		cat /run/server
		return 1
	}
	seen "5 messages of 4 MiB"
	/clients/dax.py same "$dax" $((unit - 2 * MIB)) /run/client
}

listens() {
	grep -q ':4853 ' /proc/net/tcp /proc/net/tcp6 # port 18515
}

# RDMA that faults pages in has none pinned: the device is unbound as if nobody used it.
on_demand() {
	ask ondemand && everywhere write && everywhere read && unbound && ask refused 0 65536 && ask forget
}

needs "a device of three ranges" carve
needs "soft RoCE" soft_roce
needs "a program that maps the device" helper /clients/rdma.py "$dax" rxe0
check "the whole mapping becomes a memory region" ask register
check "RDMA writes, in each range and across their ends" everywhere write
check "RDMA reads, in each range and across their ends" everywhere read
check "the device keeps its shape meanwhile" keeps_its_shape
check "the memory region goes, and its owner ends well" let_go
check "ib_write_bw's server has its buffer across the end of a range" perftest
check "the device can be unbound and bound afterwards" unbound_and_bound
needs "a program that maps the device again" helper /clients/rdma.py "$dax" rxe0
check "RDMA faults pages in; the device is unbound under it" on_demand
check "its owner ends well, and the device works again" let_go_and_works_again
check "the neighbours' bytes are as they were" neighbours
needs "a program that maps the device once more" helper /clients/rdma.py "$dax" rxe0
check "the whole mapping becomes a memory region once more" ask register
check "the device is unbound while it is registered" soon unbound
check "RDMA still reaches its pages" everywhere both
check "nobody else gets its memory meanwhile" no_new_owner
check "the memory region goes, and the device works again" let_go_and_works_again
check "the neighbours' bytes are still as they were" neighbours
finish
