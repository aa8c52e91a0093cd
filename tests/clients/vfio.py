#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""vfio.py DEVICE PCI-ADDRESS container|iommufd: lets a PCI device reach the mapping of a dax device.

The PCI device is QEMU's "edu", which copies up to 4 KiB between memory and a buffer of its own.

write AT LENGTH the PCI device writes there; the mapping must have the bytes
read AT LENGTH  the PCI device reads bytes that the mapping got
both AT LENGTH  the PCI device writes and reads; nothing looks at the mapping
unmap           takes the mapping away from the PCI device
"""

import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

from session import Memory, same, serve

# The address at which the PCI device sees the memory. A device with 1 GiB pages is mapped by such pages.
IOVA = 4 << 30
ORDINARY = 2 << 30
READ, WRITE = 1, 2
BAR0, CONFIG = 0, 7
BUFFER = 0x40000
SOURCE, DESTINATION, COUNT, COMMAND = 0x80, 0x88, 0x90, 0x98
START, TO_MEMORY = 1, 2


def ioctl(file, number, form, *values):
    """Calls an ioctl of VFIO or of iommufd, whose structures begin with their size, and returns the structure's values."""
    data = bytearray(struct.pack(form, struct.calcsize(form), *values))
    fcntl.ioctl(file, 0x3B << 8 | number, data)
    return struct.unpack(form, data)


def opened(path):
    return os.open(path, os.O_RDWR)


class Container:
    """VFIO's own interface: a group of devices in a container."""

    def __init__(self, pci):
        group = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{pci}/iommu_group"))
        self.container, self.group = opened("/dev/vfio/vfio"), opened(f"/dev/vfio/{group}")
        fcntl.ioctl(self.group, 0x3B68, struct.pack("i", self.container))  # VFIO_GROUP_SET_CONTAINER
        fcntl.ioctl(self.container, 0x3B66, 3)  # VFIO_SET_IOMMU, type 1 version 2
        name = ctypes.create_string_buffer(pci.encode())
        self.file = fcntl.ioctl(self.group, 0x3B6A, name)  # VFIO_GROUP_GET_DEVICE_FD

    def map(self, memory, iova):
        ioctl(self.container, 0x71, "IIQQQ", READ | WRITE, memory.address, iova, memory.length)

    def unmap(self, memory, iova):
        ioctl(self.container, 0x72, "IIQQ", 0, iova, memory.length)


class Iommufd:
    """A device of its own, attached to an address space of iommufd."""

    def __init__(self, pci):
        (name,) = os.listdir(f"/sys/bus/pci/devices/{pci}/vfio-dev")
        self.iommufd, self.file = opened("/dev/iommu"), opened(f"/dev/vfio/devices/{name}")
        ioctl(self.file, 0x76, "IIiI", 0, self.iommufd, 0)  # VFIO_DEVICE_BIND_IOMMUFD
        self.space = ioctl(self.iommufd, 0x81, "III", 0, 0)[2]  # IOMMU_IOAS_ALLOC
        ioctl(self.file, 0x77, "III", 0, self.space)  # VFIO_DEVICE_ATTACH_IOMMUFD_PT

    def map(self, memory, iova):
        # At that address, readable and writable
        ioctl(self.iommufd, 0x85, "IIIIQQQ", 7, self.space, 0, memory.address, memory.length, iova)

    def unmap(self, memory, iova):
        ioctl(self.iommufd, 0x86, "IIQQ", self.space, iova, memory.length)


class Edu:
    """The PCI device."""

    def __init__(self, file):
        offset = self.region(file, CONFIG)[1] + 4
        (command,) = struct.unpack("<H", os.pread(file, 2, offset))
        os.pwrite(file, struct.pack("<H", command | 6), offset)  # memory, and it may be master of the bus
        size, offset = self.region(file, BAR0)
        self.registers = mmap.mmap(file, size, offset=offset)

    @staticmethod
    def region(file, index):
        return ioctl(file, 0x6C, "IIIIQQ", 0, index, 0, 0, 0)[4:]  # VFIO_DEVICE_GET_REGION_INFO

    def register(self, at):
        return ctypes.c_uint64.from_buffer(self.registers, at)

    def copy(self, source, destination, length, how):
        for at, value in (SOURCE, source), (DESTINATION, destination), (COUNT, length), (COMMAND, START | how):
            self.register(at).value = value
        end = time.monotonic() + 120
        while self.register(COMMAND).value & START:
            if time.monotonic() > end:
                raise TimeoutError("the PCI device is not done after two minutes")

    def fetch(self, iova, length):
        self.copy(iova, BUFFER, length, 0)

    def store(self, iova, length):
        self.copy(BUFFER, iova, length, TO_MEMORY)


def write(at, length):
    data = os.urandom(length)
    ordinary.bytes[:length] = data
    edu.fetch(ORDINARY, length)
    edu.store(IOVA + at, length)
    same(memory.bytes[at : at + length], data, "the mapping")


def read(at, length):
    data = os.urandom(length)
    memory.bytes[at : at + length] = data
    edu.fetch(IOVA + at, length)
    edu.store(ORDINARY, length)
    same(ordinary.bytes[:length], data, "what the PCI device read")


def both(at, length):
    data = os.urandom(length)
    ordinary.bytes[:length] = data
    edu.fetch(ORDINARY, length)
    edu.store(IOVA + at, length)
    ordinary.bytes[:length] = bytes(length)
    edu.fetch(ORDINARY, length)
    edu.fetch(IOVA + at, length)
    edu.store(ORDINARY, length)
    same(ordinary.bytes[:length], data, "what the PCI device read")


def unmap():
    vfio.unmap(memory, IOVA)


device, pci, way = sys.argv[1:]
memory = Memory.of_device(device)
ordinary = Memory.ordinary(mmap.PAGESIZE)
vfio = {"container": Container, "iommufd": Iommufd}[way](pci)
vfio.map(memory, IOVA)
vfio.map(ordinary, ORDINARY)
edu = Edu(vfio.file)
print(f"seen: {memory.length >> 20} MiB mapped")
serve({f.__name__: f for f in (write, read, both, unmap)})
