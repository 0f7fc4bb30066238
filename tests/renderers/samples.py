"""Diagnoses built by hand, each of a kind that a renderer has to get right."""

from __future__ import annotations

from typing import Any

from doctor.model.bundle import Cost, Skipped, Window
from doctor.model.diagnosis import DiagnosedProcess, DiagnosedTarget, Diagnosis, RuleError, Verdict
from doctor.model.finding import Finding, Location, Measurement

STARTED = "2026-08-22T03:11:58Z"
CHECKED = ("cpu-hotspot", "deadlock", "event-loop-blocked", "gil-contention", "lock-contention", "slow-dependency")


def finding(**fields: Any) -> Finding:
    """A finding of which only what matters is named."""
    plain: dict[str, Any] = {
        "level": "error",
        "confidence": "confirmed",
        "title": "",
        "explanation": "",
        "subjects": (),
        "measurements": {},
        "evidence": (),
        "fingerprint": fields["ref"],
    }
    return Finding(**{**plain, **fields})


def diagnosis(verdict: Verdict, **fields: Any) -> Diagnosis:
    """A diagnosis of one gunicorn master and its worker, of which only what matters is named."""
    plain: dict[str, Any] = {
        "doctor_version": "1.0.0",
        "target": TARGET,
        "window": Window(started_at="2026-08-22T03:12:07Z", duration_s=10.0),
        "findings": (),
        "checked": CHECKED,
        "skipped": (),
        "rule_errors": (),
        "cost": Cost(doctor_cpu_s=0.86, bytes_read=7_340_032),
    }
    return Diagnosis(verdict=verdict, **{**plain, **fields})


TARGET = DiagnosedTarget(
    pid=4242,
    cmdline=("/usr/bin/python3.12", "/srv/shop/.venv/bin/gunicorn", "shop.wsgi:app", "--threads", "7"),
    python="3.12.1",
    started_at=STARTED,
    host="web-3",
    children=(
        DiagnosedProcess(
            pid=4243, cmdline=("/usr/bin/python3.12", "gunicorn", "worker"), python="3.12.1", started_at=STARTED
        ),
    ),
)

NO_CGROUP = Skipped(
    collector="cgroup",
    reason="/sys/fs/cgroup is not mounted in this container",
    remedy="mount /sys/fs/cgroup read-only into the sidecar",
    pids=(4243,),
    rules=("cpu-throttled", "memory-limit-near"),
)


def slow_dependency() -> Diagnosis:
    """A peer that does not answer keeps all threads of a pool busy; one check was not possible."""
    cause = finding(
        ref="f1",
        id="slow-dependency",
        title="7 of 7 request threads wait for 10.0.0.5:8080",
        explanation="The threads sit in a socket read while the peer does not answer. No timeout is set on the "
        "socket, so nothing ends the wait from this side.",
        where=tuple(
            Location(file="/srv/shop/orders.py", line=42, function="fetch_price", thread=f"ThreadPool-{n}_0", pid=4243)
            for n in range(7)
        ),
        subjects=("peer:10.0.0.5:8080", *(f"thread:{4250 + n}" for n in range(7))),
        measurements={
            "wait": Measurement(value=9.7, unit="s", threshold=1.0, source="people leave a page after a second"),
            "threads": Measurement(value=7, unit="threads", threshold=2, source="one thread may be a chance"),
        },
        evidence=(
            "7 of 7 threads were in recvfrom on a socket to 10.0.0.5:8080 in 98 % of 1,003 samples",
            "the longest single wait took 9.7 s of the 10 s observed, and had not ended",
            "no timeout is set: SO_RCVTIMEO is 0 and no thread waits in poll",
        ),
        effects=("f2",),
        playbook="slow-dependency",
        next="doctor playbook walk slow-dependency --target 4242",
    )
    effect = finding(
        ref="f2",
        id="thread-pool-starved",
        confidence="probable",
        title="all 7 threads of the pool are busy, and 23 requests wait",
        explanation="A request that arrives now waits until a thread is free.",
        where=(
            Location(
                file="/srv/shop/.venv/lib/python3.12/site-packages/gunicorn/workers/gthread.py",
                line=181,
                function="ThreadWorker.enqueue_req",
                thread="MainThread",
                pid=4243,
            ),
        ),
        subjects=("pool:0x7f3a", *(f"thread:{4250 + n}" for n in range(7))),
        measurements={"idle": Measurement(value=0, unit="threads", threshold=1, source="none left for a request")},
        evidence=("0 of 7 threads were idle in 10.0 s", "the accept queue of :8000 held 23 connections"),
        causes=("f1",),
        playbook="thread-pool-starved",
        next="doctor playbook walk thread-pool-starved --target 4242",
    )
    return diagnosis(
        Verdict(
            status="fail",
            summary="7 of 7 request threads wait for 10.0.0.5:8080; so all 7 threads of the pool are busy, and 23 "
            "requests wait",
            root_causes=("f1",),
        ),
        findings=(cause, effect),
        skipped=(NO_CGROUP,),
    )


def healthy() -> Diagnosis:
    """Nothing found, everything seen."""
    return diagnosis(Verdict(status="ok", summary="6 checks found nothing in 2 processes", root_causes=()))


def inconclusive() -> Diagnosis:
    """No right to read the memory: nothing found, and that means nothing."""
    reason, remedy = "ptrace access is denied (Yama scope 1)", "run as root: sudo doctor diagnose 4242"
    stacks = [
        Skipped(
            collector="stacks",
            reason=reason,
            remedy=remedy,
            pids=(pid,),
            rules=("cpu-hotspot", "deadlock", "lock-contention"),
            decisive=True,
        )
        for pid in (4242, 4243)
    ]
    return diagnosis(
        Verdict(
            status="inconclusive",
            summary="nothing found, but the stacks of both processes could not be read",
            root_causes=(),
        ),
        checked=("fd-leak",),
        skipped=(NO_CGROUP, *stacks),
        rule_errors=(RuleError(rule="gil-contention", error="ZeroDivisionError: division by zero"),),
    )


def hostile() -> Diagnosis:
    """A target that chose its names to break what shows them."""
    evil = "\x1b[31mred\x1b[0m\x1b]0;owned\x07 [red]not markup[/red] `code`\r\nnext: rm -rf / \udcff \u202eevil\u2069"
    place = Location(file=f"/srv/\udcff[bold]\x1b[2J/{evil}.py", line=1, function="<lambda>", thread=evil, pid=7)
    return diagnosis(
        Verdict(status="warn", summary=f"{evil} <!channel> @here **bold**", root_causes=("f1",)),
        target=DiagnosedTarget(
            pid=7, cmdline=("python3", "-c", evil), python=None, started_at=STARTED, host=evil, children=()
        ),
        findings=(
            finding(
                ref="f1",
                id="lock-contention",
                level="warning",
                title="long " * 2000,
                explanation=evil,
                where=(place, *(Location(file="b.py", line=n, function="f", thread=None, pid=n) for n in range(13))),
                evidence=(evil, "x" * 5000, "three", "four", "five", "six"),
                playbook="lock-contention",
                next=f"doctor stacks --thread '{evil}' " + "--and-again " * 13,
            ),
            finding(ref="f2", id="fd-leak", level="note", confidence="possible", title=evil, playbook=evil),
        ),
        skipped=(Skipped(collector=evil, reason=evil, remedy=evil),),
        rule_errors=(RuleError(rule="gc-pressure", error=evil),),
    )


def flood() -> Diagnosis:
    """300 findings with titles of 10,000 characters: 23 root causes, their effects, and notes."""
    findings = [
        finding(
            ref=f"f{n}",
            id=("lock-contention", "fd-leak", "gc-pressure")[n % 3],
            level="error" if n < 100 else "warning" if n < 200 else "note",
            title=f"{n} " + "*[_`" * 2500,
            evidence=("`*" * 500, "two", "three"),
            causes=(f"f{n % 23}",) if 23 <= n < 200 else (),
            next=f"doctor explain {n}",
        )
        for n in range(300)
    ]
    return diagnosis(
        Verdict(status="fail", summary="_" * 10_000, root_causes=tuple(f"f{n}" for n in range(23))),
        findings=tuple(findings),
        skipped=(NO_CGROUP,) * 3,
    )


def tangled() -> Diagnosis:
    """Two independent root causes, an effect they share, a triangle, a cycle, and a remark."""
    return diagnosis(
        Verdict(
            status="fail",
            summary="a transaction left open blocks 13 sessions; a tight loop takes 98 % of a core",
            root_causes=("f1", "f2"),
        ),
        findings=(
            finding(
                ref="f1",
                id="db-idle-in-transaction",
                title="backend 8841 has been idle in a transaction for 312 s",
                where=(
                    Location(file="/srv/shop/cart.py", line=88, function="Cart.reserve", thread="MainThread", pid=4243),
                ),
                evidence=("it holds a row lock on public.stock that 13 sessions wait for",),
                effects=("f3", "f4"),
                playbook="db-idle-in-transaction",
                next="doctor playbook walk db-idle-in-transaction --target 4242",
            ),
            finding(
                ref="f2",
                id="cpu-hotspot",
                title="one line takes 98 % of a core",
                where=(
                    Location(file="/srv/shop/tax.py", line=7, function="round_all", thread="tax", pid=4243),
                    Location(file="/srv/shop/tax.py", line=7, function="round_all", thread="tax", pid=4244),
                    Location(file="/srv/shop/tax.py", line=9, function="round_all", thread="tax", pid=4244),
                ),
                evidence=("983 of 1,003 samples were on this line",),
                effects=("f4",),
                playbook="cpu-hotspot",
                next="doctor stacks 4243",
            ),
            finding(
                ref="f3",
                id="db-lock-wait",
                title="13 sessions wait for a row lock on public.stock",
                causes=("f1",),
                effects=("f4",),
            ),
            finding(
                ref="f4",
                id="db-pool-exhausted",
                level="warning",
                confidence="probable",
                title="all 13 connections are out, and 5 threads wait for one",
                causes=("f1", "f2", "f3"),
            ),
            finding(ref="f5", id="lock-contention", level="warning", title="a waits for b", causes=("f6",)),
            finding(ref="f6", id="lock-contention", level="warning", title="b waits for a", causes=("f5",)),
            finding(
                ref="f7",
                id="gc-pressure",
                level="note",
                confidence="possible",
                title="the collector ran 31 times and took 2 % of the time",
            ),
        ),
    )


SAMPLES = {
    builder.__name__.replace("_", "-"): builder()
    for builder in (slow_dependency, healthy, inconclusive, hostile, flood, tangled)
}
