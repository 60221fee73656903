//! The list of checks: what each asks, and what it means if the answer is no.

use crate::report::Check;

macro_rules! checks {
    ($($group:ident { $($name:ident $id:literal, $asks:literal, $meaning:literal;)* })*) => {
        $($(pub(super) static $name: Check = Check { id: $id, asks: $asks, meaning: $meaning };)*
        pub(super) static $group: &[&Check] = &[$(&$name),*];)*
        /// Every check, by what it is about: the settings, Spaces, the archive, the tables.
        pub static CHECKS: &[&[&Check]] = &[$($group),*];
    };
}

checks! {
    SETTINGS {
        VARIABLES "variables", "Are the variables set, and do they fit together?",
            "Functions answer \"Storage service not properly configured\" to everything.";
        POLICIES "policies", "Are the policies valid?",
            "No function starts.";
        SIGNING_KEY "signing-key", "Does the key sign that checkpoints of the audit log are signed with?",
            "The audit log is not sealed.";
    }
    SPACES {
        ENDPOINT "endpoint", "Does a store that speaks S3 answer at SPACES_ENDPOINT?",
            "No file can be stored or read.";
        CLOCK "clock", "Do the store's clock and this machine's agree?",
            "Signatures carry a time: beyond 15 minutes the store refuses everything, and signed URLs end early or late.";
        REGION "region", "Is SPACES_REGION the bucket's region?",
            "The store refuses signatures for another region.";
        KEY "key", "Does the store know SPACES_ACCESS_KEY?",
            "The store refuses everything.";
        SECRET "secret", "Is SPACES_SECRET_KEY that key's secret?",
            "The store refuses everything.";
        BUCKET "bucket", "Is there a bucket SPACES_BUCKET?",
            "No file can be stored or read.";
        LIST "list", "May the key list the bucket?",
            "Maintenance cannot hold bucket and records against each other.";
        WRITE "write", "May the key store an object, privately?",
            "Files do not upload.";
        READ "read", "Does an object come back as it was stored, with its metadata?",
            "What is stored cannot be trusted to be what was uploaded.";
        KEY_LENGTH "key-length", "Does the store take the longest path there can be?",
            "Files with long names do not upload.";
        CHECKSUMS "checksums", "Does the store take the CRC32 that AWS's SDKs send by default?",
            "The service sends none and works; other programs need request_checksum_calculation=when_required.";
        ACL "acl", "Do bucket and object belong to their owner alone?",
            "Files are public.";
        ANONYMOUS_READ "anonymous-read", "Is a file refused to who has only its address?",
            "Files are public.";
        ANONYMOUS_LIST "anonymous-list", "Is a listing refused to strangers?",
            "The names of all files are public.";
        SIGNED_URL "signed-url", "Does a signed URL give the file, under the name and type that it was signed for?",
            "Links do not work, or save under wrong names.";
        EXPIRED_URL "expired-url", "Is a signed URL refused after its time?",
            "Links live for ever.";
        CORS "cors", "May pages of your origins GET files and PUT parts, and read ETag?",
            "Browsers show nothing and upload nothing large, although everything else works.";
        PART_URL "part-url", "Does a signed URL take a part of a large file, and does the file come of it?",
            "Files of more than 4 MiB do not upload.";
        PART_LENGTH "part-length", "Does such a URL refuse another length?",
            "Whoever has a URL can store more than was granted.";
        DEAD_PART_URL "dead-part-url", "Does such a URL end with its upload?",
            "Whoever has a URL can store bytes that nobody looks at.";
        COPY_SOURCE "copy-source", "Does such a URL refuse x-amz-copy-source, which was not signed?",
            "Whoever has a URL can copy another organisation's file into his own upload.";
        DELETE "delete", "May the key remove an object?",
            "What is deleted for good stays in the bucket.";
        LIFECYCLE "lifecycle", "Does the bucket abort uploads that were given up, and leave files alone?",
            "Parts of lost uploads are paid for until maintenance finds them; or files disappear behind the service's back.";
    }
    ARCHIVE {
        ARCHIVE_BUCKET "archive", "Can the archive of the audit log be written and read?",
            "The audit log is not sealed, and proofs are not had.";
        ARCHIVE_PRIVATE "archive-private", "Is the archive refused to strangers?",
            "The audit log is public: who did what to which file.";
        OBJECT_LOCK "object-lock", "Does the archive have Object Lock, and the service know it?",
            "Whoever has the archive's key can replace what was sealed, or what is to be locked is refused.";
    }
    TABLES {
        TABLES_ACCESS "tables-access", "Does a store that speaks DynamoDB answer, and take our key?",
            "Every request is answered 503.";
        TABLE "tables", "Is each table there, with its keys, indexes, expiry and stream?",
            "Requests that need what is missing are answered 503; without the stream nothing is sealed.";
        BACKUPS "backups", "Is each table protected from deletion, and restorable to a moment?",
            "A mistake of an operator is for ever.";
        TRANSACTIONS "transactions", "Does the store have transactions, with conditions and tokens?",
            "Nothing is safe: effects without entries in the audit log. The service does not work without.";
    }
}
