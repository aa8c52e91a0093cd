#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# mkroot.sh DEST [SUITE PACKAGES]: make a Debian build root in DEST with one
# mmdebstrap call; of Debian 13 with root.packages, if nothing else is said. A
# shell script because a machine without cargo needs it before `lab` can be
# built. A root's name in the cache is a hash of this file and of its packages.
set -eu
here=$(dirname "$0")
dest=$1
suite=${2:-trixie}
list=${3:-$here/root.packages}

packages=$(grep -v '^#' "$list" | paste -sd,)
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
	awk '$2 == "Debian" && $3 !~ /security/ { print $1; exit }')

rm -rf --one-file-system "$dest.part"
set -- --mode=root --variant=apt --include="$packages"
if [ "$suite" != trixie ]; then
	# Only the compilers come from there. A mirror may lag behind by weeks.
	mmdebstrap "$@" --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$dest.part" ${mirror:+"deb $mirror $suite main"}
elif [ -n "$mirror" ]; then
	# The host's own mirror: whatever proxy or cache it is, it works here.
	mmdebstrap "$@" trixie "$dest.part" \
		"deb $mirror trixie main" "deb $mirror trixie-backports main"
else
	# No mirror known: let mmdebstrap choose, and add the backports itself.
	mmdebstrap "$@" \
		--setup-hook='for f in "$1"/etc/apt/sources.list; do sed "s/ trixie / trixie-backports /" "$f" | grep -m1 backports >>"$f.new"; cat "$f.new" >>"$f"; rm "$f.new"; done' \
		trixie "$dest.part"
fi
mv "$dest.part" "$dest"
