"""Open file descriptors of a process: what kind each is, and what it leads to."""

from __future__ import annotations

import re
from typing import NamedTuple

from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.sockets import LISTEN, Socket, SocketTables

_SOCKET = re.compile(r"socket:\[(\d+)\]")
_ANONYMOUS = re.compile(r"anon_inode:\[?([\w-]+)")


class Descriptor(NamedTuple):
    """One descriptor. `target` is a path, a peer, or the kernel's name of the object."""

    kind: str
    target: str
    socket: Socket | None = None


class Descriptors:
    """The descriptors of one process. Several processes may share their socket tables."""

    def __init__(self, proc: ProcDir, tables: SocketTables | None = None) -> None:
        self._proc = proc
        self._own_tables = tables is None
        self._tables = tables or SocketTables()

    def all(self) -> dict[int, Descriptor]:
        """Every open descriptor, with sockets as they are now, or were when the shared tables were last forgotten.

        Raises:
            PermissionError: needs ptrace rights.
        """
        if self._own_tables:
            self._tables.forget()
        found = {}
        for name in self._proc.names("fd"):
            descriptor = self.get(int(name))
            if descriptor:
                found[int(name)] = descriptor
        return found

    def get(self, fd: int) -> Descriptor | None:
        """What one descriptor leads to; None when it was closed."""
        try:
            link = self._proc.readlink(f"fd/{fd}")
        except GONE:
            return None
        match = _SOCKET.fullmatch(link)
        return self._socket(int(match[1])) if match else _plain(link)

    def _socket(self, inode: int) -> Descriptor:
        socket = self._tables.find(self._proc, inode)
        if socket is None:
            return Descriptor("socket", "socket")
        if socket.family != "tcp":
            return Descriptor(socket.family, socket.local or f"{socket.family} socket", socket)
        if socket.state == LISTEN:
            return Descriptor("tcp-listen", socket.local, socket)
        return Descriptor("tcp-inbound" if socket.inbound else "tcp", socket.peer, socket)


def _plain(link: str) -> Descriptor:
    if link.startswith(("/dev/", "/memfd:")):
        return Descriptor(link[1:].replace(":", "/").split("/")[0], link)
    if link.startswith("/"):
        return Descriptor("file", link)
    anonymous = _ANONYMOUS.match(link)
    kind = anonymous[1] if anonymous else link.partition(":")[0]
    return Descriptor(kind, kind)
