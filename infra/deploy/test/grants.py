"""Holds the roles' rights against the calls that the functions made: what was granted and never used fails, unless it is listed
here with the reason. So does what is listed and was used.

    grants.py CALLS
"""

import hashlib
import json
import sys
from fnmatch import fnmatchcase

import stack

TABLE = f"arn:aws:dynamodb:{stack.REGION}:{stack.account()}:table/"
STREAM = "Lambda itself reads the stream with the role"
DOUBT = "asked after a commit whose answer never came"
RELEASE = "what a failed PUT lets go: the emulated Space does not fail"
DAY = "what is younger than a day is not compared"
MISSING = "without it S3 answers 403 and not 404 for an object that is not there; it is no call of its own"
# Every role's: Lambda itself writes a function's log with its role.
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
UNUSED = {
    "AppZipUploadRole dynamodb:DeleteItem StateTable": RELEASE,
    "ReceiptUploadRole dynamodb:DeleteItem StateTable": RELEASE,
    "UploadRole dynamodb:DeleteItem StateTable": RELEASE,
    "MaintenanceRole dynamodb:BatchGetItem FileRecordsTable": DAY,
    "MaintenanceRole dynamodb:PutItem FileRecordsTable": DAY,
    "SealRole dynamodb:DescribeStream AuditLogsTable": STREAM,
    "SealRole dynamodb:GetRecords AuditLogsTable": STREAM,
    "SealRole dynamodb:GetShardIterator AuditLogsTable": STREAM,
    "SealRole dynamodb:ListStreams AuditLogsTable": STREAM,
    "SealRole sqs:SendMessage SealDeadLetters": "Lambda itself tells of records that it gives up, with the role",
    "AuditLogsRole s3:ListBucket ArchiveBucket": MISSING,
    "SealRole s3:ListBucket ArchiveBucket": MISSING,
    **{
        f"{name}Role dynamodb:GetItem AuditLogsTable": DOUBT
        for name in ("AppZipUpload", "Delete", "Maintenance", "Metadata", "ReceiptUpload", "SignedUrl", "Upload", "Uploads")
    },
}


def calls(file):
    """Each call as the rights that it takes: role, action, resource."""
    roles = role_by_key()
    for line in open(file, encoding="utf-8"):
        call = json.loads(line)
        role = roles.get(call["key"])
        if role and call["status"] < 400:
            yield from ((role, action, resource) for action, resource in rights(call))


def role_by_key():
    """The emulator derives the key id of a function's credentials from function and role."""
    found = {}
    for name, _, properties in stack.resources("AWS::Lambda::Function"):
        arns = f"{stack.attribute(name, 'Arn')}:{properties['Role']}"
        found[f"ASIA{hashlib.sha256(arns.encode()).hexdigest()[:16].upper()}"] = properties["Role"].rsplit("/", 1)[-1]
    return found


def rights(call):
    service, operation, body = call["service"], call["target"], call["body"]
    if service == "dynamodb" and operation == "TransactWriteItems":
        for item in body["TransactItems"]:
            [(kind, write)] = item.items()
            yield f"dynamodb:{kind}Item", TABLE + write["TableName"]
    elif service == "dynamodb" and operation == "BatchGetItem":
        for table in body["RequestItems"]:
            yield "dynamodb:BatchGetItem", TABLE + table
    elif service == "dynamodb":
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield f"dynamodb:{operation}", TABLE + body["TableName"] + index
    elif service == "s3":
        yield f"s3:{call['method'].capitalize()}Object", f"arn:aws:s3:::{call['path'].lstrip('/')}"
        if call["locked"]:
            yield "s3:PutObjectRetention", f"arn:aws:s3:::{call['path'].lstrip('/')}"
    else:
        # Which secrets a function reads, tests/tests/it/secrets.rs holds; there is one signing key.
        yield f"{service}:{operation}", "*"


def grants():
    """Every right: role, action, resource."""
    managed = {stack.reference(name): properties for name, _, properties in stack.resources("AWS::IAM::ManagedPolicy")}
    for name, _, properties in stack.resources("AWS::IAM::Role"):
        role = stack.physical()[name]
        documents = [policy["PolicyDocument"] for policy in properties["Policies"]]
        documents += [managed[arn]["PolicyDocument"] for arn in properties["ManagedPolicyArns"]]
        for document in documents:
            yield from ((name, role, action, resource) for action, resource in allowed(document))
        for _, _, key in stack.resources("AWS::KMS::Key"):
            for statement in key["KeyPolicy"]["Statement"]:
                if statement["Principal"] == {"AWS": stack.attribute(name, "Arn")}:
                    yield from ((name, role, action, "*") for action in listed(statement["Action"]))


def allowed(document):
    for statement in document["Statement"]:
        if statement["Effect"] == "Allow":
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield action, resource


def logical(resource):
    """The template's name for what an ARN is about: the one with the longest id in it."""
    known = [item for item in stack.parameters().items() if item[1].startswith("arn:")]
    # A queue's id is its URL.
    known += [(name, identity.rsplit("/", 1)[-1]) for name, identity in stack.physical().items()]
    return max((len(identity), name) for name, identity in known if identity in resource)[1] if resource != "*" else "*"


def listed(value):
    return value if isinstance(value, list) else [value]


def main():
    made = set(calls(sys.argv[1]))
    unused, count = set(), 0
    for name, role, action, resource in grants():
        count += 1
        used = any(
            who == role and what == action and (on == "*" or fnmatchcase(on, resource)) for who, what, on in made
        )
        if not used and action not in LOGS:
            unused.add(f"{name} {action} {logical(resource)}")
    listed_as_unused = set(UNUSED)
    for right in sorted(unused - listed_as_unused):
        print(f"granted and not used: {right}", file=sys.stderr)
    for right in sorted(listed_as_unused - unused):
        print(f"used, or not granted, and listed as unused: {right}", file=sys.stderr)
    if unused != listed_as_unused:
        sys.exit("grants: the roles' rights are not what the functions use")
    print(f"grants: {count} rights, all of them used but for {len(unused)} and the logs', each with its reason")


main()
