# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh

token=inner-page-$RANDOM-word
token=${token:0:15}
token=${token//[^a-z0-9-]/x}
while ((${#token} < 15)); do token+=x; done

# The inner guest: this guest's kernel, and busybox as its init, which runs the lines that the serial port brings.
image() {
	mkdir -p /run/inner/bin && cp /usr/bin/busybox /run/inner/bin/ && cp /clients/inner-init /run/inner/init &&
		chmod +x /run/inner/init && cd /run/inner && find . | cpio --quiet -o -H newc >/run/inner.cpio
}

# KVM if this guest's CPU has virtualisation; QEMU emulates AMD's.
accel=tcg
modprobe kvm_intel 2>/dev/null || modprobe kvm_amd
[[ ! -w /dev/kvm ]] || accel=kvm

# Its memory is the whole device.
booted() {
	mkfifo /run/tty.in /run/tty.out || return
	exec 7<>/run/tty.in 8<>/run/tty.out
	qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -accel "$accel" -cpu max,la57=off -smp 1 \
		-machine q35,memory-backend=mem -m "$size"b \
		-object "memory-backend-file,id=mem,mem-path=/dev/$dax,share=on,align=$align,size=${size}b" \
		-kernel /clients/bzImage -initrd /run/inner.cpio -append "console=ttyS0 nokaslr panic=-1 no_timer_check kunit.enable=0 rcupdate.rcu_cpu_stall_timeout=300" \
		-chardev pipe,id=tty,path=/run/tty -serial chardev:tty >/run/qemu.err 2>&1 &
	qemu=$!
	expect 'inner: up' || {
		cat /run/qemu.err
		return 1
	}
	seen "by $accel: $line"
}

# expect WORDS: reads what the inner guest says until a line has them, for up to 20 minutes or until QEMU ends.
expect() {
	local end=$((SECONDS + 1200)) part=
	while ((SECONDS < end)); do
		IFS= read -r -t 5 -u 8 line || {
			part+=$line
			gone "$qemu" && break
			continue
		}
		line=$part${line%$'\r'}
		part=
		echo "$line" >>/run/console
		[[ $line == *"$1"* ]] && return
	done
	echo "the inner guest did not say: $1"
	tail -n 20 /run/console
	return 1
}

inside() { # inside COMMAND: the inner guest runs a line
	echo "$1" >&7
	expect 'inner: status' && [[ $line == *'inner: status 0'* ]]
}

# The inner guest fills most of its memory. The device has these pages, in each range.
frames() {
	local found sum=0 n
	# 4096 bytes times 256 are 1 MiB
	inside "yes $token | head -c 1048576 >/m && for i in \$(seq $((size / MIB * 2 / 3 + 8))); do cat /m; done >/tmp/full" || return
	found=$(/clients/dax.py pages "$dax" "$token") || return
	seen "pages of the inner guest in the ranges: $found"
	for n in $found; do
		((n > 0)) || return
		sum=$((sum + n))
	done
	((sum >= (size / MIB * 2 / 3 + 8) * 256))
}

# The other way round: the inner guest sees what is written to the device. It looks at a page of every fourth MiB, since
# emulation in emulation takes too long for all.
marks() {
	/clients/dax.py mark "$dax" "$token" outer-was-here- || return
	inside 'n=0; for i in $(seq 0 4 260); do dd if=/tmp/full bs=4k skip=$((i * 256)) count=1 2>/dev/null | head -c 15 | grep -q outer-was-here- && n=$((n + 1)); done; test $n = 66'
}

alive() {
	inside true && kill -0 "$qemu"
}

# Another QEMU, stopped, that has touched all pages of a neighbour when it goes to the background.
another() {
	local most=$((bytes > 16 * MIB ? bytes : 16 * MIB))
	qemu-system-x86_64 -nodefaults -no-user-config -display none -accel tcg -S -daemonize -pidfile /run/another.pid -machine q35,memory-backend=mem -m "${most}b" \
		-object "memory-backend-file,id=mem,mem-path=/dev/${neighbours[0]},share=on,align=$align,size=${most}b,prealloc=on" || return
	another=$(</run/another.pid)
	grep -q "/dev/${neighbours[0]}" "/proc/$another/maps"
}

# The kernel takes a page of the inner guest for broken, and sends a signal to that QEMU alone. Without KVM QEMU dies of it.
# With KVM QEMU tells its inner guest, which may go on, because the page can still be read.
poisoned() {
	local threads told
	threads=$(ls "/proc/$qemu/task")
	modprobe hwpoison-inject && /clients/dax.py poison "$dax" "$token" || return
	told=$(dmesg | sed -n 's/.*Sending SIGBUS to [^:]*:\([0-9]*\) due to.*/\1/p')
	[[ -n $told && $'\n'$threads$'\n' == *$'\n'$told$'\n'* ]] || {
		echo "QEMU's threads are $threads; a signal went to $told"
		return 1
	}
	echo 'cat /tmp/full >/dev/null' >&7
	if expect 'inner: status'; then
		seen "QEMU gets a signal and goes on; its inner guest reads its file with ${line##*inner: }"
		kill "$qemu"
	fi
	ended && kill -0 "$another" && [[ $(driver "$dax") == device_dax ]]
}

ended() {
	local status
	wait_for gone "$qemu" || return
	wait "$qemu"
	status=$?
	seen "QEMU ends with status $status, $(head -n 1 /run/qemu.err)"
}

gone() {
	! kill -0 "$1" || [[ $(awk '{print $3}' "/proc/$1/stat") == Z ]]
}

# The device goes while an inner guest runs on it: QEMU loses its memory, and nobody else does.
taken_away() {
	booted_again || return
	unbound || return
	echo 'true' >&7
	wait_for lost_its_memory || return
	kill "$qemu" 2>/dev/null
	ended && kill -0 "$another"
}

# Without KVM, QEMU gets a signal and dies. With KVM, the call that runs the virtual CPU fails, and QEMU stops the inner
# guest.
lost_its_memory() {
	gone "$qemu" || grep -q 'kvm run failed' /run/qemu.err
}

booted_again() {
	exec 7>&- 8>&-
	rm -f /run/tty.in /run/tty.out
	booted
}

# The first belongs to the other QEMU.
neighbours_but_first() {
	/clients/dax.py check "${neighbours[@]:1}"
}

end_another() {
	kill "$another" && wait_for gone "$another"
}

needs "a device of three ranges" carve
needs "an image for the inner guest" image
needs "QEMU boots an inner guest with the device as its memory" booted
check "the inner guest's memory is the device's, in each range" frames
check "the inner guest sees what others write to the device" marks
check "the device keeps its shape meanwhile" keeps_its_shape
check "the inner guest still runs" alive
check "another QEMU has a neighbour for its memory" another
check "a broken page of the inner guest reaches no other QEMU" poisoned
check "another inner guest boots; unbinding the device ends it alone" taken_away
check "the other QEMU still runs, and ends when it is told to" end_another
check "the neighbours' bytes are as they were" neighbours_but_first
finish
