"""Forms that are stored: the document says of which type a file is, not with which bytes, nor whose token is used."""

import pathlib
import re

import schemathesis
from hypothesis import strategies

FILES = pathlib.Path(__file__).parents[2] / "tests/fixtures/files"
PDF = (FILES / "reportlab.pdf").read_bytes()
ZIP = (FILES / "info-zip.zip").read_bytes()

for media_type, content in [("application/pdf", PDF), ("application/zip", ZIP)]:
    schemathesis.openapi.media_type(media_type, strategies.just(content))


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and "file" in body:
        body["file"] = ZIP if context.operation.path == "/app-zip-upload" else PDF
        # What is no organisation's id stays as it is, to be refused.
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(body.get("org_id"))):
            body["org_id"] = "org-123"
    return body
