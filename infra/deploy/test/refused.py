"""With each function's role, everything but an entry's Put in a transaction is refused on the audit log's table."""

import sys

import boto3
from botocore.exceptions import ClientError

import stack

ROW = {"pk": {"S": "nobody#2026-01"}, "sk": {"S": "00000000000000000000000000"}}


def attempts(dynamodb, table):
    """Each way to write, by its name."""
    put, delete = {"PutRequest": {"Item": ROW}}, {"DeleteRequest": {"Key": ROW}}
    transact = dynamodb.transact_write_items
    change = {"UpdateExpression": "SET b = :b", "ExpressionAttributeValues": {":b": {"S": "x"}}}
    insert = f"INSERT INTO \"{table}\" VALUE {{'pk': 'nobody#2026-01', 'sk': '0'}}"
    return {
        "PutItem": lambda: dynamodb.put_item(TableName=table, Item=ROW),
        "UpdateItem": lambda: dynamodb.update_item(TableName=table, Key=ROW, **change),
        "DeleteItem": lambda: dynamodb.delete_item(TableName=table, Key=ROW),
        "BatchWriteItem, a put": lambda: dynamodb.batch_write_item(RequestItems={table: [put]}),
        "BatchWriteItem, a delete": lambda: dynamodb.batch_write_item(RequestItems={table: [delete]}),
        "ExecuteStatement": lambda: dynamodb.execute_statement(Statement=insert),
        "BatchExecuteStatement": lambda: dynamodb.batch_execute_statement(Statements=[{"Statement": insert}]),
        "ExecuteTransaction": lambda: dynamodb.execute_transaction(TransactStatements=[{"Statement": insert}]),
        "an Update in a transaction": lambda: transact(TransactItems=[{"Update": {"TableName": table, "Key": ROW, **change}}]),
        "a Delete in a transaction": lambda: transact(TransactItems=[{"Delete": {"TableName": table, "Key": ROW}}]),
        "UpdateTable": lambda: dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False),
        "DeleteTable": lambda: dynamodb.delete_table(TableName=table),
    }


def outcome(attempt):
    """None: it was refused."""
    try:
        answer = attempt()
    except ClientError as error:
        return None if error.response["Error"]["Code"] == "AccessDeniedException" else str(error)
    failed = [entry.get("Error", {}).get("Code") for entry in answer.get("Responses", [])]
    return None if failed and all(code == "AccessDenied" for code in failed) else "it was done"


def main():
    table, wrong, count = stack.physical()["AuditLogsTable"], [], 0
    before = stack.client("dynamodb").describe_table(TableName=table)["Table"]
    for name, _, _ in stack.resources("AWS::IAM::Role"):
        arn = stack.attribute(name, "Arn")
        key = stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        dynamodb = boto3.client(
            "dynamodb",
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key["SessionToken"],
        )
        for way, attempt in attempts(dynamodb, table).items():
            count += 1
            if done := outcome(attempt):
                wrong.append(f"{name}: {way}: {done}")
    found = stack.client("dynamodb").get_item(TableName=table, Key=ROW)
    if "Item" in found or stack.client("dynamodb").describe_table(TableName=table)["Table"] != before:
        wrong.append("something was changed")
    if wrong:
        sys.exit("\n".join(["refused:", *wrong]))
    print(f"refused: {count} ways to write into the audit log, all of them refused")


main()
