#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""hold.py DEVICE: maps a device of three equal ranges, writes a word into each, prints the address, and waits."""

import ctypes
import mmap
import os
import sys

device = sys.argv[1]
with open(f"/sys/bus/dax/devices/{device}/size") as text:
    size = int(text.read())
memory = mmap.mmap(os.open(f"/dev/{device}", os.O_RDWR), size)
for n in range(3):
    word = f"range {n} of {device}\0".encode()
    memory[n * size // 3 : n * size // 3 + len(word)] = word
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
sys.stdin.readline()
