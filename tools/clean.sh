#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Deletes the cache: kernels, build roots, downloads. It needs no other program
# of the project, so that it works where nothing was built. It takes no lock:
# the README says to call it while no command runs.
set -euo pipefail

for name in ${XTASK_GIVEN:-}; do
	case $name in
	HOME | XDG_CACHE_HOME) ;;
	*)
		echo "error: $name: \`make clean\` does not use it. It uses XDG_CACHE_HOME and HOME" >&2
		exit 1
		;;
	esac
done

# tools/bootstrap.sh and tools/src/cache.rs say the same.
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/device-dax
if [ -e "$cache" ]; then
	echo "deleting $cache" >&2
	rm -rf -- "$cache"
fi
