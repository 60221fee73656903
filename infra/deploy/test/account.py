"""Prepares the emulated account as `infra/deploy/README.md` says: the deploy role, secrets, the bucket for the code, the bucket that
stands for the Space, with a key that may use this bucket alone, and who is told of alarms: a queue. Prints the parameters of the stack.

    account.py ENDPOINT ENDPOINT_OF_THE_FUNCTIONS JWT_SECRET
"""

import json
import sys

from stack import REGION, account, client

ENDPOINT = sys.argv[1]
FILES = "arn:aws:s3:::files"


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]})


def main():
    iam, secrets, s3 = client("iam"), client("secretsmanager"), client("s3")
    trust = policy({"Principal": {"AWS": account()}, "Action": "sts:AssumeRole"})
    deploy = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="deploy", PolicyName="deploy", PolicyDocument=policy({"Action": "*", "Resource": "*"}))

    s3.create_bucket(Bucket="code")
    s3.create_bucket(Bucket="files")
    iam.create_user(UserName="spaces")
    objects = ["GetObject", "PutObject", "PutObjectAcl", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploadParts"]
    lists = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    objects = {"Action": [f"s3:{name}" for name in objects], "Resource": f"{FILES}/*"}
    rights = policy(objects, {"Action": lists, "Resource": FILES})
    iam.put_user_policy(UserName="spaces", PolicyName="files", PolicyDocument=rights)
    key = iam.create_access_key(UserName="spaces")["AccessKey"]

    topic = client("sns").create_topic(Name="storage-alarms")["TopicArn"]
    queue = f"arn:aws:sqs:{REGION}:{account()}:alarms"
    told = policy({"Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue})
    client("sqs").create_queue(QueueName="alarms", Attributes={"Policy": told})
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)

    spaces = json.dumps({"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]})
    parameters = {
        "Architecture": "x86_64",
        "AllowedOrigins": "https://app.example.com,https://admin.example.com",
        "DeployRoleArn": deploy,
        "SpacesEndpoint": ENDPOINT,
        "SpacesRegion": "us-east-1",
        "SpacesBucket": "files",
        "SpacesSecretArn": secrets.create_secret(Name="storage/spaces", SecretString=spaces)["ARN"],
        "JwtSecretArn": secrets.create_secret(Name="storage/jwt", SecretString=sys.argv[3])["ARN"],
        "AuditOrigin": "audit.example.com",
        "AlarmTopicArn": topic,
        "IdentityProviderOrigins": "https://id.example.com",
        "AwsEndpoint": sys.argv[2],
    }
    print(*(f"{name}={value}" for name, value in parameters.items()), sep="\n")


main()
