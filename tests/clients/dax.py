#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""dax.py COMMAND ...: the bytes of dax devices, which only mmap() reaches.

fill DEVICE...          writes bytes that tell the device and the place, at the beginning and end of each range
check DEVICE...         looks whether they are there
pages DEVICE TOKEN      prints how many pages of each range are full of the token, a line of 16 bytes
mark DEVICE TOKEN MARK  overwrites the token at the beginning of each such page
poison DEVICE TOKEN     makes the kernel believe that the memory of one such page is broken
spoil DEVICE            changes a byte in the middle of the last range
same DEVICE AT FILE     looks whether the device has the first half of the file at that place
"""

import mmap
import os
import pathlib
import random
import sys

BLOCK = 1 << 20
PAGE = 4096
EDGE = 8 << 20


def attribute(device, name):
    return pathlib.Path(f"/sys/bus/dax/devices/{device}/{name}").read_text().strip()


def ranges(device):
    """Offset in the device, length and address of each range."""
    directory = pathlib.Path(f"/sys/bus/dax/devices/{device}")
    for mapping in sorted(directory.glob("mapping[0-9]*"), key=lambda m: int(m.name[7:])):
        start, end, page = (int((mapping / n).read_text(), 0) for n in ("start", "end", "page_offset"))
        yield page * PAGE, end - start + 1, start


def mapped(device):
    file = os.open(f"/dev/{device}", os.O_RDWR)
    memory = mmap.mmap(file, int(attribute(device, "size")))
    os.close(file)
    return memory


def edges(device):
    for offset, length, _ in ranges(device):
        places = range(0, length // BLOCK)
        for n in places:
            if n * BLOCK < EDGE or (n + 1) * BLOCK > length - EDGE:
                yield offset + n * BLOCK


def block(device, at):
    return at.to_bytes(8, "little") + random.Random(device).randbytes(BLOCK - 8)


def fill(device):
    memory = mapped(device)
    for at in edges(device):
        memory[at : at + BLOCK] = block(device, at)


def check(device):
    memory = mapped(device)
    for at in edges(device):
        if memory[at : at + BLOCK] != block(device, at):
            sys.exit(f"{device}: other bytes in the block at {at:#x}")


def full_pages(memory, device, token):
    # The first line may be marked.
    rest = (token.encode() + b"\n") * (PAGE // 16 - 1)
    assert len(rest) == PAGE - 16, "a token has 15 characters"
    for offset, length, _ in ranges(device):
        yield [at for at in range(offset, offset + length, PAGE) if memory[at + 16 : at + PAGE] == rest]


def pages(device, token):
    memory = mapped(device)
    print(*(len(found) for found in full_pages(memory, device, token)))


def mark(device, token, text):
    memory = mapped(device)
    for found in full_pages(memory, device, token):
        for at in found:
            memory[at : at + 16] = text.encode() + b"\n"


def poison(device, token):
    memory = mapped(device)
    *_, found = full_pages(memory, device, token)
    at = found[0]
    *_, (offset, _, start) = ranges(device)
    frame = (start + at - offset) // PAGE
    # Whoever maps the page gets a signal. This process shall not.
    memory.close()
    pathlib.Path("/sys/kernel/debug/hwpoison/corrupt-pfn").write_text(f"{frame:#x}")
    print(f"frame {frame:#x}, {at:#x} in the device")


def spoil(device):
    *_, (offset, length, _) = ranges(device)
    mapped(device)[offset + length // 2 + 12345] ^= 0xFF


def same(device, at, file):
    memory = mapped(device)
    at = int(at)
    data = pathlib.Path(file).read_bytes()
    half = data[: len(data) // 2]
    if memory[at : at + len(half)] != half:
        sys.exit(f"{device}: other bytes at {at:#x} than in {file}")


def main(command, *words):
    if command in ("fill", "check"):
        for device in words:
            {"fill": fill, "check": check}[command](device)
    else:
        {"pages": pages, "mark": mark, "poison": poison, "spoil": spoil, "same": same}[command](*words)


main(*sys.argv[1:])
