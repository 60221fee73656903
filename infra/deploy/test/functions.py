"""Prints what the acceptance suite must know of the deployment.

    functions.py PORT JWT_SECRET
"""

import json
import sys
from urllib.parse import urlsplit

import stack

PORT, SECRET = sys.argv[1], sys.argv[2]
urls = {}
for name, _, properties in stack.resources("AWS::Lambda::Function"):
    if f"{name}Url" in stack.physical():
        # The emulator tells functions apart by the first label of the host, as AWS does.
        label = urlsplit(stack.attribute(f"{name}Url", "FunctionUrl")).hostname.split(".")[0]
        route = properties["FunctionName"].removeprefix(f"{stack.NAME}-")
        urls[route] = f"http://{label}.lambda-url.{stack.REGION}.localhost:{PORT}"
print(json.dumps({"functions": urls, "connect": f"127.0.0.1:{PORT}", "jwt_secret": SECRET, "sealed": True}))
