"""The deployed stack: its template as CloudFormation transformed it, with every parameter and reference resolved."""

import functools
import json
import os
import re

import boto3

NAME = "storage"
REGION = os.environ["AWS_DEFAULT_REGION"]


@functools.cache
def client(service):
    return boto3.client(service)


@functools.cache
def account():
    return client("sts").get_caller_identity()["Account"]


@functools.cache
def template():
    body = client("cloudformation").get_template(StackName=NAME, TemplateStage="Processed")["TemplateBody"]
    return json.loads(body) if isinstance(body, str) else json.loads(json.dumps(body))


@functools.cache
def parameters():
    given = client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["Parameters"]
    values = {name: parameter.get("Default", "") for name, parameter in template()["Parameters"].items()}
    return values | {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in given}


@functools.cache
def physical():
    """Physical ids by logical ids."""
    pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=NAME)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}


def deployed(resource):
    return "Condition" not in resource or holds({"Condition": resource["Condition"]})


def resources(kind=None):
    """Logical ids, types and properties, resolved, of what is deployed."""
    for name, resource in template()["Resources"].items():
        if kind in (None, resource["Type"]) and deployed(resource):
            yield name, resource["Type"], resolved(resource.get("Properties", {}))


def resolved(value):
    if isinstance(value, list):
        values = [resolved(item) for item in value]
        return [item for item in values if item is not None]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(function, argument)] = value.items()
        if function == "Ref":
            return reference(argument)
        if function == "Fn::GetAtt":
            name, _, of = argument.partition(".") if isinstance(argument, str) else (argument[0], "", argument[1])
            return attribute(name, of)
        if function == "Fn::Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda match: str(named(match[1])), argument)
        if function == "Fn::If":
            condition, yes, no = argument
            return resolved(yes if holds({"Condition": condition}) else no)
        if function == "Fn::Join":
            return argument[0].join(resolved(argument[1]))
    members = {name: resolved(item) for name, item in value.items()}
    return {name: item for name, item in members.items() if item is not None}


def named(name):
    resource, _, of = name.partition(".")
    return attribute(resource, of) if of else reference(name)


def reference(name):
    if name in parameters():
        is_list = template()["Parameters"][name]["Type"] == "CommaDelimitedList"
        return parameters()[name].split(",") if is_list else parameters()[name]
    pseudo = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": account(), "AWS::StackName": NAME,
              "AWS::NoValue": None}
    return pseudo[name] if name in pseudo else physical()[name]


def holds(condition):
    [(function, argument)] = condition.items()
    if function == "Condition":
        return holds(template()["Conditions"][argument])
    if function == "Fn::Not":
        return not holds(argument[0])
    if function == "Fn::Equals":
        return resolved(argument[0]) == resolved(argument[1])
    raise ValueError(f"a condition that is not understood: {function}")


@functools.cache
def attribute(name, of):
    kind, identity = template()["Resources"][name]["Type"], physical()[name]
    match kind, of:
        case "AWS::IAM::Role", "Arn":
            return client("iam").get_role(RoleName=identity)["Role"]["Arn"]
        case "AWS::Lambda::Function", "Arn":
            return client("lambda").get_function_configuration(FunctionName=identity)["FunctionArn"]
        case "AWS::Lambda::Url", "FunctionUrl":
            return client("lambda").get_function_url_config(FunctionName=identity)["FunctionUrl"]
        case "AWS::DynamoDB::Table", "Arn" | "StreamArn":
            table = client("dynamodb").describe_table(TableName=identity)["Table"]
            return table["TableArn" if of == "Arn" else "LatestStreamArn"]
        case "AWS::S3::Bucket", "Arn":
            return f"arn:aws:s3:::{identity}"
        case "AWS::S3::Bucket", "RegionalDomainName":
            return f"{identity}.s3.{REGION}.amazonaws.com"
        case "AWS::Logs::LogGroup", "Arn":
            return f"arn:aws:logs:{REGION}:{account()}:log-group:{identity}:*"
        case "AWS::SQS::Queue", "Arn":
            return f"arn:aws:sqs:{REGION}:{account()}:{attribute(name, 'QueueName')}"
        case "AWS::SQS::Queue", "QueueName":
            return identity.rsplit("/", 1)[-1]
        case "AWS::KMS::Key", "Arn":
            return client("kms").describe_key(KeyId=identity)["KeyMetadata"]["Arn"]
        case "AWS::CloudFront::Distribution", "DomainName":
            return client("cloudfront").get_distribution(Id=identity)["Distribution"]["DomainName"]
        case "AWS::Events::Rule", "Arn":
            return client("events").describe_rule(Name=identity.rsplit("|", 1)[-1])["Arn"]
        case "AWS::CloudFront::OriginAccessControl", "Id":
            return identity
    raise ValueError(f"an attribute that is not understood: {kind} {of}")
