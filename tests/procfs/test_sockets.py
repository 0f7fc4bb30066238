"""Sockets by inode, on real ones of this process and of another network namespace."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from circumstances import eventually, needs_unshare
from doctor.procfs.handle import ProcDir
from doctor.procfs.sockets import Socket, SocketTable

TCP = [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]


def find(one: socket.socket) -> Socket:
    """A socket of this process as the table has it now."""
    proc = ProcDir(os.getpid())
    try:
        found = SocketTable(proc).get(os.fstat(one.fileno()).st_ino)
    finally:
        proc.close()
    assert found is not None
    return found


@contextmanager
def connected(host: str, family: int, *, through: str | None = None) -> Iterator[list[socket.socket]]:
    """A listening socket, a client's socket and the accepted one; the client may come through another address."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        if through:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind((host, 0))
        except OSError as error:
            pytest.skip(f"no such address here: {error}")
        listener.listen(127)
        client = stack.enter_context(socket.create_connection((through or host, listener.getsockname()[1])))
        accepted = stack.enter_context(listener.accept()[0])
        yield [listener, client, accepted]


def name(one: socket.socket) -> str:
    """host:port, as doctor writes it."""
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@pytest.mark.parametrize(("host", "family"), TCP)
def test_both_ends_of_a_connection(host: str, family: int) -> None:
    """Each end knows the other as its peer, and only the accepted one is inbound."""
    with connected(host, family) as (listener, client, accepted):
        assert find(client) == Socket("tcp", name(client), name(listener), "ESTABLISHED", 0, inbound=False)
        assert find(accepted) == Socket("tcp", name(listener), name(client), "ESTABLISHED", 0, inbound=True)
        assert find(listener).state == "LISTEN"
        assert not find(listener).inbound


def test_ipv4_on_an_ipv6_socket_is_ipv4() -> None:
    """A client that reaches an IPv6 server over IPv4 is shown with its IPv4 address, at both ends."""
    with connected("::", socket.AF_INET6, through="127.0.0.1") as (listener, client, accepted):
        port = listener.getsockname()[1]
        assert find(listener).local == f"[::]:{port}"
        assert find(client).peer == f"127.0.0.1:{port}"
        assert find(accepted) == Socket("tcp", f"127.0.0.1:{port}", name(client), "ESTABLISHED", 0, inbound=True)


def test_unread_bytes_are_counted() -> None:
    """What was received and nobody has read is counted, by the byte."""
    with connected(*TCP[0]) as (_, client, accepted):
        client.sendall(b"x" * 211)
        assert find(accepted).unread == 211
        assert find(client).unread == 0


def test_connections_nobody_accepts_are_counted() -> None:
    """Of a listening socket the backlog is what waits in it."""
    with socket.create_server(("127.0.0.1", 0), backlog=127) as listener, ExitStack() as clients:
        assert find(listener).unread == 0
        for _ in range(7):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        assert find(listener).unread == 7


def test_a_peer_that_has_closed_leaves_close_wait() -> None:
    """A connection the other side has closed and this one has not is in CLOSE_WAIT."""
    with connected(*TCP[0]) as (_, client, accepted):
        client.close()
        assert find(accepted).state == "CLOSE_WAIT"


def test_a_connection_outlives_its_listener() -> None:
    """Without a listener there is no telling who opened a connection, and it counts as opened from here."""
    with connected(*TCP[0]) as (listener, _, accepted):
        listener.close()
        assert not find(accepted).inbound


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("plain.sock", "plain.sock"),
        ("with space.sock", "with space.sock"),
        ("two\nlines", "two"),
        ("vertical\x0btab\x85", "vertical\x0btab\x85"),
    ],
)
def test_unix_sockets_have_their_path(path: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket is known by its path; an odd one does not hide the sockets that come after it."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as odd, socket.socket(socket.AF_UNIX) as plain:
        odd.bind(path)
        plain.bind("other.sock")
        assert find(odd) == Socket("unix", shown, "", "", 0, inbound=False)
        assert find(plain).local == "other.sock"


def test_unix_sockets_without_a_file() -> None:
    """An abstract Unix socket is known by its name and a pair has none."""
    here, there = socket.socketpair()
    with here, there, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0doctor-{os.getpid()}")
        assert find(abstract).local == f"@doctor-{os.getpid()}"
        assert find(here).local == ""


@pytest.mark.parametrize(("host", "family"), TCP)
def test_datagram_sockets(host: str, family: int) -> None:
    """A UDP socket is in the table with its own address, and is nobody's connection."""
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((host, 0))
        found = find(datagrams)
        assert (found.family, found.local, found.inbound) == ("udp", name(datagrams), False)


def test_what_is_no_socket_is_not_found() -> None:
    """An inode that no socket has gives nothing, and neither does that of a closed connection."""
    proc = ProcDir(os.getpid())
    assert SocketTable(proc).get(0) is None
    assert SocketTable(proc).get(1 << 40) is None
    proc.close()


@needs_unshare
def test_another_network_namespace_is_looked_into() -> None:
    """The table is that of the process's network namespace, not of doctor's."""
    code = "import socket; s = socket.create_server(('', 211)); print(s.fileno(), flush=True); input()"
    command = ["unshare", "--net", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as apart:
        assert apart.stdout is not None
        fd = apart.stdout.readline().strip()
        proc = ProcDir(apart.pid)
        inode = int(proc.readlink(f"fd/{fd}")[len("socket:[") : -1])
        found = eventually(lambda: SocketTable(proc).get(inode), lambda seen: seen)
        assert found is not None
        assert (found.local, found.state) == ("0.0.0.0:211", "LISTEN")
        proc.close()
        apart.kill()
