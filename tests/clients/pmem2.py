#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""pmem2.py DEVICE: libpmem2 maps a dax device, copies to it and persists, and finds the bytes in a second mapping."""

import ctypes
import os
import sys

BYTE_GRANULARITY, CACHE_LINE, PAGE = range(3)
LENGTH = 64 << 10

pmem2 = ctypes.CDLL("libpmem2.so.1")
for name in ("pmem2_map_get_address", "pmem2_get_memcpy_fn", "pmem2_get_persist_fn", "pmem2_errormsg"):
    getattr(pmem2, name).restype = ctypes.c_void_p
pmem2.pmem2_map_get_size.restype = ctypes.c_size_t
pmem2.pmem2_errormsg.restype = ctypes.c_char_p
MEMCPY = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint)
PERSIST = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)


def done(status):
    if status:
        sys.exit(f"{status}: {pmem2.pmem2_errormsg().decode()}")


def mapped(file):
    config, source, mapping = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    done(pmem2.pmem2_config_new(ctypes.byref(config)))
    done(pmem2.pmem2_source_from_fd(ctypes.byref(source), file))
    done(pmem2.pmem2_config_set_required_store_granularity(config, PAGE))
    done(pmem2.pmem2_map_new(ctypes.byref(mapping), config, source))
    return mapping


def main(device):
    file = os.open(f"/dev/{device}", os.O_RDWR)
    with open(f"/sys/bus/dax/devices/{device}/size") as size:
        size = int(size.read())
    data = os.urandom(LENGTH)
    mapping = mapped(file)
    assert pmem2.pmem2_map_get_size(mapping) == size
    address = pmem2.pmem2_map_get_address(mapping)
    copy = MEMCPY(pmem2.pmem2_get_memcpy_fn(mapping))
    persist = PERSIST(pmem2.pmem2_get_persist_fn(mapping))
    # Once in each range, and once across the end of the first.
    places = [0, size // 3 - LENGTH // 2, size // 2, size - LENGTH]
    for at in places:
        copy(address + at, data, LENGTH, 0)
        persist(address + at, LENGTH)
    granularity = pmem2.pmem2_map_get_store_granularity(mapping)
    done(pmem2.pmem2_map_delete(ctypes.byref(mapping)))

    mapping = mapped(file)
    address = pmem2.pmem2_map_get_address(mapping)
    for at in places:
        assert ctypes.string_at(address + at, LENGTH) == data, f"other bytes at {at:#x}"
    done(pmem2.pmem2_map_delete(ctypes.byref(mapping)))
    print("seen: store granularity", ("byte", "cache line", "page")[granularity])


main(*sys.argv[1:])
