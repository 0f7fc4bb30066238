"""The TCP and Unix sockets of a process's network namespace, by inode."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from typing import NamedTuple

from doctor.procfs.handle import ProcDir

LISTEN = "LISTEN"
CLOSE_WAIT = "CLOSE_WAIT"
_STATES = {
    "01": "ESTABLISHED", "02": "SYN_SENT", "03": "SYN_RECV", "04": "FIN_WAIT1", "05": "FIN_WAIT2", "06": "TIME_WAIT",
    "07": "CLOSE", "08": CLOSE_WAIT, "09": "LAST_ACK", "0A": LISTEN, "0B": "CLOSING",
}  # fmt: skip


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
    """The sockets of one network namespace at one moment."""

    def __init__(self, proc: ProcDir) -> None:
        rows = [row for name in ("tcp", "tcp6") for row in _inet_rows(proc, name)]
        ports = {row.local_port for row in rows if row.state == LISTEN}
        self._sockets = {row.inode: row.socket("tcp", inbound=row.local_port in ports) for row in rows}
        for name in ("udp", "udp6"):
            self._sockets |= {row.inode: row.socket("udp", inbound=False) for row in _inet_rows(proc, name)}
        self._sockets |= dict(_unix_sockets(proc))

    def get(self, inode: int) -> Socket | None:
        """The socket with this inode, if the table has it."""
        return self._sockets.get(inode)


class _InetRow(NamedTuple):
    inode: int
    local: str
    local_port: int
    peer: str
    state: str
    unread: int

    def socket(self, family: str, *, inbound: bool) -> Socket:
        return Socket(family, self.local, self.peer, self.state, self.unread, inbound and self.state != LISTEN)


def _inet_rows(proc: ProcDir, name: str) -> Iterator[_InetRow]:
    for line in _lines(proc, f"net/{name}"):
        fields = line.split()
        local, port = _address(fields[1])
        peer, peer_port = _address(fields[2])
        yield _InetRow(
            inode=int(fields[9]),
            local=join(local, port),
            local_port=port,
            peer=join(peer, peer_port),
            state=_STATES.get(fields[3], fields[3]),
            unread=int(fields[4].partition(":")[2], 16),
        )


def _unix_sockets(proc: ProcDir) -> Iterator[tuple[int, Socket]]:
    for line in _lines(proc, "net/unix"):
        fields = line.split(maxsplit=7)
        yield int(fields[6]), Socket("unix", fields[7] if len(fields) > 7 else "", "", "", 0, inbound=False)


def _lines(proc: ProcDir, name: str) -> list[str]:
    try:
        return proc.read(name).decode(errors="replace").splitlines()[1:]
    except FileNotFoundError:  # a kernel without this protocol
        return []


def _address(text: str) -> tuple[str, int]:
    """The kernel prints an address as the 32-bit words it holds in memory, in the machine's own byte order."""
    host, _, port = text.partition(":")
    words = [int(host[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(host), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), int(port, 16)


def join(host: str, port: int) -> str:
    """host:port, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
