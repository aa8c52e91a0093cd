#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""bytes.py fill|check|hold DEVICE...: the bytes of dax devices, which only mmap() reaches.

fill writes bytes that tell the device and the place. check looks whether all of them are there.
hold maps and fills one device, says so, and checks it when standard input ends.
"""

import mmap
import os
import random
import sys

BLOCK = 1 << 20


def mapping(device):
    with open(f"/sys/bus/dax/devices/{device}/size") as size:
        length = int(size.read())
    file = os.open(f"/dev/{device}", os.O_RDWR)
    return mmap.mmap(file, length)


def blocks(device, length):
    pattern = random.Random(device).randbytes(BLOCK - 8)
    for at in range(0, length, BLOCK):
        yield at, at.to_bytes(8, "little") + pattern


def fill(device, memory):
    for at, block in blocks(device, len(memory)):
        memory[at : at + BLOCK] = block


def check(device, memory):
    for at, block in blocks(device, len(memory)):
        if memory[at : at + BLOCK] != block:
            sys.exit(f"{device}: other bytes in the block at {at:#x}")
    print(f"{device}: {len(memory) >> 20} MiB are as they were")


def main(what, *devices):
    for device in devices:
        memory = mapping(device)
        if what in ("fill", "hold"):
            fill(device, memory)
        if what == "hold":
            print("held", flush=True)
            sys.stdin.read()
        if what in ("check", "hold"):
            check(device, memory)


main(*sys.argv[1:])
