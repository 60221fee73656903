"""What the functions are given to do by `cold-start`, on a local stack of its own: an event for each, with the answer 200."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
# Of the local stack and of the functions; they refuse the development one.
SECRET = "a-secret-of-the-bench-and-of-nothing-else"
FILES = ROOT / "tests" / "fixtures" / "files"
BOUNDARY = "bench-boundary"
RECEIPT = {"org_id": "org-123", "object_id": "receipt-456"}
DOCUMENT = {"org_id": "org-123", "system": "epcr", "object_type": "document", "object_id": "epcr-456"}


class Work:
    def __init__(self, addresses, receipt_bytes=0):
        self.receipt_bytes = receipt_bytes
        self.api = urlsplit(addresses["api"])
        identity = ["--org", "org-123", "--user", "1", "--role", "admin", "--expires-in", "36000"]
        self.token = cargo("run", "--quiet", "--locked", "--", "token", *identity).strip()
        # A page of the log is full: one that is not looks for more in all the months of the log.
        self.file_path = [self.stored() for _ in range(100)][-1]
        announced = {"filename": "scan.pdf", "size_bytes": 9_000_000, "mime_type": "application/pdf"}
        session = self.call("/uploads", json.dumps(DOCUMENT | announced).encode(), "application/json")
        self.upload_id = session["upload_id"]

    def event(self, name):
        """An event that the function answers with 200."""
        if name in ("maintenance", "seal"):
            # Their schedule's: any will do.
            return b"{}"
        return json.dumps(function_url_event(self.token, *self.request(name))).encode()

    def request(self, name):
        """Method, path, query, body and its type."""
        if name == "upload":
            return "POST", "/", "", *form("reportlab.pdf", DOCUMENT)
        if name == "receipt-upload":
            return "POST", "/", "", *form("pillow.jpg", RECEIPT, self.receipt_bytes)
        if name == "app-zip-upload":
            return "POST", "/", "", *form("info-zip.zip", RECEIPT)
        if name == "uploads":
            return "GET", f"/{self.upload_id}", "", b"", None
        if name == "signed-url":
            body = json.dumps({"file_path": self.file_path, "purpose": "view"})
            return "POST", "/", "", body.encode(), "application/json"
        if name == "metadata":
            return "GET", f"/{self.file_path}", "", b"", None
        if name == "delete":
            # One each: a deleted file is a 404.
            return "DELETE", "/", f"file_path={self.stored()}", b"", None
        if name == "audit-logs":
            return "GET", "/", "", b"", None
        if name == "empty":
            return "GET", "/", "", b"", None
        sys.exit(f'error: there is no work for the function "{name}"')

    def stored(self):
        """The path of a new file."""
        return self.call("/receipt-upload", *form("pillow.jpg", RECEIPT))["file_path"]

    def call(self, path, body, content_type):
        connection = http.client.HTTPConnection(self.api.netloc)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        connection.request("POST", self.api.path + path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            sys.exit(f"error: POST {path} answered {response.status}: {answer.decode()}")
        return json.loads(answer)


def form(name, fields, at_least=0):
    """A body of multipart/form-data, and its type. A file that is too small gets something behind its end."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = "".join(parts).encode() + file.encode() + (FILES / name).read_bytes().ljust(at_least, b"\xa5") + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def function_url_event(token, method, path, query, body, content_type):
    """A function URL's (payload 2.0)."""
    host = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
    headers = {"host": host, "x-forwarded-for": "203.0.113.7", "authorization": f"Bearer {token}"}
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghijklmnopqrstuvwxyz012345",
            "domainName": host,
            "domainPrefix": "abcdefghijklmnopqrstuvwxyz012345",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "bench",
            },
            "requestId": "a8b1c2d3-4e5f-6071-8293-a4b5c6d7e8f9",
            "routeKey": "$default",
            "stage": "$default",
            "time": "26/Jan/2026:15:30:45 +0000",
            "timeEpoch": 1769441445000,
        },
        "isBase64Encoded": bool(body),
    }
    if body:
        headers |= {"content-type": content_type, "content-length": str(len(body))}
        event["body"] = base64.b64encode(body).decode()
    return event


def cargo(*command):
    done = subprocess.run(["cargo", *command], cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"error: cargo {command[0]} failed")
    return done.stdout.decode()


@contextmanager
def stack():
    """A local stack that keeps nothing; where it answers."""
    ports = ["--port", "0", "--s3-port", "0", "--dynamodb-port", "0"]
    command = ["cargo", "run", "--quiet", "--locked", "--", "--ephemeral", *ports]
    running = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        # It says where it answers in one line for programs.
        line = next((line for line in running.stdout if line.startswith("{")), None)
        if line is None:
            sys.exit("error: the local stack did not start")
        yield json.loads(line)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()


def environment():
    return os.environ | {"JWT_SECRET": SECRET, "RUST_LOG": "error"}
