"""Prints credentials of the deploy role: key id, secret, session token."""

from stack import account, client

role = f"arn:aws:iam::{account()}:role/deploy"
key = client("sts").assume_role(RoleArn=role, RoleSessionName="check")["Credentials"]
print(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
