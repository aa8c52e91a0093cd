# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

# A program that maps the device, writes a word into each range, and waits.
held() {
	coproc HOLDER { exec /clients/hold.py "$dax"; }
	# The shell forgets the pipe when the program ends; copies stay.
	exec 5<&"${HOLDER[0]}" 6>&"${HOLDER[1]}"
	pid=$HOLDER_PID
	read -r -t 120 -u 5 base || return
	seen "$(ranges "$dax") ranges, one mapping"
}

gdb_reads() {
	local n text
	for n in 0 1 2; do
		text=$(gdb -batch -p "$pid" -ex "x/s $((base + n * unit))" 2>&1)
		grep -F "range $n of $dax" <<<"$text" || {
			echo "$text"
			return 1
		}
	done
}

gdb_writes() { # gdb writes with /proc/PID/mem, which has to get at the device's pages
	gdb -batch -p "$pid" -ex "set var *(char *)$((base + 2 * unit)) = 'R'" || return
	/clients/vm.py read "$pid" $((base + 2 * unit)) 5 | grep -x Range
}

vm_readv() {
	local n
	for n in 0 1; do
		/clients/vm.py read "$pid" $((base + n * unit)) 7 | grep -x "range $n" || return
	done
}

vm_writev() {
	/clients/vm.py write "$pid" $((base + unit)) wrote && /clients/vm.py read "$pid" $((base + unit)) 7 | grep -x 'wrote 1'
}

let_go() {
	echo >&6
	wait "$pid"
}

needs "a device of three ranges" carve
needs "a program that maps the device" held
check "gdb reads a word in each range" gdb_reads
check "process_vm_readv() reads them" vm_readv
check "process_vm_writev() writes one" vm_writev
check "gdb writes one" gdb_writes
check "the program ends well" let_go
check "the device can be unbound and bound afterwards" unbound_and_bound
check "the neighbours' bytes are as they were" neighbours
finish
