#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Builds ndctl with its tests and stages what a guest needs of it. Run in the
# build root by tools/src/public/ndctl.rs: the tarball is /usr/src/tarball, the
# staged tree goes to /usr/src/staged. Everything stays at /usr/src/ndctl, for
# the programs find their libraries relative to themselves.
set -eu
here=/usr/src/ndctl
staged=/usr/src/staged

tar -xf /usr/src/tarball --strip-components=1 -C $here
cd $here
# device-dax gives its reading loop 30 ms, from which it concludes that the memory
# is cached. An emulated processor has no cache, and a busy machine stops it for
# longer.
sed -i '/define VERIFY_TIME/s/\* 60)$/* 60 * 1000)/' test/device-dax.c
grep -q '60 \* 1000)$' test/device-dax.c
meson setup build --buildtype=release -Dversion-tag="$1" -Drootprefix=/usr \
	-Dtest=enabled -Ddestructive=enabled \
	-Ddocs=disabled -Dasciidoctor=disabled -Dsystemd=disabled
ninja -C build

stage() { # stage FILE...: with the libraries they load, under the same names
	for file; do
		cp --parents -P "$file" $staged
		ldd "$file" | sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p'
	done | sort -u | while read -r library; do
		cp --parents -L "$(readlink -f "$(dirname "$library")")/$(basename "$library")" $staged
	done
}

cp --parents -r $here/test $staged
for program in $(find $here/build -type f -perm /111 ! -path '*.p/*' ! -path '*/meson-private/*'); do
	stage "$program"
done
find $here/build -name '*.so.*' -type l -exec cp --parents -P {} $staged \;
stage /usr/sbin/mkfs.xfs /usr/bin/udevadm
