"""Runs what no caller waits for, once: the sealer's schedule, and maintenance, which finds an upload that was opened and left.

    background.py PORT TOKEN
"""

import http.client
import json
import sys
from urllib.parse import urlsplit

from stack import NAME, attribute, client, physical

PORT, TOKEN = sys.argv[1], sys.argv[2]
UPLOAD = {
    "org_id": "org-123", "system": "epcr", "object_type": "document", "object_id": "epcr-456",
    "filename": "scan.pdf", "mime_type": "application/pdf", "size_bytes": 9000000,
}


def opened():
    """The path of an upload that nobody completes."""
    function = http.client.HTTPConnection("127.0.0.1", int(PORT), timeout=30)
    host = urlsplit(attribute("UploadsFunctionUrl", "FunctionUrl")).hostname
    function.request("POST", "/", json.dumps(UPLOAD), {"host": host, "authorization": f"Bearer {TOKEN}"})
    return json.loads(function.getresponse().read())["file_path"]


# As if its day were over.
client("dynamodb").update_item(
    TableName=physical()["FileRecordsTable"],
    Key={"pk": {"S": opened()}},
    ConditionExpression="attribute_exists(pk)",
    UpdateExpression="SET #lease = :past, #due = :past",
    ExpressionAttributeNames={"#lease": "lease", "#due": "due"},
    ExpressionAttributeValues={":past": {"N": "1"}},
)
results = {}
for name in ("seal", "maintenance"):
    answer = client("lambda").invoke(FunctionName=f"{NAME}-{name}", Payload="{}")
    results[name] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        sys.exit(f"{name}: {results[name]}")
if results["maintenance"]["found"] != {"expired_upload": 1} or results["maintenance"]["stopped_by"]:
    sys.exit(f"maintenance: {results['maintenance']}")
print(f"background: {results['seal']['logs']} logs sealed, one upload ended that was left open")
