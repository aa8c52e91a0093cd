#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# mkroot.sh DEST: make the Debian 13 build root in DEST with one mmdebstrap
# call. A shell script because a machine without cargo needs it before `lab`
# can be built. Its name in the cache is a hash of this file and root.packages.
set -eu
dest=$1
here=$(dirname "$0")

packages=$(grep -v '^#' "$here/root.packages" | paste -sd,)
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
	awk '$2 == "Debian" && $3 !~ /security/ { print $1; exit }')

rm -rf --one-file-system "$dest.part"
if [ -n "$mirror" ]; then
	# The host's own mirror: whatever proxy or cache it is, it works here.
	mmdebstrap --mode=root --variant=apt --include="$packages" trixie "$dest.part" \
		"deb $mirror trixie main" "deb $mirror trixie-backports main"
else
	# No mirror known: let mmdebstrap choose, and add the backports itself.
	mmdebstrap --mode=root --variant=apt --include="$packages" \
		--setup-hook='for f in "$1"/etc/apt/sources.list; do sed "s/ trixie / trixie-backports /" "$f" | grep -m1 backports >>"$f.new"; cat "$f.new" >>"$f"; rm "$f.new"; done' \
		trixie "$dest.part"
fi
mv "$dest.part" "$dest"
