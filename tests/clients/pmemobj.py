#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""pmemobj.py DEVICE UNIT: libpmemobj fills a pool with objects until it is full, and finds them when it opens it again.

UNIT is the length of each range of the device: there must be objects in all of them.
"""

import ctypes
import sys

OBJECT = 4 << 20


class Oid(ctypes.Structure):
    _fields_ = [("pool", ctypes.c_uint64), ("offset", ctypes.c_uint64)]


pmemobj = ctypes.CDLL("libpmemobj.so.1")
pmemobj.pmemobj_open.restype = ctypes.c_void_p
pmemobj.pmemobj_errormsg.restype = ctypes.c_char_p
pmemobj.pmemobj_direct.restype = ctypes.c_void_p
pmemobj.pmemobj_direct.argtypes = [Oid]
pmemobj.pmemobj_first.restype = Oid
pmemobj.pmemobj_first.argtypes = [ctypes.c_void_p]
pmemobj.pmemobj_next.restype = Oid
pmemobj.pmemobj_next.argtypes = [Oid]
pmemobj.pmemobj_close.argtypes = [ctypes.c_void_p]
pmemobj.pmemobj_memset_persist.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
pmemobj.pmemobj_memset_persist.restype = ctypes.c_void_p
pmemobj.pmemobj_alloc.argtypes = [
    ctypes.c_void_p, ctypes.POINTER(Oid), ctypes.c_size_t, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p
]


def opened(path):
    pool = pmemobj.pmemobj_open(path, b"clients")
    if not pool:
        sys.exit(f"pmemobj_open: {pmemobj.pmemobj_errormsg().decode()}")
    return pool


def main(device, unit):
    path, unit = f"/dev/{device}".encode(), int(unit)
    pool = opened(path)
    made = {}
    while True:
        oid = Oid()
        if pmemobj.pmemobj_alloc(pool, ctypes.byref(oid), OBJECT, 1, None, None):
            break
        byte = len(made) % 251 + 1
        pmemobj.pmemobj_memset_persist(pool, pmemobj.pmemobj_direct(oid), byte, OBJECT)
        made[oid.offset] = byte
    pmemobj.pmemobj_close(pool)

    pool = opened(path)
    found, oid = {}, pmemobj.pmemobj_first(pool)
    while oid.offset:
        data = ctypes.string_at(pmemobj.pmemobj_direct(oid), OBJECT)
        assert data == data[:1] * OBJECT, f"the object at {oid.offset:#x} has bytes of others"
        found[oid.offset] = data[0]
        oid = pmemobj.pmemobj_next(oid)
    pmemobj.pmemobj_close(pool)
    assert found == made, "other objects than those that were made"
    places = {offset // unit for offset in made}
    assert places >= {0, 1, 2}, f"objects in the ranges {places} only"
    print(f"seen: {len(made)} objects of 4 MiB")


main(*sys.argv[1:])
