# SPDX-License-Identifier: GPL-2.0
# Sourced before each public test in a guest: what `meson test` would set, and a
# directory to write to.
export NDCTL=/usr/src/ndctl/build/ndctl/ndctl
export DAXCTL=/usr/src/ndctl/build/daxctl/daxctl
export CXL=/usr/src/ndctl/build/cxl/cxl
export TEST_PATH=/usr/src/ndctl/build/test
export DATA_PATH=/usr/src/ndctl/test
export PATH=/public:$PATH

# changed SCRIPT EXPRESSION: runs one of ndctl's scripts after sed changed it.
changed() {
	local own=$DATA_PATH/changed-$1
	cp "$DATA_PATH/$1" "$own" && sed -Ei "$2" "$own" || return 1
	if cmp -s "$DATA_PATH/$1" "$own"; then
		echo "nothing in $1 is as it was: what is to become of '$2'?"
		return 1
	fi
	"$own"
}

# load MODULE...: a guest has no udevd that would do it by modalias.
load() {
	local module
	for module; do
		modprobe "$module" || exit 1
	done
}

# without PATTERN COMMAND...: fails as well if the command prints such a line.
without() {
	local pattern=$1
	shift
	"$@" 2>&1 | tee /tmp/printed
	local status=${PIPESTATUS[0]}
	if grep -Eq "$pattern" /tmp/printed; then
		echo "it printed what a run that worked does not: $pattern"
		return 1
	fi
	return "$status"
}

# What drives the persistent memory of memmap=, in any mode.
E820_MODULES='nd_e820 nd_pmem dax_pmem device_dax'

# For dax-*.sh: dax-pmd itself instead of trace-cmd with it. These kernels have
# no tracing, so nobody counts huge faults, and what dax-pmd returns decides: the
# scripts take it from after a "!", where it is always 0.
UNTRACED='s/if ! trace-cmd record -e [^ ]+ (.*); then/\1 || cleanup "$1"\n\treturn\n\tif false; then/'

mkdir /work && cd /work || exit 1
