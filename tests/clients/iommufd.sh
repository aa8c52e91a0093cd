# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
. /clients/lib.sh
. /clients/pci.sh

needs "a device of three ranges" carve
needs "a PCI device behind an IOMMU" given_to_vfio
check "iommufd gives the whole mapping to a PCI device" mapped iommufd
check "the PCI device writes, in each range and across their ends" everywhere write
check "it reads, in each range and across their ends" everywhere read
check "the device keeps its shape meanwhile" keeps_its_shape
check "its owner ends well" let_go
check "the device can be unbound and bound afterwards" unbound_and_bound
check "the neighbours' bytes are as they were" neighbours
needs "the PCI device once more" mapped iommufd
check "the device is unbound while it is mapped" soon unbound
check "the PCI device still reaches its pages" everywhere both
check "nobody else gets its memory meanwhile" no_new_owner
check "the mapping is taken away from the PCI device, and its owner ends well" unmapped
check "the device works again" works_again
check "the neighbours' bytes are still as they were" neighbours
finish
