"""The process collector tells what a process holds, and how that changes."""

from __future__ import annotations

import resource

from collectors.looking import look
from doctor.collectors.process import ProcessCollector
from doctor.model.evidence.process import Process
from services import service


def test_it_counts_descriptors_by_kind_and_by_what_they_lead_to() -> None:
    """Descriptors that lead to one file are one group, and its growth is seen."""
    with service("fd_leak", "sick") as leaking:
        evidence = look(ProcessCollector(), leaking.pid, Process)
        path = leaking.facts["path"]
    (group,) = [group for group in evidence.fd_groups if group.target == path]
    assert group.kind == "file"
    assert 23 <= group.first < group.last
    assert evidence.samples[0].fds is not None
    assert evidence.samples[0].fds["file"] >= group.first


def test_it_counts_connections_that_the_peer_has_closed() -> None:
    """CLOSE_WAIT is counted by peer."""
    with service("socket_leak", "sick") as leaking:
        evidence = look(ProcessCollector(), leaking.pid, Process)
        peer = f"127.0.0.1:{leaking.facts['peer_port']}"
    assert evidence.samples[0].close_wait is not None
    assert evidence.samples[0].close_wait[peer] >= 23


def test_it_names_zombies() -> None:
    """Exactly the children that were not waited for are named, in every look at them."""
    with service("zombie_children", "sick") as parent:
        evidence = look(ProcessCollector(), parent.pid, Process)
        children = tuple(sorted(parent.facts["children"]))
    looks = [sample.zombies for sample in evidence.samples if sample.zombies is not None]
    assert len(looks) > 1
    assert set(looks) == {children}


def test_it_splits_memory_and_knows_the_limits() -> None:
    """Resident memory is split as the kernel does, at both ends; limits are those the process inherited."""
    with service("memory_limit", "sick", "61") as holder:
        evidence = look(ProcessCollector(), holder.pid, Process)
    first, last = evidence.memory
    assert first.anonymous > 61 << 20
    assert last.rss >= last.pss >= last.anonymous
    assert evidence.limits is not None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert evidence.limits.open_files == (None if soft == resource.RLIM_INFINITY else soft)


def test_it_measures_cpu() -> None:
    """A program that burns one core uses about one, and an idle one next to none."""
    with service("cpu_hotspot", "sick") as busy, service("idle_executor") as idle:
        busy_cores = look(ProcessCollector(), busy.pid, Process).cpu_cores
        idle_cores = look(ProcessCollector(), idle.pid, Process).cpu_cores
    assert 0.3 < busy_cores < 1.2
    assert idle_cores < 0.1
