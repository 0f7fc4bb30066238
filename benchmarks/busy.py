"""The program under the samplers: THREADS threads, 30 frames deep, that never rest and fight for the interpreter lock.

    python benchmarks/busy.py FD THREADS

The moment each unit of work ended is kept in a ring that lies in the file FD: how many there were in any stretch of
time, and the longest pause between two of them, can be read there without asking. Runs on every CPython from 3.8 on;
the threads start together, since beside busy ones a thread takes seconds to come to life. Ends when standard input
does.
"""

import itertools
import mmap
import os
import sys
import threading
import time

RING = 1 << 22
"""More units than any machine does in the longest stretch."""
DEPTH = 30


def work():
    return sum(item * item for item in range(200))


def descend(depth, ready, start, ring, numbers):
    if depth > 1:
        return descend(depth - 1, ready, start, ring, numbers)
    ready.release()
    start.wait()
    while True:
        work()
        ring[next(numbers) % RING] = time.perf_counter()


def main(fd, threads):
    ring = memoryview(mmap.mmap(fd, RING * 8)).cast("d")
    ready, start, numbers = threading.Semaphore(0), threading.Event(), itertools.count()
    for _ in range(threads):
        threading.Thread(target=descend, args=(DEPTH, ready, start, ring, numbers), daemon=True).start()
    for _ in range(threads):
        ready.acquire()
    os.write(1, b"ready\n")
    start.set()
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
