# SPDX-License-Identifier: GPL-2.0
"""The parts that rdma.py and vfio.py share: a device's mapping, ordinary memory, and a loop that runs a command a line."""

import ctypes
import mmap
import os
import sys


class Memory:
    """Bytes of this process, at an address."""

    def __init__(self, file, length):
        self.bytes = mmap.mmap(file, length)
        self.length = length
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))

    @classmethod
    def of_device(cls, device):
        with open(f"/sys/bus/dax/devices/{device}/size") as size:
            length = int(size.read())
        file = os.open(f"/dev/{device}", os.O_RDWR)
        memory = cls(file, length)
        os.close(file)
        return memory

    @classmethod
    def ordinary(cls, length):
        return cls(-1, length)


def same(found, expected, what):
    if found != expected:
        at = next(n for n in range(len(expected)) if found[n] != expected[n])
        raise ValueError(f"{what}: other bytes from {at:#x} on")


def serve(commands):
    """Answers each line with "ok" or "error: ...", until one says "end"."""
    print("ok", flush=True)
    for line in sys.stdin:
        name, *words = line.split()
        if name == "end":
            break
        try:
            commands[name](*(int(word) if word.isdigit() else word for word in words))
            print("ok", flush=True)
        except Exception as e:  # whatever it is, the script shows it
            print(f"error: {name}: {e}", flush=True)
