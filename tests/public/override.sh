# SPDX-License-Identifier: GPL-2.0
# Sourced after prelude.sh. device_dax has a weak dax_pgoff_to_phys(), and
# nfit_test links a strong one into its device_dax (tools/testing/nvdimm/dax-dev.c):
# that one knows which memory is only pretended, and finds no page there for a
# device with huge pages. So a first access to such a device gets SIGBUS, while
# the same module maps real memory. The weak function knows no difference.

fail() {
	echo "$*"
	exit 1
}

# device NDCTL_OPTIONS...: the name of a new device with 2 MiB pages.
device() {
	$NDCTL create-namespace -f -t pmem -m devdax -a 2M "$@" |
		jq -er '.daxregion.devices[0].chardev'
}

# first_page DEVICE LINE: fio reads the first page of a device and prints such a
# line; its exit status says nothing.
first_page() {
	fio --name=first --ioengine=dev-dax --direct=0 --filename="/dev/$1" \
		--rw=read --bs=2m --size=2m 2>&1 | tee /tmp/printed
	grep -Eq "$2" /tmp/printed
}

set -o pipefail
load nfit_test nd_e820
$NDCTL disable-region -b nfit_test.0 all
$NDCTL init-labels -f -b nfit_test.0 all
$NDCTL enable-region -b nfit_test.0 all
region=$($NDCTL list -b nfit_test.0 -t pmem -Ri | jq -er 'max_by(.available_size).dev') ||
	fail 'nfit_test has no region'
pretended=$(device -b nfit_test.0 -r "$region") || fail "no device in $region"
real=$(device -e "$($NDCTL list -b e820 -Ni | jq -er '.[0].dev')") || fail 'no device in real memory'
echo "$pretended is pretended, $real is real"

# A weak function has W. The T of a strong one is small if it is not exported: C
# exports the weak one, from dax.o.
grep -w dax_pgoff_to_phys /proc/kallsyms
grep -Eq '^\w+ [Tt] dax_pgoff_to_phys\s+\[device_dax\]$' /proc/kallsyms ||
	fail "device_dax has no strong dax_pgoff_to_phys"

first_page "$real" '^ *READ: bw=' || fail 'real memory cannot be read'
first_page "$pretended" 'got signal=7' || fail 'a first access to pretended memory got no SIGBUS'
