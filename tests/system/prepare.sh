#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# prepare.sh TREE: makes a Debian tree the root of a machine with one disk, for `make system`.
set -eu
tree=$1
here=$(dirname "$0")
install -m 755 "$here/agent.sh" "$tree/usr/local/sbin/agent"
install -m 644 "$here/agent.service" "$tree/etc/systemd/system/agent.service"
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants" "$tree/etc/systemd/system.conf.d"
ln -sf ../agent.service "$tree/etc/systemd/system/multi-user.target.wants/"
# They would take apt's lock while a step installs packages.
for timer in apt-daily apt-daily-upgrade e2scrub_all; do
	ln -sf /dev/null "$tree/etc/systemd/system/$timer.timer"
done
# An emulated machine on a busy host is slow.
printf '[Manager]\nDefaultTimeoutStartSec=600s\nDefaultDeviceTimeoutSec=600s\n' \
	>"$tree/etc/systemd/system.conf.d/slow.conf"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$tree/etc/fstab"
echo system >"$tree/etc/hostname"
printf '127.0.0.1 localhost system\n' >"$tree/etc/hosts"
: >"$tree/etc/machine-id"
rm -f "$tree/etc/resolv.conf"
mkdir -p "$tree/var/lib/test"
