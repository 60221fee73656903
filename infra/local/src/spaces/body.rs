//! Bytes on their way in and out, between the async side and the store's blocking one.
//!
//! A request's body goes through a channel to one blocking job, which writes, hashes, compares and commits: a part
//! is never whole in memory, and a client that goes away in the middle only ends the channel, which makes the job
//! remove its file.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use futures_util::StreamExt;
use hyper::HeaderMap;
use hyper::body::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3Request, S3Result, TrailingHeaders, s3_error};
use tokio::sync::mpsc;

use super::errors::{internal, unreadable_body};
use super::files::{NewFile, Reader};
use super::store::{Store, StoreError};

/// Pieces under way between the connection and the disk.
const PIECES: usize = 8;

/// What a request says about its body.
#[derive(Debug)]
pub(super) struct Claims {
    /// `Content-Length`, or the decoded length of a chunked upload, in bytes.
    size: Option<i64>,
    /// `Content-MD5` and `x-amz-checksum-*`, all base64, and in `x-amz-trailer` the names of what follows the body.
    headers: HeaderMap,
    /// Where that will be found.
    trailers: Option<TrailingHeaders>,
}

impl Claims {
    /// The claims of a request whose body has `size` bytes as far as it says.
    pub(super) fn of<T>(request: &S3Request<T>, size: Option<i64>) -> Self {
        Self { size, headers: request.headers.clone(), trailers: request.trailing_headers.clone() }
    }
}

/// A body that arrived whole and is what the request said.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) file: NewFile,
    /// In hexadecimal.
    pub(super) md5: String,
    /// Those that were asked for, base64.
    pub(super) checksums: Checksum,
}

/// Takes a body in and gives it to `commit`, in one job off the async threads.
pub(super) async fn receive<T: Send + 'static>(
    store: Arc<Store>,
    body: Option<StreamingBlob>,
    claims: Claims,
    commit: impl FnOnce(&Store, Received) -> Result<T, StoreError> + Send + 'static,
) -> S3Result<T> {
    let (pieces, arriving) = mpsc::channel(PIECES);
    let job = tokio::task::spawn_blocking(move || {
        let received = write(&store, claims, arriving)?;
        commit(&store, received).map_err(S3Error::from)
    });
    let sent = match body {
        Some(body) => send(body, pieces).await,
        None => pieces.send(Piece::End).await.map_err(|_| None),
    };
    // Even then the job is waited for, so that nothing is left when the client hears of it.
    let done = job.await.unwrap_or_else(|error| Err(internal(&error)));
    match sent {
        // Why the body stopped says more than what that made of the job.
        Err(Some(error)) => Err(error),
        Ok(()) | Err(None) => done,
    }
}

/// A body out of an object's bytes, read off the async threads.
pub(super) fn stream(reader: Reader) -> StreamingBlob {
    StreamingBlob::wrap(futures_util::stream::try_unfold(reader, |mut reader| async move {
        let read = tokio::task::spawn_blocking(move || reader.read().map(|piece| (piece, reader)));
        let (piece, reader) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>(piece.map(|piece| (piece, reader)))
    }))
}

enum Piece {
    Bytes(Bytes),
    /// The body is complete. Without it, the channel's end means that the client is gone.
    End,
}

/// `Err(None)`: the job has ended early and has its own reason.
async fn send(mut body: StreamingBlob, pieces: mpsc::Sender<Piece>) -> Result<(), Option<S3Error>> {
    while let Some(piece) = body.next().await {
        let bytes = piece.map_err(|error| Some(unreadable_body(&error)))?;
        pieces.send(Piece::Bytes(bytes)).await.map_err(|_| None)?;
    }
    pieces.send(Piece::End).await.map_err(|_| None)
}

fn write(store: &Store, claims: Claims, mut arriving: mpsc::Receiver<Piece>) -> S3Result<Received> {
    let claimed_md5 = text(&claims.headers, "content-md5").map(decode_md5).transpose()?;
    let mut file = store.new_file()?;
    let mut md5 = Md5::new();
    let mut hasher = claims.hasher();
    loop {
        match arriving.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                file.write(&bytes).map_err(StoreError::from)?;
                md5.update(&bytes);
                hasher.update(&bytes);
            }
            Some(Piece::End) => break,
            None => return Err(incomplete()),
        }
    }
    if claims.size.is_some_and(|size| u64::try_from(size) != Ok(file.size())) {
        return Err(incomplete());
    }
    let md5 = md5.finalize();
    if claimed_md5.is_some_and(|claimed| claimed != md5) {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
    }
    let checksums = hasher.finalize();
    claims.compare(&checksums)?;
    Ok(Received { file, md5: HEXLOWER.encode(&md5), checksums })
}

fn incomplete() -> S3Error {
    s3_error!(
        IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header."
    )
}

fn decode_md5(text: &str) -> S3Result<[u8; 16]> {
    let bytes = BASE64.decode(text.as_bytes()).unwrap_or_default();
    bytes.try_into().map_err(|_| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

const CRC32: &str = "x-amz-checksum-crc32";
const CRC32C: &str = "x-amz-checksum-crc32c";
const SHA1: &str = "x-amz-checksum-sha1";
const SHA256: &str = "x-amz-checksum-sha256";
const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

impl Claims {
    /// Hashes what the request has a checksum for, and nothing else.
    fn hasher(&self) -> ChecksumHasher {
        let announced = text(&self.headers, "x-amz-trailer").unwrap_or_default();
        let wanted = |name: &str| {
            self.headers.contains_key(name)
                || announced.split(',').any(|header| header.trim().eq_ignore_ascii_case(name))
        };
        ChecksumHasher {
            crc32: wanted(CRC32).then(Crc32::new),
            crc32c: wanted(CRC32C).then(Crc32c::new),
            sha1: wanted(SHA1).then(Sha1::new),
            sha256: wanted(SHA256).then(Sha256::new),
            crc64nvme: wanted(CRC64NVME).then(Crc64Nvme::new),
        }
    }

    fn compare(&self, computed: &Checksum) -> S3Result<()> {
        let trailers = self.trailers.as_ref().and_then(TrailingHeaders::take).unwrap_or_default();
        for (name, computed) in [
            (CRC32, &computed.checksum_crc32),
            (CRC32C, &computed.checksum_crc32c),
            (SHA1, &computed.checksum_sha1),
            (SHA256, &computed.checksum_sha256),
            (CRC64NVME, &computed.checksum_crc64nvme),
        ] {
            // What was announced must have come, and what came must have been announced.
            let claimed = text(&self.headers, name).or_else(|| text(&trailers, name));
            if computed.as_deref() != claimed {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match what we received.",
                    name
                ));
            }
        }
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
