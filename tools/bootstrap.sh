#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the host tool `xtask` and prints its path; all else goes to stderr. With
# no cargo of RUST_MIN or newer here, the build root's cargo builds it.
set -euo pipefail

RUST_MIN=1.85
repo=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/device-dax
cd "$repo"
mkdir -p "$cache/locks"

install() { # install PACKAGE...: with apt, as root
	if [ "$(id -u)" != 0 ]; then
		echo "error: these packages are missing, and only root can install them: $*" >&2
		exit 1
	fi
	echo "installing $*" >&2
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update -q && apt-get install -qy --no-install-recommends "$@"; } >&2 </dev/null
}

missing() { # is there no such program here?
	! command -v "$1" >/dev/null
}

new_enough() { # is there a cargo here, and is it RUST_MIN or newer?
	local version
	version=$(cargo --version 2>/dev/null) || return
	version=${version#cargo }
	[ "$(printf '%s\n' "$RUST_MIN" "${version%% *}" | sort -V | head -n1)" = "$RUST_MIN" ]
}

in_root() { # in_root SCRIPT: runs it in the build root, this checkout at /usr/src/device-dax
	REPO=$repo CACHE=$cache ROOT=$root unshare --mount bash -euc '
		mount --make-rprivate /
		mkdir -p "$ROOT/usr/src/device-dax" "$ROOT/usr/src/cache"
		mount -t proc proc "$ROOT/proc"
		mount --rbind /dev "$ROOT/dev"
		mount --bind "$REPO" "$ROOT/usr/src/device-dax"
		mount --bind "$CACHE" "$ROOT/usr/src/cache"
		for file in resolv.conf hosts; do
			cp -L "/etc/$file" "$ROOT/etc/$file" 2>/dev/null || true
		done
		cd "$ROOT"
		exec chroot . /bin/bash -euc "cd /usr/src/device-dax; $0"' "$1"
}

packages=()
if missing mmdebstrap; then packages+=(mmdebstrap); fi
if missing unshare; then packages+=(util-linux); fi
if missing mount; then packages+=(mount); fi
if missing patch; then packages+=(patch); fi
if [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
	packages+=(debian-archive-keyring)
fi
if new_enough; then
	host_cargo=1
	if missing cc; then packages+=(gcc libc6-dev); fi
fi
if [ ${#packages[@]} -gt 0 ]; then install "${packages[@]}"; fi

if [ -n "${host_cargo:-}" ]; then
	# Build in the checkout: with one directory for two checkouts, cargo would mix up their programs.
	export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target}
	cargo build --quiet --locked --package xtask >&2
	echo "$CARGO_TARGET_DIR/debug/xtask"
	exit
fi

# Find out whether commands can run in a build root before one is made.
if ! unshare --mount true; then
	echo "error: this needs root and mount namespaces: a container that lets mount, a chroot that is a mount point" >&2
	exit 1
fi
root=$cache/root-$(cat tools/root.packages tools/mkroot.sh | sha256sum | cut -c1-16)
if [ ! -e "$root" ]; then
	echo "no cargo $RUST_MIN or newer here: making the build root first" >&2
	exec 9>"$cache/locks/${root##*/}"
	flock 9
	[ -e "$root" ] || tools/mkroot.sh "$root" >&2
	exec 9>&-
fi
# The certificates that this machine trusts. The environment may name a proxy.
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
settings="export PATH=/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/usr/src/cache/cargo"
if [ -e "$certificates" ]; then
	cp -L "$certificates" "$cache/certificates.crt"
	settings+=" CARGO_HTTP_CAINFO=/usr/src/cache/certificates.crt"
fi
# Fetch all crates at once: the commands that xtask runs in the root need no network.
fetched=$cache/cargo/fetched-$(sha256sum Cargo.lock | cut -c1-16)
if [ ! -e "$fetched" ]; then
	echo "fetching crates" >&2
	in_root "$settings; cargo fetch --quiet --locked" >&2
	touch "$fetched"
fi
# Link statically, since the root's C library is not this machine's. With --target, build scripts
# and macros stay dynamic, as they must.
target=x86_64-unknown-linux-gnu
in_root "$settings CARGO_TARGET_DIR=/usr/src/device-dax/target/build-root
	export RUSTFLAGS=-Ctarget-feature=+crt-static
	cargo build --quiet --locked --offline --package xtask --target $target" >&2
echo "$repo/target/build-root/$target/debug/xtask"
