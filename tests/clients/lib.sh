# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Functions that the clients' scripts share: KTAP, and a device of three ranges. A script sources this file with its argument,
# the alignment, and calls `finish` at its end.

results=0
align=$1
at=/sys/bus/dax/devices
MIB=$((1 << 20))

case $align in
4K) bytes=4096 unit=$((130 * MIB)) ;; # the size of a device is a multiple of 2 MiB all the same
2M) bytes=$((2 * MIB)) unit=$((128 * MIB)) ;;
1G) bytes=$((1024 * MIB)) unit=$((1024 * MIB)) ;;
*)
	echo "no such alignment: $align"
	exit 2
	;;
esac

# check NAME COMMAND...: a test, in this shell. Lines that begin with "seen: " go into the table. All that the command
# prints is shown if it fails.
check() {
	local name=$1 status
	shift
	results=$((results + 1))
	echo "# begins: $name"
	"$@" >/run/output 2>&1 </dev/null
	status=$?
	grep '^seen: ' /run/output | sed 's/^/# /'
	if [[ $status == 0 ]]; then
		echo "ok $results - $name"
	else
		echo "# status $status"
		grep -v '^seen: ' /run/output | tail -n 40 | sed 's/^/# /'
		echo "not ok $results - $name"
		failed=1
	fi
}

seen() {
	echo "seen: $*"
}

# needs NAME COMMAND...: a test without which the others cannot run.
needs() {
	failed=
	check "$@"
	[[ -z $failed ]] || finish
}

finish() {
	echo "1..$results"
	exit 0
}

patience=300

wait_for() { # wait_for COMMAND...: until it succeeds, for so many seconds
	local end=$((SECONDS + patience))
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS > end)); then
			echo "after $patience seconds: still not: $*"
			return 1
		fi
		sleep 0.2
	done
}

soon() { # soon COMMAND...: if it is not over in a minute, it failed, and the script goes on
	local task end=$((SECONDS + 60))
	"$@" &
	task=$!
	while kill -0 "$task" 2>/dev/null; do
		if ((SECONDS > end)); then
			echo "after a minute: not over: $*"
			return 1
		fi
		sleep 0.2
	done
	wait "$task"
}

# helper PROGRAM...: starts a program that takes a command a line. The shell forgets its pipes when it ends; copies stay.
helper() {
	trap '' PIPE # a program that died fails its test, not the script
	coproc HELPER { exec "$@" 2>&1; }
	exec 5<&"${HELPER[0]}" 6>&"${HELPER[1]}"
	helper=$HELPER_PID
	answered
}

ask() { # ask WORD...: the helper does that
	echo "$*" >&6 && answered
}

answered() {
	local line
	while IFS= read -r -t 300 -u 5 line; do
		[[ $line == ok ]] && return
		echo "$line"
		[[ $line == error:* ]] && return 1
	done
	echo "no answer"
	return 1
}

let_go() { # the helper ends, and whatever it holds goes
	echo end >&6
	wait "$helper"
}

created() { # created SIZE: makes a device and prints its name
	daxctl create-device -r 0 -s "$1" -a "$bytes" 2>/run/daxctl.err | jq -er '.[0].chardev' || {
		cat /run/daxctl.err >&2
		return 1
	}
}

destroyed() { # destroyed DEVICE
	daxctl disable-device "$1" && daxctl destroy-device "$1"
}

# Five devices side by side, the second and fourth of which make room for one of three ranges: $dax. The others are its
# neighbours and have bytes of their own, which `neighbours` looks at.
carve() {
	local i name
	echo 1 >/proc/sys/kernel/panic_on_oops # the guest ends then, and does not hang
	modprobe dax_hmem region_idle=1 && modprobe device_dax || return
	wait_for test -e "$at/dax0.0" || return
	neighbours=()
	for i in 1 2 3 4 5; do
		name=$(created "$unit") || return
		neighbours+=("$name")
	done
	for i in 1 3; do
		destroyed "${neighbours[i]}" || return
	done
	neighbours=("${neighbours[0]}" "${neighbours[2]}" "${neighbours[4]}")
	dax=$(created $((3 * unit))) || return
	size=$(<"$at/$dax/size")
	[[ $(ranges "$dax") == 3 && $(<"$at/$dax/align") == "$bytes" ]] || {
		daxctl list -DM
		return 1
	}
	/clients/dax.py fill "${neighbours[@]}"
}

ranges() {
	find "$at/$1/" -maxdepth 1 -name 'mapping[0-9]*' | wc -l
}

driver() { # the name of a device's driver
	basename "$(readlink "$at/$1/driver" || echo none)"
}

neighbours() {
	/clients/dax.py check "${neighbours[@]}"
}

# written FILE TEXT: writes to a file of sysfs and says how that ended.
written() {
	python3 - "$1" "$2" <<-'PYTHON'
		import errno, os, sys
		try:
		    os.write(os.open(sys.argv[1], os.O_WRONLY), sys.argv[2].encode())
		except OSError as e:
		    sys.exit(errno.errorcode[e.errno])
	PYTHON
}

# refused FILE TEXT [ERROR]: the write must fail, with that error.
refused() {
	local why
	if why=$(written "$1" "$2" 2>&1); then
		echo "$1 took $2"
		return 1
	fi
	seen "$(basename "$1"): $why"
	[[ $why == "${3:-$why}" ]]
}

# A device that is bound and used keeps its shape.
keeps_its_shape() {
	local before
	before=$(<"$at/$dax/size")
	refused "$at/$dax/size" "$unit" &&
		refused "$at/$dax/size" 0 &&
		refused "$at/$dax/align" 4096 &&
		refused "$(dirname "$(realpath "$at/$dax")")/dax_region/delete" "$dax" &&
		[[ $(<"$at/$dax/size") == "$before" && $(ranges "$dax") == 3 ]]
}

unbound() {
	echo "$dax" >"$at/$dax/driver/unbind" && [[ $(driver "$dax") == none ]]
}

bound() {
	local why
	why=$(written /sys/bus/dax/drivers/device_dax/bind "$dax" 2>&1) || {
		echo "bind: $why"
		return 1
	}
	[[ $(driver "$dax") == device_dax ]]
}

unbound_and_bound() {
	unbound && works_again
}

# After the use the device can be bound, and its bytes can be reached.
works_again() {
	[[ $(driver "$dax") == none ]] || {
		echo "it has a driver"
		return 1
	}
	wait_for bound || {
		bound
		return 1
	}
	/clients/dax.py fill "$dax" && /clients/dax.py check "$dax"
}

let_go_and_works_again() {
	let_go && works_again
}

# The memory of a device that was unbound while its pages are pinned.
no_new_owner() {
	refused "$at/$dax/size" 0 EBUSY && refused /sys/bus/dax/drivers/device_dax/bind "$dax" EBUSY && return
	written "$at/$dax/size" "$size" # what it lost, if it lost it
	return 1
}
