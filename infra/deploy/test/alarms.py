"""Has the alarms fire in the deployed stack, after it was asserted that none does. Whoever subscribed to their topic is told.

What AWS measures is provoked: functions that cannot start, or cannot work, and functions that are not let run. What functions measure
of themselves is published from their logs, as CloudWatch does, and leaves every alarm quiet. Then each of these alarms is given the last
value that is quiet, and the first one that is not; that there are such values when there is a reason, `tests/tests/it/metrics.rs` asserts.

The emulator evaluates an alarm whenever a value is published, over all its periods at once, and whatever the dimensions. So what was
provoked is read with the alarm's own dimensions, too.
"""

import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import boto3
from botocore.config import Config

import stack
from measured import measured

OWN = f"Storage/{stack.NAME}"
CALCULATES = "the emulator does not calculate with metrics, and the template has it on AWS alone"
NOT_FIRED = {
    "FunctionErrors": f"{CALCULATES}; each of its metrics is provoked",
    "FunctionThrottles": f"{CALCULATES}; each of its metrics is provoked",
    "SealDeadLetters": "the emulator does not measure queues",
    "ServerErrorRate": CALCULATES,
    "SpacesErrorRate": CALCULATES,
    "StorageNearlyFull": CALCULATES,
    "StreamIteratorAge": "the emulator does not measure streams",
    "UnusualUploadVolume": CALCULATES,
    "UploadFailureRate": CALCULATES,
}
# What a function cannot work without, or, if it is an endpoint, not even start.
MISSING = {f"{stack.NAME}-maintenance": {"SPACES_BUCKET": ""}, f"{stack.NAME}-seal": {"AUDIT_ORIGIN": ""}}
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
    """Gives an alarm on what a function measures the last value that is quiet, and the first one that is not."""
    quiet = alarm["Threshold"] - (alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold")
    values = [quiet - total(alarm), 1] if alarm.get("Statistic") == "Sum" else [quiet, quiet + 1]
    # Enough for a percentile to be that of these.
    times = 10000 if "ExtendedStatistic" in alarm else 1
    for fires, value in enumerate(values):
        publish(OWN, [{"MetricName": alarm["MetricName"], "Values": [value], "Counts": [times]}])
        expect(bool(fires), name_of(alarm))


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

    for name, alarm in alarms.items():
        if name in NOT_FIRED:
            if CLOUDWATCH.list_metrics(Namespace=alarm["Namespace"], MetricName=alarm["MetricName"])["Metrics"]:
                sys.exit(f"alarms: what {name} watches is measured by the emulator: take it from the list")
        elif alarm["Namespace"] != OWN:
            of_aws(alarm)
            fired.add(name)
        elif name not in low:
            of_the_service(alarm)
            fired.add(name)
    fired |= low
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
    if fired != every - NOT_FIRED.keys() or not NOT_FIRED.keys() <= every:
        sys.exit(f"alarms: fired {sorted(fired)}, of {sorted(every)}")
    print(f"alarms: {len(fired)} of {len(every)} fire and tell their topic, and none before; the others have their reasons")


main()
