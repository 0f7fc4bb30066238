"""Which kernel thread a pthread is.

Until 3.10 a Python thread knows only its pthread id, the address of its control block. That block holds the kernel's
thread id, at an offset that differs between C libraries. The offset is found, not assumed: it is the one at which
every block holds the id of a different thread of the process.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from doctor.procfs.handle import ProcDir

_SEARCHED_BYTES = 2048


def kernel_ids(proc: ProcDir, pthreads: Collection[int], tids: Collection[int]) -> dict[int, int]:
    """The thread id of each pthread, as its own PID namespace counts; empty where no offset fits all of them.

    Raises:
        PermissionError: this user may not read the process's memory.
    """
    blocks = {pthread: proc.read_memory(pthread, _SEARCHED_BYTES) for pthread in pthreads}
    words = {
        pthread: struct.unpack(f"={len(block) // 4}i", block[: len(block) // 4 * 4])
        for pthread, block in blocks.items()
        if block
    }
    known = set(tids)
    for offset in range(min((len(row) for row in words.values()), default=0)):
        ids = {pthread: row[offset] for pthread, row in words.items()}
        if known.issuperset(ids.values()) and len(set(ids.values())) == len(ids):
            return ids
    return {}
