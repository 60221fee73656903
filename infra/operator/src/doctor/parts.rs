//! Uploads in parts, by signed URLs: what they take, what they must refuse, and when they end.

use aws_sdk_s3::presigning::PresignedRequest;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::checks::{COPY_SOURCE, DEAD_PART_URL, PART_LENGTH, PART_URL};
use super::privacy::stranger;
use super::probe::Probe;
use crate::report::{Finding, Report};
use crate::stores::Refusal;
use crate::web::Web;

/// The part that is sent: the only one of its upload, so it may be this small.
const PART: &[u8] = b"a part";

const NO_PARTS: &str =
    "Uploads in parts by signed URLs must work as S3 has them; check what stands before the store.";
const ENDS: &str = "A part's URL must end when its upload is completed or aborted. Use another store.";

pub(super) async fn examine(probe: &Probe<'_>, source: &str, web: &Web, report: &mut Report) {
    // What fails here fails in the check that it got to.
    if let Err(text) = completed(probe, web, report).await {
        return report.push(Finding::failed(&PART_URL, text, NO_PARTS));
    }
    if let Err(text) = aborted(probe, source, web, report).await {
        report.push(Finding::failed(&DEAD_PART_URL, text, NO_PARTS).about("aborted"));
    }
}

async fn completed(probe: &Probe<'_>, web: &Web, report: &mut Report) -> Result<(), String> {
    let (key, s3, bucket) = (probe.key("parts.txt"), &probe.stores.s3, probe.stores.bucket());
    let (id, url) = begin(probe, &key).await?;
    let longer = [PART, b" and more"].concat();
    let remedy =
        "The length is signed; a store that takes another does not check signatures. Use another store.";
    report.push(stranger(&PART_LENGTH, web.send_signed(&url, &[], longer).await, remedy));

    let sent = web.send_signed(&url, &[], PART.to_vec()).await?;
    if !sent.is_success() {
        return Err(format!("a part is refused (status {})", sent.status));
    }
    let part = CompletedPart::builder().part_number(1).e_tag(sent.header("etag")).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete =
        s3.complete_multipart_upload().bucket(bucket).key(&key).upload_id(&id).multipart_upload(parts);
    complete.send().await.map_err(|error| format!("it is not completed: {}", Refusal::from(error).text))?;
    let head = s3.head_object().bucket(bucket).key(&key).send().await;
    let size = head.map_err(|error| Refusal::from(error).text)?.content_length.unwrap_or_default();
    if usize::try_from(size) != Ok(PART.len()) {
        return Err(format!("the file has {size} bytes where {} were sent", PART.len()));
    }
    report.push(Finding::ok(&PART_URL, "taken, and a file"));
    let again = web.send_signed(&url, &[], PART.to_vec()).await;
    report.push(stranger(&DEAD_PART_URL, again, ENDS).about("completed"));
    Ok(())
}

async fn aborted(probe: &Probe<'_>, source: &str, web: &Web, report: &mut Report) -> Result<(), String> {
    let key = probe.key("given-up.txt");
    let (id, url) = begin(probe, &key).await?;
    report.push(copy_source(probe, &key, &id, source, &url, web).await?);
    probe.abort(&key, &id).await.map_err(|refusal| format!("it is not aborted: {}", refusal.text))?;
    let again = web.send_signed(&url, &[], PART.to_vec()).await;
    report.push(stranger(&DEAD_PART_URL, again, ENDS).about("aborted"));
    Ok(())
}

async fn begin(probe: &Probe<'_>, key: &str) -> Result<(String, PresignedRequest), String> {
    let id = probe.begin(key).await.map_err(|refusal| format!("it is not begun: {}", refusal.text))?;
    let url = probe.part_url(key, &id, PART.len()).await?;
    Ok((id, url))
}

/// The source is an object of our own, of another size than the part: so it shows which of them was stored.
async fn copy_source(
    probe: &Probe<'_>,
    key: &str,
    id: &str,
    source: &str,
    url: &PresignedRequest,
    web: &Web,
) -> Result<Finding, String> {
    let (s3, bucket) = (&probe.stores.s3, probe.stores.bucket());
    let source = format!("/{bucket}/{source}");
    let answer = web.send_signed(url, &[("x-amz-copy-source", &source)], PART.to_vec()).await?;
    if answer.is_refused() {
        return Ok(Finding::ok(&COPY_SOURCE, format!("refused (status {})", answer.status)));
    }
    let parts = s3.list_parts().bucket(bucket).key(key).upload_id(id).send().await;
    let size = parts.ok().and_then(|parts| parts.parts().first().and_then(|part| part.size()));
    if size.and_then(|size| usize::try_from(size).ok()) == Some(PART.len()) {
        return Ok(Finding::ok(&COPY_SOURCE, "ignored: the part is what was sent"));
    }
    Ok(Finding::failed(
        &COPY_SOURCE,
        format!("honoured (status {})", answer.status),
        "Do not use this store: SigV4 has x-amz-* headers refused that are not signed, and this store copies. Some emulators do; \
         there say --allow copy-source.",
    ))
}
