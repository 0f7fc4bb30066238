"""Stacks of services that hang, compute, hide and mislead, folded from evidence as the collectors bring it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cases import Details, Situation, Stay, ThreadSpec, bundle
from doctor.model.bundle import Bundle, Cost, Skipped
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks
from doctor.model.stack_report import StackReport
from doctor.stack_groups import stack_report, with_source

SOURCE = {"shop.py": 'answer = requests.get(f"{INVENTORY}/{order}")', "tax.py": "total += round(item.price * rate, 2)"}

REQUEST = (
    "socket.py:718 readinto",
    "http/client.py:286 _read_status",
    "http/client.py:1428 getresponse",
    "shop.py:31 call_inventory",
    "shop.py:40 check_out",
    "site-packages/flask/app.py:880 dispatch_request",
    "site-packages/werkzeug/serving.py:370 run_wsgi",
    "concurrent/futures/thread.py:59 run",
    "concurrent/futures/thread.py:93 _worker",
    "started",
)
IDLE = ("concurrent/futures/thread.py:90 _worker", "started")
MAIN = ThreadSpec(
    name="MainThread",
    does=(Stay("accept", 10, Details(resource="tcp-listen 0.0.0.0:8000")),),
    stack=(
        "socket.py:295 accept",
        "site-packages/gunicorn/workers/sync.py:68 run",
        "site-packages/gunicorn/app/base.py:71 run",
    ),
)
PEER = Details(peer="10.0.0.5:8080")


def hanging() -> StackReport:
    """One look at two processes: seven threads hang on a peer, one computes, one holds up another, most are idle."""
    worker = (
        ThreadSpec(
            name="ThreadPoolExecutor-0_#",
            count=12,
            does=(Stay("lock", 10),),
            stack=IDLE,
        ),
        ThreadSpec(name="tax", does=(Stay("running", 10),), stack=("tax.py:7 round_all", "tax.py:30 main", "started")),
        ThreadSpec(name="grpc_global_tim", count=2, does=(Stay("lock", 10),)),
        ThreadSpec(
            name="upload",
            does=(Stay("write", 10, Details(resource="file /srv/spool/orders.csv", syscall="write")),),
            stack=(
                "site-packages/pandas/io/csv.py:270 save",
                "export.py:9 spool",
                "concurrent/futures/thread.py:59 run",
                "started",
            ),
        ),
        MAIN,
    )
    hung = ThreadSpec(name="checkout-#", count=7, does=(Stay("read", 10, PEER),), stack=REQUEST)
    return report(one_look(Situation(window=0.25, threads=worker), Situation(window=0.25, threads=(hung, MAIN))))


def contended() -> StackReport:
    """Ten seconds of three threads that fight for the interpreter lock, in two lines, and of one with nothing to do."""
    shares = (Stay("running", 0.5), Stay("gil", 1.0), Stay("running", 0.25, Details(stack=("tax.py:9 round_all",))))
    busy = ThreadSpec(name="tax-#", count=3, does=shares, stack=("tax.py:7 round_all", "tax.py:30 main", "started"))
    idle = ThreadSpec(name="worker", does=(Stay("lock", 10),), stack=IDLE)
    return report(bundle(Situation(threads=(busy, idle), stacks_per_s=20)))


def denied() -> StackReport:
    """No right to read memory: states and names are all there is."""
    reason, remedy = "ptrace access is denied (Yama scope 1)", "run as root: sudo doctor stacks 100"
    skips = [Skipped(collector=name, reason=reason, remedy=remedy, pids=(100,)) for name in ("stacks", "threads")]
    threads = (
        ThreadSpec(name="gunicorn", count=5, does=(Stay("lock", 10),), stack=IDLE),
        ThreadSpec(name="gunicorn", does=(Stay("running", 10),), stack=("tax.py:7 round_all",)),
    )
    return report(
        one_look(Situation(window=0.25, threads=threads, missing=("stacks",), unreadable=("syscalls",)), skips=skips)
    )


def hostile() -> StackReport:
    """Names that steer terminals and break formats, a deep recursion, and more stacks than anybody reads."""
    evil = "\x1b[31mred\x1b[0m;a;b 7\r\nnext\udcff\u202e"
    frames = [Frame(f"/srv/{evil}.py", 1, evil), Frame("/srv/deep.py", 7, "descend")]
    frames += [Frame(f"/srv/{'x' * 90}/lib{number}.py", number, f"call_{number}") for number in range(30)]
    stacks = [(0, *[1] * 100), tuple(range(2, 32)), *((number,) for number in range(2, 32))]
    threads = [
        ThreadStacks(
            tid=None, name=evil if number < 2 else "", runs=(StackRun(0.0, 0.0, 1, number, True, number == 0),)
        )
        for number in range(len(stacks))
    ]
    seen = Stacks(
        pid=100,
        sampler=evil,
        samples=1,
        errors=3,
        frames=tuple(frames),
        stacks=tuple(stacks),
        threads=tuple(threads),
    )
    empty = one_look(Situation(window=0.25, missing=("stacks", "threads")))
    return report(msgspec.structs.replace(empty, evidence=(seen,)))


def one_look(*situations: Situation, skips: Sequence[Skipped] = ()) -> Bundle:
    """What `doctor stacks` gathers without --duration."""
    seen = bundle(*situations, skipped=skips)
    return msgspec.structs.replace(seen, window=msgspec.structs.replace(seen.window, duration_s=0.0))


def report(seen: Bundle) -> StackReport:
    """The report as some fixed version of doctor makes it, with source lines."""
    spent = Cost(doctor_cpu_s=0.21, bytes_read=470_000)
    folded = stack_report(msgspec.structs.replace(seen, cost=spent))
    told = with_source(folded, lambda _pid, file, _line: SOURCE.get(file.removeprefix("/srv/")))
    return msgspec.structs.replace(told, doctor_version="1.0.0")


SAMPLES = {builder.__name__: builder() for builder in (hanging, contended, denied, hostile)}
