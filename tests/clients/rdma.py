#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""rdma.py DEVICE RDMA-DEVICE: registers the mapping of a dax device, and reaches it by RDMA from a queue pair of its own.

register        a memory region over all of the mapping; its pages are pinned
ondemand        the same, but RDMA faults pages in when it needs them
write AT LENGTH RDMA write to that place; the mapping must have the bytes, and those beside them must stay
read AT LENGTH  RDMA read of bytes that the mapping got
both AT LENGTH  RDMA write and RDMA read; nothing looks at the mapping
refused AT LENGTH  RDMA write must fail
forget          the memory region goes
"""

import os
import sys
import time

import pyverbs.enums as e
from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, SendWR

from session import Memory, same, serve

ACCESS = e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ
BESIDE = 4096
device, name = sys.argv[1:]
memory = Memory.of_device(device)
local = Memory.ordinary(1 << 20)
context = Context(name=name)
domain = PD(context)
queue = CQ(context, 16)
here = MR(domain, local.length, e.IBV_ACCESS_LOCAL_WRITE, address=local.address)
region = None


def pair():
    """Two queue pairs that are connected to each other. An error ends a pair, so each region has one of its own."""
    ends = [
        QP(domain, QPInitAttr(qp_type=e.IBV_QPT_RC, scq=queue, rcq=queue, cap=QPCap(max_send_wr=4), sq_sig_all=1))
        for _ in range(2)
    ]
    for own, other in (ends, ends[::-1]):
        attributes = QPAttr(port_num=1)
        attributes.qp_access_flags = ACCESS
        attributes.dest_qp_num = other.qp_num
        attributes.path_mtu = e.IBV_MTU_4096
        attributes.max_rd_atomic = attributes.max_dest_rd_atomic = 1
        attributes.min_rnr_timer, attributes.timeout = 12, 18
        attributes.retry_cnt = attributes.rnr_retry = 7
        route = GlobalRoute(dgid=context.query_gid(1, 0), sgid_index=0)
        attributes.ah_attr = AHAttr(port_num=1, is_global=1, gr=route)
        own.to_rts(attributes)
    return ends


def register(flags=0):
    global region, ends
    ends = pair()
    region = MR(domain, memory.length, ACCESS | flags, address=memory.address)
    print(f"seen: {memory.length >> 20} MiB in one memory region")


def transfer(opcode, at, length):
    """Moves bytes between the local memory and that place. Returns how it ended."""
    request = SendWR(opcode=opcode, num_sge=1, sg=[SGE(local.address, length, here.lkey)])
    request.set_wr_rdma(region.rkey, memory.address + at)
    ends[0].post_send(request)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        number, completions = queue.poll()
        if number:
            return completions[0].status
    raise TimeoutError("no completion for two minutes")


def done(opcode, at, length):
    status = transfer(opcode, at, length)
    if status != e.IBV_WC_SUCCESS:
        raise OSError(f"the work request ended with status {status}")


def write(at, length):
    data = os.urandom(length)
    first, last = max(at - BESIDE, 0), min(at + length + BESIDE, memory.length)
    before, after = memory.bytes[first:at], memory.bytes[at + length : last]
    local.bytes[:length] = data
    done(e.IBV_WR_RDMA_WRITE, at, length)
    same(memory.bytes[first:last], before + data + after, "the mapping")


def read(at, length):
    data = os.urandom(length)
    memory.bytes[at : at + length] = data
    done(e.IBV_WR_RDMA_READ, at, length)
    same(local.bytes[:length], data, "what RDMA read")


def both(at, length):
    data = os.urandom(length)
    local.bytes[:length] = data
    done(e.IBV_WR_RDMA_WRITE, at, length)
    local.bytes[:length] = bytes(length)
    done(e.IBV_WR_RDMA_READ, at, length)
    same(local.bytes[:length], data, "what RDMA read")


def refused(at, length):
    status = transfer(e.IBV_WR_RDMA_WRITE, at, length)
    if status == e.IBV_WC_SUCCESS:
        raise OSError("the work request succeeded")
    print(f"seen: the work request ends with status {status}")


def forget():
    for end in ends:
        end.close()
    region.close()


def ondemand():
    register(e.IBV_ACCESS_ON_DEMAND)


serve({f.__name__: f for f in (register, ondemand, write, read, both, refused, forget)})
