"""Reads every property of every deployed resource back, and compares it with the template.

What the emulator does not keep stands in `IGNORED`. A property that is missing and not listed fails, and so does one that is
listed and there: then the list is to be mended.
"""

import json
import sys

import stack
from readers import READERS

IGNORED = {
    "AWS::CloudWatch::Alarm EvaluateLowSampleCountPercentile",
    "AWS::DynamoDB::Table PointInTimeRecoverySpecification",
    "AWS::DynamoDB::Table ResourcePolicy",
    "AWS::DynamoDB::Table SSESpecification",
    "AWS::DynamoDB::Table TimeToLiveSpecification",
    "AWS::Lambda::Function ReservedConcurrentExecutions",
    "AWS::S3::Bucket LifecycleConfiguration",
    "AWS::S3::Bucket ObjectLockEnabled",
}
# The emulator does not know what these need, so the template has them on AWS alone.
NOT_DEPLOYED = {
    "FunctionErrorsAlarm",
    "FunctionThrottlesAlarm",
    "UnusualUploadVolumeAlarm",
}
# The code, what is for people alone, and what takes effect when a key is deleted.
NOT_COMPARED = {"Code", "Description", "Tags", "PendingWindowInDays"}
# Who may do what: nothing more may be there than is wanted.
EXACT = {"AssumeRolePolicyDocument", "KeyPolicy", "ManagedPolicyArns", "Policies", "PolicyDocument", "ResourcePolicy"}


def agrees(wanted, found, exact):
    """Whether what is wanted was found. Unless it is to be exact, a mapping may have more, as what AWS fills in."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict) or (exact and wanted.keys() != found.keys()):
            return False
        return all(agrees(value, found.get(name), exact) for name, value in wanted.items())
    if isinstance(wanted, list):
        left = list(found) if isinstance(found, list) else [found]
        for item in wanted:
            same = next((other for other in left if agrees(item, other, exact)), None)
            if same is None:
                return False
            left.remove(same)
        return not left
    if isinstance(found, list):
        return len(found) == 1 and agrees(wanted, found[0], exact)
    if isinstance(found, float):
        return float(wanted) == found
    return str(wanted).lower() == str(found).lower()


def main():
    left_out = {name for name, resource in stack.template()["Resources"].items() if not stack.deployed(resource)}
    if left_out != NOT_DEPLOYED:
        sys.exit(f"read back: not deployed is {sorted(left_out)}")
    compared, missing = 0, {}
    for name, kind, properties in stack.resources():
        found = READERS[kind](stack.physical()[name], properties)
        for key, wanted in properties.items():
            if key in NOT_COMPARED:
                continue
            compared += 1
            if not agrees(wanted, found.get(key), key in EXACT):
                missing.setdefault(f"{kind} {key}", []).append((name, wanted, found.get(key)))
    for key in sorted(missing.keys() - IGNORED):
        for name, wanted, other in missing[key]:
            print(f"{name}: {key} is {json.dumps(other, default=str)}\n  and not {json.dumps(wanted)}", file=sys.stderr)
    for key in sorted(IGNORED - missing.keys()):
        print(f"{key} is kept by the emulator: take it from the list", file=sys.stderr)
    if missing.keys() != IGNORED:
        sys.exit("read back: the stack is not what the template says")
    print(f"read back: {compared} properties as in the template, but for {len(IGNORED)} that the emulator does not keep")


main()
