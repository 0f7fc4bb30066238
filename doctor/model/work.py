"""What a thread does in terms of work: serving a request, waiting for the next one, or stuck in the middle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from doctor.model.evidence.stacks import Frame
from doctor.model.evidence.threads import Run, Wait
from doctor.model.view import ProcessView, ThreadView

_WAITS_FOR_WORK = (
    ("/queue.py", "get"),
    ("concurrent/futures/thread.py", "_worker"),
    ("multiprocessing/queues.py", "get"),
    ("multiprocessing/connection.py", "wait"),
    ("/selectors.py", "select"),
    ("/socket.py", "accept"),
    ("socketserver.py", "serve_forever"),
    ("anyio/_backends/_asyncio.py", "run"),
    ("waitress/task.py", "handler_thread"),
    ("cheroot/workers/threadpool.py", "run"),
)
"""Library calls in which a worker has nothing to do; innermost frame outside `threading.py`."""

_REQUEST = (
    ("gunicorn/workers/sync.py", "handle_request"),
    ("gunicorn/workers/gthread.py", "handle_request"),
    ("gunicorn/workers/base_async.py", "handle_request"),
    ("wsgiref/handlers.py", "run"),
    ("werkzeug/serving.py", "run_wsgi"),
    ("waitress/task.py", "service"),
    ("cheroot/server.py", "communicate"),
    ("socketserver.py", "finish_request"),
    ("http/server.py", "handle_one_request"),
    ("anyio/_backends/_asyncio.py", "run"),
    ("celery/app/trace.py", "trace_task"),
    ("rq/worker.py", "perform_job"),
    ("dramatiq/worker.py", "process_message"),
    ("grpc/_server.py", "_call_behavior"),
    ("uvicorn/protocols/http/h11_impl.py", "run_asgi"),
    ("uvicorn/protocols/http/httptools_impl.py", "run_asgi"),
    ("hypercorn/asyncio/run.py", "run_app"),
    ("django/core/handlers/base.py", "get_response", "get_response_async"),
    ("aiohttp/web_protocol.py", "_handle_request"),
    ("tornado/web.py", "_execute"),
    ("asyncio/events.py", "_run"),
)
"""Where servers and task queues hand work to the application: above it somebody waits for the result."""

_WORK = (*_REQUEST, ("concurrent/futures/thread.py", "run"))
"""The same with executors, whose work may also be a loop that lasts as long as the program."""

_CONSUMES = {
    "blpop", "brpop", "brpoplpush", "blmove", "xread", "xreadgroup", "get_message", "listen", "drain_events", "consume",
    "start_consuming", "basic_consume", "notifies", "wait_for_notify", "subscribe", "recv_multipart", "recv_pyobj",
    "recv_json", "iter_messages", "receive_message", "receive_messages", "poll", "long_poll", "get_updates", "watch",
    "iter_lines", "iter_resp_lines", "iter_sse",
}  # fmt: skip
"""Calls of broker and push clients that wait for the next message, and may do so for ever."""

_BOOTSTRAP = ("_bootstrap", "_bootstrap_inner", "run")
_COUNTER = re.compile(r"[-_ ]?\d+(?=( \(.*\))?$)")


class Pool(NamedTuple):
    """Threads that run the same loop."""

    name: str
    threads: Sequence[ThreadView]


class Blocked(NamedTuple):
    """A thread in one wait."""

    thread: ThreadView
    run: Run
    wait: Wait
    frames: tuple[Frame, ...]


def unbroken(run: Run, wait: Wait) -> bool:
    """Whether a run was one wait: never woken, or woken by nothing but its own timeout."""
    if run.wakeups == 0:
        return True
    return bool(wait.timeout_s) and run.wakeups <= 1.1 * run.duration_s / (wait.timeout_s or 1) + 1


def in_request(frames: tuple[Frame, ...]) -> bool:
    """Whether a server called what this stack does, so that somebody waits for its result."""
    return _passes(frames, _REQUEST)


def consumes(frames: tuple[Frame, ...]) -> bool:
    """Whether the stack waits for the next message of a broker.

    What runs inside a consumer's loop, as a message's handler, is work like any other; in it an application's function
    may have any of these names.
    """
    inner = next((n for n, frame in enumerate(frames) if _passes((frame,), _WORK)), None)
    calls = frames if inner is None else [frame for frame in frames[:inner] if frame.origin != "application"]
    return any(frame.function.rpartition(".")[2] in _CONSUMES for frame in calls)


def waits_for_work(wait: Wait, frames: tuple[Frame, ...]) -> bool:
    """Whether a worker has nothing to do: idle by design, however long it lasts.

    In the middle of work that was handed over every wait holds somebody up. Elsewhere a thread may sleep, wait for an
    event or read a pipe for ever, and a library's own thread may listen to its server; only a lock, a disk, or the
    answer to the application's own call is a wait that nobody plans for.
    """
    if wait.reason in ("accept", "epoll") or wait.inbound:
        return True
    calls = [frame for frame in frames if not frame.is_in("/threading.py")]
    if not calls or any(calls[0].is_in(*place) for place in _WAITS_FOR_WORK) or consumes(frames):
        return True
    if _passes(frames, _WORK):
        return False
    if wait.reason == "lock":
        return frames[0].is_in("/threading.py") or calls[0].origin != "application" or len(calls) == 1
    if wait.reason == "disk":
        return False
    return wait.peer is None or _is_a_library_s_own(calls)


def blocked(thread: ThreadView, *, at_least_s: float) -> Iterator[Blocked]:
    """The thread's waits in the middle of work that lasted at least this long."""
    for run, wait in thread.runs():
        if wait.reason in ("running", "gil", "stopped", "unreadable") or run.duration_s < at_least_s:
            continue
        if not unbroken(run, wait):
            continue
        frames = thread.frames_during(run)
        if frames and not waits_for_work(wait, frames):
            yield Blocked(thread, run, wait, frames)


def pools(process: ProcessView) -> list[Pool]:
    """Groups of threads that were started to do the same: same function at the root, same name but for a number.

    Threads that live for one request are no pool: there is always room for one more.
    """
    groups: dict[tuple[str, str, str], list[ThreadView]] = {}
    for thread in process.threads:
        root = _root(thread)
        if root and not root.is_in("socketserver.py", "process_request_thread"):
            name = _COUNTER.sub("", thread.name)
            groups.setdefault((name, root.file, root.function), []).append(thread)
    return [Pool(name, threads) for (name, _, _), threads in groups.items() if len(threads) > 1]


def _is_a_library_s_own(calls: Sequence[Frame]) -> bool:
    """Whether one library, and nobody who calls it, is on the stack: a thread that it started for itself."""
    packages = {frame.package for frame in calls if frame.origin == "package"}
    return len(packages) < 2 and not any(frame.origin == "application" for frame in calls)


def _passes(frames: tuple[Frame, ...], places: tuple[tuple[str, ...], ...]) -> bool:
    return any(frame.is_in(*place) for frame in frames for place in places)


def _root(thread: ThreadView) -> Frame | None:
    """The function the thread was started with; None for the main thread, whose root is a script."""
    for _, frames in thread.stack_runs():
        below = [frame for frame in frames if not frame.is_in("/threading.py", *_BOOTSTRAP)]
        started = len(below) < len(frames)
        return below[-1] if started and below else None
    return None
