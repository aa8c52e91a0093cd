#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs in the system that `make system` boots, once it is up. The second disk is a tar archive of
# the host: a step to run, what it needs, and the line that ends its output. The output goes to a
# virtio port, as in tools/guest/init. After the step the machine goes down.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive

mkdir -p /run/step
tar -xf /dev/vdb -C /run/step
cd /run/step || exit
exec 4<>/dev/virtio-ports/xtask.out
exec 3> >(exec cat >&4)
bash "/run/step/$(<name)" </dev/null >&3 2>&3 3>&- 4>&-
printf '\0%s %d\n' "$(<end)" $? >&3
exec 3>&-
read -r -t 60 <&4
systemctl --no-block poweroff
