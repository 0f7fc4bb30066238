"""The TCP and Unix sockets of a process's network namespace, by inode."""

from __future__ import annotations

import ipaddress
import re
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from doctor.procfs.handle import ProcDir

LISTEN = "LISTEN"
CLOSE_WAIT = "CLOSE_WAIT"
_STATES = {
    "01": "ESTABLISHED", "02": "SYN_SENT", "03": "SYN_RECV", "04": "FIN_WAIT1", "05": "FIN_WAIT2", "06": "TIME_WAIT",
    "07": "CLOSE", "08": CLOSE_WAIT, "09": "LAST_ACK", "0A": LISTEN, "0B": "CLOSING",
}  # fmt: skip
_SHARE = 0.04
"""The part of a core that reading a table again may take."""
_UNIX = re.compile(r"[0-9a-f]+: (?:[0-9A-F]+ ){5} *(\d+)(?: (.*))?")
"""The kernel does not escape the path: after a newline in it comes a line that is no row."""


class Socket(NamedTuple):
    """One socket; a Unix socket has its path as `local` and no peer."""

    family: str
    """tcp, udp or unix."""
    local: str
    peer: str
    state: str
    unread: int
    """Bytes received and not read; of a listening socket, connections not accepted."""
    inbound: bool
    """Accepted from a listening port of this namespace."""


class SocketTable:
    """The sockets of one network namespace at one moment.

    Rows are read when they are asked for: a busy host has thousands, most of them in TIME_WAIT and nobody's.
    """

    def __init__(self, proc: ProcDir) -> None:
        self._inet: dict[int, tuple[str, list[str]]] = {}
        for family in ("tcp", "udp"):
            for name in (family, f"{family}6"):
                rows = (line.split(maxsplit=10) for line in _lines(proc, f"net/{name}"))
                self._inet |= {int(row[9]): (family, row) for row in rows if row[9] != "0"}
        self._ports = {_port(row[1]) for family, row in self._inet.values() if family == "tcp" and row[3] == "0A"}
        self._unix = dict(_unix_sockets(proc))

    def get(self, inode: int) -> Socket | None:
        """The socket with this inode, if the table has it."""
        if inode not in self._inet:
            return self._unix.get(inode)
        family, row = self._inet[inode]
        state = _STATES.get(row[3], row[3])
        return Socket(
            family=family,
            local=_address(row[1]),
            peer=_address(row[2]),
            state=state,
            unread=int(row[4].partition(":")[2], 16),
            inbound=family == "tcp" and state != LISTEN and _port(row[1]) in self._ports,
        )


class SocketTables:
    """The tables of several namespaces: the processes of one share what was read for the first of them.

    The kernel takes some 10 ms to print one, and more on a large or busy host.
    """

    def __init__(self) -> None:
        self._tables: dict[str, _Kept] = {}

    def forget(self) -> None:
        """What is asked for next is read anew."""
        self._tables.clear()

    def find(self, proc: ProcDir, inode: int) -> Socket | None:
        """A socket of the process's namespace; for one that is younger than the table it may be read again."""
        namespace = proc.readlink("ns/net")
        kept = self._tables.get(namespace)
        socket = kept.table.get(inode) if kept else None
        if socket is None and (kept is None or time.monotonic() >= kept.due_at):
            kept = self._tables[namespace] = _read(proc)
            socket = kept.table.get(inode)
        return socket


class _Kept(NamedTuple):
    table: SocketTable
    due_at: float
    """Not to be read again before."""


def _read(proc: ProcDir) -> _Kept:
    began_cpu_s = time.thread_time()
    table = SocketTable(proc)
    return _Kept(table, due_at=time.monotonic() + (time.thread_time() - began_cpu_s) / _SHARE)


def _unix_sockets(proc: ProcDir) -> Iterator[tuple[int, Socket]]:
    for line in _lines(proc, "net/unix"):
        match = _UNIX.fullmatch(line)
        if match:
            yield int(match[1]), Socket("unix", match[2] or "", "", "", 0, inbound=False)


def _lines(proc: ProcDir, name: str) -> list[str]:
    try:
        return proc.read(name).decode(errors="replace").split("\n")[1:-1]
    except FileNotFoundError:  # a kernel without this protocol
        return []


def _port(text: str) -> int:
    return int(text.partition(":")[2], 16)


def _address(text: str) -> str:
    """The kernel prints an address as the 32-bit words it holds in memory, in the machine's own byte order."""
    host = text.partition(":")[0]
    words = [int(host[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(host), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return join(str(mapped or address), _port(text))


def join(host: str, port: int) -> str:
    """host:port, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
