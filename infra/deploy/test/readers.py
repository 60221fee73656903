"""What is deployed, read by the services' own calls, in the shapes of the template. A reader gets the physical id and the wanted
properties, and answers what it found by the properties' names."""

import json

from botocore.exceptions import ClientError

from stack import client


def or_none(call, **arguments):
    """None: it is not there."""
    try:
        return call(**arguments)
    except ClientError as error:
        if "NotFound" in error.response["Error"]["Code"] or error.response["Error"]["Code"].startswith("NoSuch"):
            return None
        raise


def table(identity, _):
    dynamodb = client("dynamodb")
    found = dynamodb.describe_table(TableName=identity)["Table"]
    backups = dynamodb.describe_continuous_backups(TableName=identity)["ContinuousBackupsDescription"]
    ttl = dynamodb.describe_time_to_live(TableName=identity)["TimeToLiveDescription"]
    policy = or_none(dynamodb.get_resource_policy, ResourceArn=found["TableArn"])
    return found | {
        "BillingMode": found.get("BillingModeSummary", {}).get("BillingMode"),
        "PointInTimeRecoverySpecification": {
            "PointInTimeRecoveryEnabled": backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
        },
        "SSESpecification": {"SSEEnabled": found.get("SSEDescription", {}).get("Status") == "ENABLED"},
        "TimeToLiveSpecification": {"Enabled": ttl["TimeToLiveStatus"] == "ENABLED", "AttributeName": ttl.get("AttributeName")},
        "ResourcePolicy": policy and {"PolicyDocument": json.loads(policy["Policy"])},
    }


def bucket(identity, _):
    s3 = client("s3")
    lock = or_none(s3.get_object_lock_configuration, Bucket=identity)
    rules = or_none(s3.get_bucket_lifecycle_configuration, Bucket=identity)
    encryption = s3.get_bucket_encryption(Bucket=identity)["ServerSideEncryptionConfiguration"]["Rules"]
    return {
        "ObjectLockEnabled": lock is not None,
        "VersioningConfiguration": s3.get_bucket_versioning(Bucket=identity),
        "OwnershipControls": s3.get_bucket_ownership_controls(Bucket=identity)["OwnershipControls"],
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {"ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"]} for rule in encryption
            ]
        },
        "PublicAccessBlockConfiguration": s3.get_public_access_block(Bucket=identity)["PublicAccessBlockConfiguration"],
        "LifecycleConfiguration": rules and {"Rules": [{"Id": rule["ID"]} | rule for rule in rules["Rules"]]},
    }


def bucket_policy(_, wanted):
    policy = client("s3").get_bucket_policy(Bucket=wanted["Bucket"])["Policy"]
    return {"Bucket": wanted["Bucket"], "PolicyDocument": json.loads(policy)}


def function(identity, _):
    found = client("lambda").get_function_configuration(FunctionName=identity)
    return found | client("lambda").get_function_concurrency(FunctionName=identity)


def function_url(identity, _):
    found = client("lambda").get_function_url_config(FunctionName=identity)
    return found | {"TargetFunctionArn": found["FunctionArn"].rsplit(":", 1)[-1]}


def invocation(_, wanted):
    name, qualifier = wanted["FunctionName"], wanted["Qualifier"]
    found = client("lambda").get_function_event_invoke_config(FunctionName=name, Qualifier=qualifier)
    return found | {"FunctionName": name, "Qualifier": qualifier}


def permission(_, wanted):
    """A permission is found by what it says: it has no name of its own that the template knows."""
    policy = json.loads(client("lambda").get_policy(FunctionName=wanted["FunctionName"])["Policy"])
    for statement in policy["Statement"]:
        principal, condition = statement["Principal"], statement.get("Condition", {})
        found = {
            "Action": statement["Action"],
            "FunctionName": statement["Resource"].rsplit(":", 1)[-1],
            "Principal": principal if isinstance(principal, str) else next(iter(principal.values())),
            "FunctionUrlAuthType": condition.get("StringEquals", {}).get("lambda:FunctionUrlAuthType"),
            "InvokedViaFunctionUrl": condition.get("Bool", {}).get("lambda:InvokedViaFunctionUrl"),
            "SourceArn": condition.get("ArnLike", {}).get("AWS:SourceArn"),
        }
        known = sum(found[name] is not None for name in ("FunctionUrlAuthType", "InvokedViaFunctionUrl", "SourceArn"))
        exact = all(str(value).lower() == str(wanted.get(name)).lower() for name, value in found.items())
        if exact and known == sum(len(operator) for operator in condition.values()):
            return found
    return {}


def stream(identity, _):
    found = client("lambda").get_event_source_mapping(UUID=identity)
    return found | {"FunctionName": found["FunctionArn"].rsplit(":", 1)[-1]}


def role(identity, _):
    iam = client("iam")
    attached = iam.list_attached_role_policies(RoleName=identity)["AttachedPolicies"]
    names = iam.list_role_policies(RoleName=identity)["PolicyNames"]
    policies = [iam.get_role_policy(RoleName=identity, PolicyName=name) for name in names]
    return iam.get_role(RoleName=identity)["Role"] | {
        "ManagedPolicyArns": [policy["PolicyArn"] for policy in attached],
        "Policies": [{name: policy[name] for name in ("PolicyName", "PolicyDocument")} for policy in policies],
    }


def managed_policy(identity, _):
    iam = client("iam")
    version = iam.get_policy(PolicyArn=identity)["Policy"]["DefaultVersionId"]
    return {"PolicyDocument": iam.get_policy_version(PolicyArn=identity, VersionId=version)["PolicyVersion"]["Document"]}


def key(identity, _):
    policy = client("kms").get_key_policy(KeyId=identity, PolicyName="default")["Policy"]
    return client("kms").describe_key(KeyId=identity)["KeyMetadata"] | {"KeyPolicy": json.loads(policy)}


def queue(identity, _):
    return client("sqs").get_queue_attributes(QueueUrl=identity, AttributeNames=["All"])["Attributes"]


def log_group(identity, _):
    groups = client("logs").describe_log_groups(logGroupNamePrefix=identity)["logGroups"]
    [found] = [group for group in groups if group["logGroupName"] == identity]
    return {"LogGroupName": identity, "RetentionInDays": found.get("retentionInDays")}


def rule(identity, _):
    events, name = client("events"), identity.rsplit("|", 1)[-1]
    return events.describe_rule(Name=name) | {"Targets": events.list_targets_by_rule(Rule=name)["Targets"]}


def alarm(identity, _):
    [found] = client("cloudwatch").describe_alarms(AlarmNames=[identity])["MetricAlarms"]
    return found


def dashboard(identity, _):
    return client("cloudwatch").get_dashboard(DashboardName=identity)


def access(identity, _):
    return client("cloudfront").get_origin_access_control(Id=identity)["OriginAccessControl"]


def headers(identity, _):
    return items(client("cloudfront").get_response_headers_policy(Id=identity)["ResponseHeadersPolicy"])


def distribution(identity, _):
    found = client("cloudfront").get_distribution(Id=identity)["Distribution"]
    return {"DistributionConfig": items(found["DistributionConfig"])}


def items(value):
    """CloudFront's lists (`Quantity` and `Items`) as in the template, which has the `Items` of custom headers, too."""
    if isinstance(value, list):
        return [items(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_list = "Quantity" in value and "Header" not in str(value["Items"] if "Items" in value else "")
    return items(value.get("Items", [])) if is_list else {name: items(item) for name, item in value.items()}


READERS = {
    "AWS::CloudFront::Distribution": distribution,
    "AWS::CloudFront::OriginAccessControl": access,
    "AWS::CloudFront::ResponseHeadersPolicy": headers,
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::CloudWatch::Dashboard": dashboard,
    "AWS::DynamoDB::Table": table,
    "AWS::Events::Rule": rule,
    "AWS::IAM::ManagedPolicy": managed_policy,
    "AWS::IAM::Role": role,
    "AWS::KMS::Key": key,
    "AWS::Lambda::EventInvokeConfig": invocation,
    "AWS::Lambda::EventSourceMapping": stream,
    "AWS::Lambda::Function": function,
    "AWS::Lambda::Permission": permission,
    "AWS::Lambda::Url": function_url,
    "AWS::Logs::LogGroup": log_group,
    "AWS::S3::Bucket": bucket,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SQS::Queue": queue,
}
