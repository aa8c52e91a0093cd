# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

# stress OPTION...: stress-ng for half a minute. A failure that it only prints counts too.
stress() {
	stress-ng --timeout 30 --temp-path /tmp --metrics --verify "$@" >/run/stress 2>&1
	local status=$?
	cat /run/stress
	[[ $status == 0 ]] && ! grep -q 'fail:' /run/stress
}

on_node() { # on_node ROW: what numastat, whose output is the input, has in that row for the node, in MiB
	awk -v node="$node" -v row="$1" '
		/^(PID)? *Node / { column = 0; for (i = 1; i < NF; i++) if ($i == "Node" && $(i + 1) == node) column = int((i + 1) / 2) + 1 }
		$1 == row && column { print int($column) }'
}

# kmem gives the device's memory to a node that had none. daxctl takes a device for one range that begins at its
# address, and puts online or offline what is in that range. The script does that with the rest.
system_ram() {
	local first total
	node=$(<"$at/$dax/target_node")
	! grep -E 'MemTotal: +[1-9]' "/sys/devices/system/node/node$node/meminfo" || return
	daxctl reconfigure-device --mode=system-ram "$dax" && [[ $(driver "$dax") == kmem ]] || return
	first=$(numastat -m | on_node MemTotal)
	blocks online_movable online || return
	numastat -m
	total=$(numastat -m | on_node MemTotal)
	seen "daxctl puts $first MiB online, numastat shows $total MiB with the rest"
	((total == size / MIB))
}

blocks() { # blocks WORD STATE: brings the node's blocks of memory into that state
	local block
	for block in "/sys/devices/system/node/node$node"/memory[0-9]*; do
		wait_for block_is "$block/state" "$@" || return
	done
}

block_is() {
	[[ $(<"$1") == "$3" ]] || echo "$2" >"$1"
}

# stress-ng gets memory from that node alone. numastat shows how much the processes have there.
stressed() {
	numactl --membind="$node" stress-ng --timeout 60 --temp-path /tmp --metrics --verify \
		--vm 1 --vm-bytes 96M --vm-keep --vm-populate --mmap 1 --mmap-bytes 32M --memrate 1 --memrate-bytes 32M \
		--pagemove 1 --pagemove-bytes 8M --mremap 1 --mremap-bytes 8M --madvise 1 >/run/stress 2>&1 &
	local task=$!
	wait_for uses 96
	local status=$?
	numastat -p stress-ng
	wait "$task" || status=$?
	cat /run/stress
	[[ $status == 0 ]] && ! grep -q 'fail:' /run/stress && seen "more than 96 MiB of stress-ng's on node $node"
}

uses() { # uses MIB: so much, at least, of stress-ng's processes
	local used
	used=$(numastat -p stress-ng | on_node Total)
	((used >= $1))
}

devdax_again() {
	blocks offline offline && daxctl reconfigure-device --mode=devdax "$dax" && [[ $(driver "$dax") == device_dax && $(ranges "$dax") == 3 ]] &&
		/clients/dax.py fill "$dax" && /clients/dax.py check "$dax"
}

needs "a device of three ranges" carve
check "stress-ng opens, maps, asks and closes the device" stress --dev 2 --dev-file "/dev/$dax"
check "the device can be unbound and bound afterwards" unbound_and_bound
# kmem takes whole blocks of 128 MiB. The ranges of 130 MiB begin where they have none.
if [[ $align != 4K ]]; then
	check "kmem gives the device's memory to a node" system_ram
	check "stress-ng's memory stressors run on that node alone" stressed
	check "the memory goes back to device_dax" devdax_again
fi
check "the neighbours' bytes are as they were" neighbours
finish
