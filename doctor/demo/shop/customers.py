"""The customers: each asks for a page again and again, a little while after it was answered.

Arguments: URL, how many customers. Prints a line for every answer; ends when its standard input does.
"""

import sys
import threading
import urllib.request

gone = threading.Event()


def visit(url: str) -> None:
    while not gone.wait(0.2):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                answer.read()
        except OSError:
            continue
        print("answered", flush=True)


for _ in range(int(sys.argv[2])):
    threading.Thread(target=visit, args=(sys.argv[1],), daemon=True).start()
sys.stdin.read()
gone.set()
