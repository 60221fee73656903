"""What the deployed functions wrote into their logs in the embedded metric format, as CloudWatch makes metrics of it: the emulator
keeps the logs and does not."""

import json

import stack


def measured(start=0):
    """Of each metric without dimensions, which is what alarms watch: namespace, and a datum. `start` is in ms of the Unix epoch."""
    for _, _, group in stack.resources("AWS::Logs::LogGroup"):
        pages = stack.client("logs").get_paginator("filter_log_events")
        for page in pages.paginate(logGroupName=group["LogGroupName"], startTime=start):
            lines = (event["message"] for event in page["events"])
            yield from (found for line in lines if '"CloudWatchMetrics"' in line for found in of_line(json.loads(line)))


def of_line(document):
    for directive in document["_aws"]["CloudWatchMetrics"]:
        if [] in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                yield directive["Namespace"], {
                    "MetricName": metric["Name"],
                    "Timestamp": document["_aws"]["Timestamp"] / 1000,
                    "Unit": metric["Unit"],
                    "Values": document[metric["Name"]],
                }
