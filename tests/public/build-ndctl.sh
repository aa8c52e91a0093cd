#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Builds ndctl with its tests and stages what a guest needs of it. Run in the
# build root by tools/src/public/ndctl.rs: the tarball is /usr/src/tarball, the
# staged tree goes to /usr/src/staged. Everything stays at /usr/src/ndctl, for
# the programs find their libraries relative to themselves.
#
# build-ndctl.sh VERSION [MACHINE CPU]: for another machine, as the compiler calls
# it (aarch64-linux-gnu), its libraries and programs are at /usr/src/devel.
set -eu
here=/usr/src/ndctl
staged=/usr/src/staged
version=$1
machine=${2-}
cpu=${3-}

tar -xf /usr/src/tarball --strip-components=1 -C $here
cd $here
# device-dax gives its reading loop 30 ms, from which it concludes that the memory
# is cached. An emulated processor has no cache, and a busy machine stops it for
# longer.
sed -i '/define VERIFY_TIME/s/\* 60)$/* 60 * 1000)/' test/device-dax.c
grep -q '60 \* 1000)$' test/device-dax.c
if [ "$cpu" = aarch64 ]; then
	# No device there has pages of 1 GiB.
	sed -i 's/aligns\[\] = { SZ_4K, SZ_2M, SZ_1G };/aligns[] = { SZ_4K, SZ_2M };/' test/device-dax.c
	sed -i 's/for align in 4k 2m 1g$/for align in 4k 2m/' test/device-dax-fio.sh
	if grep -E 'SZ_2M, SZ_1G|2m 1g' test/device-dax.c test/device-dax-fio.sh; then
		echo "these lines still ask for pages of 1 GiB: adapt $0" >&2
		exit 1
	fi
fi
if [ -n "$machine" ]; then
	root=/usr/src/devel
	cat >cross.ini <<-EOF
	[binaries]
	c = ['clang', '--target=$machine', '--sysroot=$root']
	ar = 'llvm-ar'
	strip = 'llvm-strip'
	pkg-config = 'pkg-config'
	[properties]
	sys_root = '$root'
	pkg_config_libdir = '$root/usr/lib/$machine/pkgconfig:$root/usr/share/pkgconfig'
	[built-in options]
	c_link_args = ['-fuse-ld=lld']
	[host_machine]
	system = 'linux'
	cpu_family = '$cpu'
	cpu = '$cpu'
	endian = 'little'
	EOF
	set -- --cross-file=cross.ini
else
	set --
fi
meson setup build "$@" --buildtype=release -Dversion-tag="$version" -Drootprefix=/usr \
	-Dtest=enabled -Ddestructive=enabled \
	-Ddocs=disabled -Dasciidoctor=disabled -Dsystemd=disabled
ninja -C build

if [ -n "$machine" ]; then
	# No ldd can be run here, so all libraries of that machine go along.
	stage() { cp --parents -P "$@" $staged; }
	cd $root
	find "usr/lib/$machine" -name '*.so.*' -exec cp --parents -L {} $staged \;
	stage usr/sbin/mkfs.xfs usr/bin/udevadm
	cd $here
else
	stage() { # stage FILE...: with the libraries they load, under the same names
		for file; do
			cp --parents -P "$file" $staged
			ldd "$file" | sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p'
		done | sort -u | while read -r library; do
			cp --parents -L "$(readlink -f "$(dirname "$library")")/$(basename "$library")" $staged
		done
	}
	stage /usr/sbin/mkfs.xfs /usr/bin/udevadm
fi

cp --parents -r $here/test $staged
for program in $(find $here/build -type f -perm /111 ! -path '*.p/*' ! -path '*/meson-private/*'); do
	stage "$program"
done
find $here/build -name '*.so.*' -type l -exec cp --parents -P {} $staged \;
