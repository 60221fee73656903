"""Stands between the functions and the emulator, and writes down who called what: a line of JSON a call.

    recorder.py PORT EMULATOR_PORT FILE
"""

import http.client
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PORT, EMULATOR, FILE = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)
LOCK = threading.Lock()
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        emulator = http.client.HTTPConnection("127.0.0.1", EMULATOR, timeout=60)
        # The host is signed: it stays what the caller wrote.
        emulator.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                emulator.putheader(name, value)
        emulator.putheader("content-length", str(len(body)))
        emulator.endheaders(body)
        answer = emulator.getresponse()
        content = answer.read()
        self.record(body, answer.status)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("content-length", answer.getheader("content-length", "0") if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        emulator.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def record(self, body, status):
        signed = re.search(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/", self.headers.get("authorization", ""))
        if not signed:
            return
        target = self.headers.get("x-amz-target")
        call = {
            "key": signed[1],
            "service": signed[2],
            "method": self.command,
            "path": unquote(urlsplit(self.path).path),
            "target": target and target.rsplit(".", 1)[-1],
            "locked": "x-amz-object-lock-mode" in self.headers,
            "body": json.loads(body) if target and signed[2] == "dynamodb" else {},
            "status": status,
        }
        with LOCK:
            FILE.write(json.dumps(call) + "\n")

    def log_message(self, *_):
        pass


# Five callers in waiting are too few for ten functions.
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", PORT), Recorder).serve_forever()
