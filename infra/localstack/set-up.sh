#!/usr/bin/env bash
# Makes what the service needs in an emulator of AWS: its tables, its buckets, the buckets' CORS. Done again, it changes nothing.
# LocalStack runs it in its container when it is ready; for MiniStack, run it yourself. Needs the aws client.
set -euo pipefail
[ -z "${ENVIRONMENT-}" ] || ENVIRONMENT=$(realpath "$ENVIRONMENT")
cd "$(dirname "$0")"

set -a
. "${ENVIRONMENT:-./environment}"
AWS_ENDPOINT_URL=$DYNAMODB_ENDPOINT
set +a
aws=aws
if command -v awslocal >/dev/null; then aws=awslocal; fi

tables=$($aws dynamodb list-tables --query TableNames --output text)
for file in tables/*.json; do
  table=$(basename "$file" .json)
  if [[ " ${tables//$'\t'/ } " == *" $table "* ]]; then continue; fi
  $aws dynamodb create-table --cli-input-json "file://$file" >/dev/null
  $aws dynamodb wait table-exists --table-name "$table"
  if [ "$table" != file_records ]; then
    $aws dynamodb update-time-to-live --table-name "$table" \
      --time-to-live-specification Enabled=true,AttributeName=ttl >/dev/null
  fi
done

for bucket in "$SPACES_BUCKET" "$AUDIT_ARCHIVE_BUCKET"; do
  if ! $aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
    $aws s3api create-bucket --bucket "$bucket" >/dev/null
  fi
done
$aws s3api put-bucket-cors --bucket "$SPACES_BUCKET" --cors-configuration file://../spaces/cors.json
