"""Has the alarms fire in the deployed stack, after it was asserted that none does. Whoever subscribed to their topic is told.

What AWS measures is provoked: functions that cannot start, or cannot work, functions that are not let run, and a batch of the stream
that is given up. What functions measure of themselves is published from their logs, as CloudWatch does, and leaves every alarm quiet. Then
each of these alarms is given values on both sides of its threshold; that there are such values when there is a reason,
`tests/tests/it/metrics.rs` asserts.

The emulator evaluates an alarm whenever a value is published, over all its periods at once, and whatever the dimensions. So what was
provoked is read with the alarm's own dimensions, too.
"""

import json
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import boto3
from botocore.config import Config

import stack
from measured import measured

OWN = f"Storage/{stack.NAME}"
# The emulator does not calculate with metrics, and the template has these on AWS alone. What the two sums add up is provoked all the same.
NOT_FIRED = {"FunctionErrors", "FunctionThrottles", "UnusualUploadVolume"}
SEAL = f"{stack.NAME}-seal"
# What a function cannot work without, or, if it is an endpoint, not even start.
MISSING = {f"{stack.NAME}-maintenance": {"SPACES_BUCKET": ""}, SEAL: {"AUDIT_ORIGIN": ""}}
NO_SECRET = {"JWT_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:000000000000:secret:gone-AbCdEf"}
CLOUDWATCH = stack.client("cloudwatch")
# Nothing is tried again: a throttled call is what is wanted.
LAMBDA = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))


def name_of(alarm):
    return alarm["AlarmName"].removeprefix(f"{stack.NAME}-")


def firing():
    pages = CLOUDWATCH.get_paginator("describe_alarms").paginate(StateValue="ALARM")
    return {name_of(alarm) for page in pages for alarm in page["MetricAlarms"]}


def publish(namespace, data):
    for start in range(0, len(data), 500):
        CLOUDWATCH.put_metric_data(Namespace=namespace, MetricData=data[start : start + 500])


def total(metric):
    """What a metric adds up to, with its dimensions."""
    metric = {key: metric[key] for key in ("Namespace", "MetricName", "Dimensions") if key in metric}
    query = {"Id": "total", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    now = datetime.now(UTC)
    answer = CLOUDWATCH.get_metric_data(
        MetricDataQueries=[query], StartTime=now - timedelta(days=1), EndTime=now + timedelta(minutes=1)
    )
    return sum(answer["MetricDataResults"][0]["Values"])


def invoke(function):
    return LAMBDA.invoke(FunctionName=function, Payload="{}")


@contextmanager
def without(function, variables):
    """As long as this lasts, the function's variables are others."""
    before = LAMBDA.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    configure(function, before | variables)
    try:
        yield
    finally:
        configure(function, before)


def configure(function, variables):
    LAMBDA.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
    LAMBDA.get_waiter("function_updated_v2").wait(FunctionName=function)


def fail(function, times):
    variables = MISSING.get(function, NO_SECRET)
    with without(function, variables):
        for _ in range(times):
            if "FunctionError" not in invoke(function):
                sys.exit(f"alarms: {function} works without {', '.join(variables)}")


def throttle(function, times):
    LAMBDA.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    for _ in range(times):
        try:
            invoke(function)
        except LAMBDA.exceptions.TooManyRequestsException:
            continue
        sys.exit(f"alarms: {function} is not throttled")
    LAMBDA.delete_function_concurrency(FunctionName=function)


def background():
    """Both are well, or well again. What came too late for a call's log, the emulator puts into the next one's."""
    for function in ("maintenance", "seal"):
        answer = invoke(f"{stack.NAME}-{function}")
        if "FunctionError" in answer:
            sys.exit(f"alarms: {function}: {answer['Payload'].read()}")


def expect(fires, name):
    if (name in firing()) != fires:
        sys.exit(f"alarms: {name} {'does not fire' if fires else 'fires'}")


def of_the_service(alarm):
    """Gives an alarm on what a function measures what is just quiet, and then what is not."""
    quiet = float(alarm["Threshold"]) - (alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold")
    match alarm.get("Statistic", alarm.get("ExtendedStatistic")):
        case "Sum":
            published = [{quiet - total(alarm): 1}, {1: 1}]
        case "Average":
            # So many that what there was does not count.
            failed = round(quiet * 1_000_000)
            published = [{1: failed - 1000, 0: 1_000_000 - failed}, {1: 10_000}]
        case "Maximum":
            published = [{quiet: 1}, {quiet + 1: 1}]
        case "p90":
            # Enough to be the percentile of all.
            published = [{quiet: 10000}, {quiet + 1: 10000}]
    for fires, counts in enumerate(published):
        publish(OWN, [{"MetricName": alarm["MetricName"], "Values": list(counts), "Counts": list(counts.values())}])
        expect(bool(fires), name_of(alarm))


def of_the_queue(alarm):
    """Has the sealer fail until the stream's batch is given up. What a queue holds, the emulator says but does not measure: it is published
    as SQS does."""
    sqs, streams = stack.client("sqs"), {"FunctionName": SEAL}
    queue = sqs.get_queue_url(QueueName=alarm["Dimensions"][0]["Value"])["QueueUrl"]

    def measure():
        attribute = alarm["MetricName"].removesuffix("Visible")
        held = int(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[attribute])["Attributes"][attribute])
        metric = {key: alarm[key] for key in ("MetricName", "Dimensions")}
        publish(alarm["Namespace"], [metric | {"Value": held}])
        return held

    measure()
    expect(False, name_of(alarm))
    [mapping] = LAMBDA.list_event_source_mappings(**streams)["EventSourceMappings"]
    LAMBDA.update_event_source_mapping(UUID=mapping["UUID"], MaximumRecordAgeInSeconds=1)
    with without(SEAL, MISSING[SEAL]):
        stack.client("dynamodb").put_item(
            TableName=stack.physical()["AuditLogsTable"], Item={"pk": {"S": "org-123#2026-11"}, "sk": {"S": "given-up"}}
        )
        deadline = time.monotonic() + 60
        while measure() == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
    LAMBDA.update_event_source_mapping(UUID=mapping["UUID"], MaximumRecordAgeInSeconds=mapping["MaximumRecordAgeInSeconds"])
    letters = [message["Body"] for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])]
    if len(letters) != 1 or "DDBStreamBatchInfo" not in json.loads(letters[0]) or "given-up" in letters[0]:
        sys.exit(f"alarms: the dead letters are {letters}")
    expect(True, name_of(alarm))


def of_aws(alarm):
    """Provokes what AWS measures of the function that the alarm is named after, as often as it takes."""
    [function] = (name for name in MISSING if name_of(alarm).lower().startswith(name.removeprefix(f"{stack.NAME}-")))
    times = alarm["Threshold"]
    if total(alarm) != 0:
        sys.exit(f"alarms: {name_of(alarm)} has a reason before there is one")
    if alarm["MetricName"] == "Errors":
        fail(function, times)
    else:
        throttle(function, times)
    background()
    if total(alarm) < times:
        sys.exit(f"alarms: {name_of(alarm)} does not watch {function}")
    publish(OWN, [{"MetricName": "Requests", "Value": 1}])
    expect(True, name_of(alarm))


def told():
    """The alarms of which the topic's subscriber was told."""
    sqs, names = stack.client("sqs"), set()
    queue = sqs.get_queue_url(QueueName="alarms")["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        notices = [json.loads(json.loads(message["Body"])["Message"]) for message in messages]
        names |= {name_of(notice) for notice in notices if notice["NewStateValue"] == "ALARM"}
    return names


def main():
    alarms = {name_of(alarm): alarm for _, _, alarm in stack.resources("AWS::CloudWatch::Alarm")}
    fired = set()

    # The one that waits for something that does not happen fires first, and ends with what happened.
    low = {name for name, alarm in alarms.items() if alarm["ComparisonOperator"] == "LessThanThreshold"}
    for name in low:
        publish(OWN, [{"MetricName": alarms[name]["MetricName"], "Value": alarms[name]["Threshold"] - 1}])
        expect(True, name)
    background()
    found = list(measured())
    if {namespace for namespace, _ in found} != {OWN}:
        sys.exit(f"alarms: measured into {sorted({namespace for namespace, _ in found})}, and not into {OWN}")
    publish(OWN, [datum for _, datum in found])
    if firing():
        sys.exit(f"alarms: a service that is well sets off {sorted(firing())}")

    # The queue's last: what fills it makes the sealer's other alarms fire.
    for name, alarm in sorted(alarms.items(), key=lambda item: item[1]["Namespace"] == "AWS/SQS"):
        if alarm["Namespace"] == "AWS/SQS":
            of_the_queue(alarm)
        elif alarm["Namespace"] != OWN:
            of_aws(alarm)
        elif name not in low:
            of_the_service(alarm)
        fired.add(name)
    if (names := told()) != fired:
        sys.exit(f"alarms: fired {sorted(fired)}, and told was of {sorted(names)}")

    endpoints = [properties["TargetFunctionArn"] for _, _, properties in stack.resources("AWS::Lambda::Url")]
    for name, provoke in (("FunctionErrors", fail), ("FunctionThrottles", throttle)):
        for function in endpoints:
            provoke(function, 1)
        queries = stack.resolved(stack.template()["Resources"][f"{name}Alarm"]["Properties"])["Metrics"]
        metrics = [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]
        totals = {metric["Dimensions"][0]["Value"]: total(metric) for metric in metrics}
        # The emulator counts a throttled call twice.
        if totals.keys() != set(endpoints) or not all(totals.values()):
            sys.exit(f"alarms: {name} does not watch each endpoint: {totals}")

    every = {name.removesuffix("Alarm") for name, it in stack.template()["Resources"].items() if it["Type"] == "AWS::CloudWatch::Alarm"}
    if fired != every - NOT_FIRED or not NOT_FIRED <= every:
        sys.exit(f"alarms: fired {sorted(fired)}, of {sorted(every)}")
    print(f"alarms: {len(fired)} of {len(every)} fire and tell their topic, and none before; the others calculate")


main()
