"""Asserts that each function's URL has both permissions that AWS asks for since October 2025: to call the URL, and to invoke the
function by way of it. Reads the template as SAM's own translator transforms it. No function has a permission that is not in there."""

import json
import sys

import stack

URL = {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"}
FUNCTION = {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}

functions = {properties["TargetFunctionArn"] for _, _, properties in stack.resources("AWS::Lambda::Url")}
permissions = [properties for _, _, properties in stack.resources("AWS::Lambda::Permission")]
for function in functions:
    own = [permission for permission in permissions if permission["FunctionName"] == function]
    for wanted in (URL, FUNCTION):
        if not any(wanted.items() <= permission.items() and permission["Principal"] == "*" for permission in own):
            sys.exit(f"permissions: {function} has no {wanted}")
for function in {permission["FunctionName"] for permission in permissions}:
    found = json.loads(stack.client("lambda").get_policy(FunctionName=function)["Policy"])["Statement"]
    if len(found) != sum(permission["FunctionName"] == function for permission in permissions):
        sys.exit(f"permissions: {function} has others: {json.dumps(found)}")
print(f"permissions: both for the URLs of {len(functions)} functions, and no others")
