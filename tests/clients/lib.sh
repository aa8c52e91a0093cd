# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the clients' scripts share: KTAP, and a device of three ranges. A script sources this file with its argument,
# the alignment, and calls `finish` at its end.

results=0
align=$1
at=/sys/bus/dax/devices
MIB=$((1 << 20))

case $align in
4K) bytes=4096 unit=$((128 * MIB + 4096)) ;; # ranges that are no multiple of 2 MiB
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
	"$@" >/run/output 2>&1 </dev/null
	status=$?
	grep '^seen: ' /run/output | sed 's/^/# /'
	if [[ $status == 0 ]]; then
		echo "ok $results - $name"
	else
		grep -v '^seen: ' /run/output | tail -n 40 | sed 's/^/# /'
		echo "# status $status"
		echo "not ok $results - $name"
	fi
}

seen() {
	echo "seen: $*"
}

# needs WHAT COMMAND...: without that, nothing of this client can run here, and the guest says why.
needs() {
	local what=$1
	shift
	"$@" >/run/output 2>&1 </dev/null && return
	sed 's/^/# /' /run/output
	results=$((results + 1))
	echo "not ok $results - $what"
	finish
}

finish() {
	echo "1..$results"
	exit 0
}

wait_for() { # wait_for COMMAND...: until it succeeds, for up to 5 minutes
	local end=$((SECONDS + 300))
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS > end)); then
			echo "after 5 minutes: still not: $*"
			return 1
		fi
		sleep 0.2
	done
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

# refused FILE TEXT: the write must fail.
refused() {
	local why
	if why=$(written "$@" 2>&1); then
		echo "$1 took $2"
		return 1
	fi
	seen "$(basename "$1"): $why"
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
	wait_for bound && /clients/dax.py fill "$dax" && /clients/dax.py check "$dax"
}
