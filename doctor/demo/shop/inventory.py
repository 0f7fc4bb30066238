"""The inventory: answers at once, until a byte on its standard input tells it to hang.

Prints its port, then a line for each request that it leaves without an answer.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

hangs = threading.Event()
never = threading.Event()


class Inventory(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if hangs.is_set():
            print("hangs", flush=True)
            never.wait()
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"42\n")

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Inventory)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
if sys.stdin.read(1):
    hangs.set()
    sys.stdin.read()
