"""Open descriptors: what kind each is, and what it leads to."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from circumstances import eventually
from doctor.procfs.descriptors import Descriptor, Descriptors
from doctor.procfs.handle import ProcDir


@pytest.fixture
def own() -> Iterator[Descriptors]:
    """The descriptors of this process."""
    proc = ProcDir(os.getpid())
    yield Descriptors(proc)
    proc.close()


def test_files_pipes_and_the_kernel_s_own(own: Descriptors, tmp_path: Path) -> None:
    """Each kind has a name of its own; a file that was deleted is still a file."""
    end, other_end = os.pipe()
    with (
        tempfile.TemporaryFile(dir=tmp_path) as deleted,
        (tmp_path / "plain").open("w") as plain,
        Path(os.devnull).open() as device,
        select.epoll() as queue,
    ):
        memory = os.memfd_create("ledger")
        seen = own.all()
        assert seen[plain.fileno()] == Descriptor("file", f"{tmp_path}/plain")
        assert seen[deleted.fileno()].kind == "file"
        assert seen[deleted.fileno()].target.endswith(" (deleted)")
        assert seen[device.fileno()] == Descriptor("dev", "/dev/null")
        assert seen[queue.fileno()] == Descriptor("eventpoll", "eventpoll")
        assert seen[end] == seen[other_end] == Descriptor("pipe", "pipe")
        assert seen[memory].kind == "memfd"
    for fd in (end, other_end, memory):
        os.close(fd)


def test_sockets_lead_to_their_peer(own: Descriptors) -> None:
    """Listening, opened from here, and accepted are three kinds; a connection leads to its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        here, there = socket.socketpair()
        with client, accepted, here, there:
            seen = own.all()
            kinds = {fd.fileno(): seen[fd.fileno()] for fd in (listener, client, accepted, here)}
            assert [(one.kind, one.target) for one in kinds.values()] == [
                ("tcp-listen", address),
                ("tcp", address),
                ("tcp-inbound", f"127.0.0.1:{client.getsockname()[1]}"),
                ("unix", "unix socket"),
            ]
            assert all(one.socket for one in kinds.values())


def test_an_unknown_kind_of_socket_is_a_socket(own: Descriptors) -> None:
    """A socket that is in no table doctor reads is not taken for another kind."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
        assert own.all()[netlink.fileno()] == Descriptor("socket", "socket")


def test_one_descriptor_can_be_asked_for(own: Descriptors) -> None:
    """A descriptor that is closed is None, and a socket younger than the last look is found before long."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        assert own.get(first.fileno()) == own.all()[first.fileno()]
        with socket.create_server(("127.0.0.1", 0)) as second:
            fd = second.fileno()
            eventually(lambda: own.get(fd), lambda seen: seen and seen.kind == "tcp-listen")
        assert own.get(fd) is None


def test_all_is_as_of_now(own: Descriptors) -> None:
    """A socket opened between two looks is known at the second."""
    own.all()
    with socket.create_server(("127.0.0.1", 0)) as late:
        assert own.all()[late.fileno()].kind == "tcp-listen"


def test_another_process_s_descriptors() -> None:
    """What another process has open is seen, and after its end there is nothing."""
    command = [sys.executable, "-c", "input()"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        heir = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[fd])
    proc = ProcDir(heir.pid)
    descriptors = Descriptors(proc)
    assert descriptors.all()[fd].kind == "tcp-listen"
    heir.communicate()
    assert descriptors.get(fd) is None
    proc.close()
