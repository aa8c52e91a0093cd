# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Functions that vfio.sh and iommufd.sh share: a PCI device behind an IOMMU, which reaches the mapping of a dax device.

# The IOMMU that QEMU emulates has no remapping of interrupts here, and the PCI device raises none.
given_to_vfio() {
	local directory
	modprobe iommufd allow_unsafe_interrupts=1 && modprobe vfio_iommu_type1 allow_unsafe_interrupts=1 && modprobe vfio-pci || return
	for directory in /sys/bus/pci/devices/*; do
		[[ $(<"$directory/vendor") == 0x1234 && $(<"$directory/device") == 0x11e8 ]] || continue
		pci=$(basename "$directory")
		echo vfio-pci >"$directory/driver_override" && echo "$pci" >/sys/bus/pci/drivers_probe &&
			[[ $(basename "$(readlink "$directory/driver")") == vfio-pci ]]
		return
	done
	echo "no such PCI device"
	return 1
}

mapped() { # mapped WAY: the PCI device gets the whole mapping of the dax device
	helper /clients/vfio.py "$dax" "$pci" "$1"
}

# everywhere COMMAND: at the beginning of the device, across the ends of its ranges, and at its end.
everywhere() {
	local place
	for place in 0 $((unit - 2048)) $((2 * unit - 2048)) $((3 * unit - 4096)); do
		ask "$1" "$place" 4096 || return
	done
}

unmapped() {
	ask unmap && let_go
}
