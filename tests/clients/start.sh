# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# start CLIENT ALIGN: what a guest of `make clients` runs. The disk has a Debian tree with the programs. The client's
# script runs in that tree, with the files of this guest.

start() {
	local place
	mount "$(blkid -L clients)" /mnt || return
	for place in dev proc sys run tmp usr/lib/modules; do
		mkdir -p "/mnt/$place"
		mount --rbind "/$place" "/mnt/$place" || return
	done
	mkdir /mnt/clients && cp /*.sh /*.py /inner-init /bzImage /mnt/clients/ || return
	exec chroot /mnt bash "/clients/$1.sh" "$2"
}
