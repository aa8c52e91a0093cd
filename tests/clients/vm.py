#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""vm.py read PID ADDRESS LENGTH, vm.py write PID ADDRESS TEXT: process_vm_readv(2) and process_vm_writev(2)."""

import ctypes
import os
import sys


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


libc = ctypes.CDLL(None, use_errno=True)
what, pid, address, rest = sys.argv[1:]
data = rest.encode() if what == "write" else bytes(int(rest))
buffer = ctypes.create_string_buffer(data, len(data))
local = Vector(ctypes.addressof(buffer), len(data))
remote = Vector(int(address), len(data))
call = libc.process_vm_writev if what == "write" else libc.process_vm_readv
call.restype = ctypes.c_ssize_t
done = call(int(pid), ctypes.byref(local), ctypes.c_ulong(1), ctypes.byref(remote), ctypes.c_ulong(1), ctypes.c_ulong(0))
if done != len(data):
    sys.exit(f"{done} bytes, {os.strerror(ctypes.get_errno())}")
if what == "read":
    print(buffer.raw.decode())
