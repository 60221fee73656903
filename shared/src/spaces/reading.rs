//! Reading stored bytes: a few ranges of an object, or all of it.
//!
//! Bytes are streamed, and of one object or not at all: every request says which entity tag it wants. A connection
//! that is cut is continued where it stopped. What the bytes mean is others' business.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tokio::time::timeout;

use super::{ATTEMPT_LIMIT, Call, Spaces, SpacesError, attempt, missing, or_answer, size, tries};
use crate::clock::Deadline;
use crate::metrics::{self, Operation};

/// Between two ranges, up to this many bytes are read and thrown away: sooner there than another request. Eight at a time,
/// requests of some 30 ms each cost 4 ms, in which a function reads about as much. So the slowest ZIP of 1 GiB takes 4,096
/// requests, or is read as a whole, which is about the same.
const NEAR_BYTES: u64 = 256 * 1024;
/// Near ranges share a request until it reads this much, since one connection carries only so much in its time.
const REQUEST_BYTES: u64 = 4 * 1024 * 1024;
/// Requests under way at a time, for one read.
const SIDE_BY_SIDE: usize = 8;
/// For the metrics: the time until the first byte.
const GET: Call = Call::Spaces(Operation::GetObject);
/// Requests for the same bytes, or for what was missing of them.
const ATTEMPTS: usize = 8;

/// Why an object was not read.
#[derive(Debug, Clone, Error)]
pub(crate) enum ReadError {
    /// The time is over; nothing is wrong with the object as far as it was read.
    #[error("not enough time to read an object")]
    OutOfTime,
    /// There is not, or no longer, an object with this entity tag under the key.
    #[error("the object is not the one that was to be read")]
    Changed,
    /// The store failed.
    #[error(transparent)]
    Spaces(#[from] SpacesError),
}

impl Spaces {
    /// The bytes of each of `ranges`, in their order, each with its start. Ranges may touch and overlap; all of them
    /// are held in memory, and beyond them only what has just arrived.
    ///
    /// # Errors
    /// [`ReadError`]; a range beyond the end is [`SpacesError::Refused`].
    pub(crate) async fn read_ranges(
        &self,
        key: &str,
        etag: &str,
        ranges: &[Range<u64>],
        deadline: Deadline,
    ) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let requests = stream::iter(coalesced(ranges).into_iter().map(|mut request| async move {
            let span = request.span.clone();
            self.read(key, etag, span.start, Some(span.end), deadline, |at, bytes| request.take(at, bytes))
                .await?;
            Ok::<_, ReadError>(request.wanted)
        }));
        let wanted: Vec<Vec<Wanted>> = requests.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
        let mut wanted: Vec<Wanted> = wanted.into_iter().flatten().collect();
        wanted.sort_unstable_by_key(|wanted| wanted.place);
        Ok(wanted.into_iter().map(|wanted| (wanted.range.start, wanted.bytes)).collect())
    }

    /// Gives a whole object to `on_chunk`, in order and piece by piece.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) async fn read_all(
        &self,
        key: &str,
        etag: &str,
        deadline: Deadline,
        mut on_chunk: impl FnMut(&[u8]) + Send,
    ) -> Result<(), ReadError> {
        self.read(key, etag, 0, None, deadline, |_, bytes| on_chunk(bytes)).await
    }

    /// Gives the bytes from `at` to `end`, or to the end of the object, to `on_chunk`, each piece with its position.
    async fn read(
        &self,
        key: &str,
        etag: &str,
        mut at: u64,
        mut end: Option<u64>,
        deadline: Deadline,
        mut on_chunk: impl FnMut(u64, &[u8]) + Send,
    ) -> Result<(), ReadError> {
        let start = at;
        let mut last = ReadError::OutOfTime;
        let mut tries = tries(deadline.cap(Duration::MAX));
        if end.is_some_and(|end| at >= end) {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let Some(limit) = tries.next().await else {
                return Err(if at > start { ReadError::OutOfTime } else { last });
            };
            let answer = match attempt(GET, limit, self.get(key, etag, at, end)).await {
                Ok(answer) => answer.ok_or(ReadError::Changed)?,
                Err(error @ (SpacesError::Unanswered(_) | SpacesError::Unavailable(_))) => {
                    last = error.into();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // Whoever asks for everything learns here how much that is.
            let end = *end.get_or_insert(at + size(answer.content_length)?);
            let mut body = answer.body;
            while at < end {
                let limit = deadline.cap(ATTEMPT_LIMIT);
                // What is there already comes however little time it is given.
                if limit.is_zero() {
                    return Err(ReadError::OutOfTime);
                }
                match timeout(limit, body.try_next()).await {
                    Ok(Ok(Some(bytes))) => {
                        on_chunk(at, &bytes);
                        at += bytes.len() as u64;
                    }
                    Err(_) if limit < ATTEMPT_LIMIT => return Err(ReadError::OutOfTime),
                    Ok(Ok(None) | Err(_)) | Err(_) => break,
                }
            }
            if at >= end {
                return Ok(());
            }
            let cut = SpacesError::Unanswered("the connection was cut".into());
            metrics::count(GET.errors(Some(cut.class())));
            last = cut.into();
        }
        Err(last)
    }

    /// None: there is not, or no longer, an object with this entity tag.
    async fn get(
        &self,
        key: &str,
        etag: &str,
        at: u64,
        end: Option<u64>,
    ) -> Result<Option<GetObjectOutput>, SpacesError> {
        // Nothing is asked for without a byte, so the last one has a number; an object of no bytes has no range.
        let range = end.map(|end| format!("bytes={at}-{}", end.saturating_sub(1)));
        let get =
            self.client.get_object().bucket(&self.bucket).key(key).if_match(etag).set_range(range.clone());
        let answer = or_answer(get.send().await.map(Some), |code, status| {
            (status == 412 || code == "NoSuchKey").then_some(None)
        });
        let Some(answer) = answer? else { return Ok(None) };
        let is_there = |said: &str| said.starts_with(&format!("bytes {at}-"));
        if range.is_some() && !answer.content_range.as_deref().is_some_and(is_there) {
            return Err(missing("range that was asked for"));
        }
        Ok(Some(answer))
    }
}

/// One request, and what is wanted of it.
struct Request {
    span: Range<u64>,
    wanted: Vec<Wanted>,
}

/// A range that was asked for and what has arrived of it.
struct Wanted {
    /// Its place among those that were asked for.
    place: usize,
    range: Range<u64>,
    bytes: Vec<u8>,
}

impl Request {
    /// Takes what is wanted out of bytes that stand at `at`. Bytes come in order and once.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        for Wanted { range, bytes: kept, .. } in &mut self.wanted {
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                // Both lie within `bytes`, so the differences fit.
                let place = |position: u64| usize::try_from(position - at).unwrap_or(usize::MAX);
                kept.extend(bytes.get(place(from)..place(to)).unwrap_or_default());
            }
        }
    }
}

/// The requests that together bring all ranges.
fn coalesced(ranges: &[Range<u64>]) -> Vec<Request> {
    let mut sorted: Vec<(usize, Range<u64>)> = ranges.iter().cloned().enumerate().collect();
    sorted.sort_unstable_by_key(|(_, range)| range.start);
    let mut requests: Vec<Request> = Vec::new();
    for (place, range) in sorted {
        let wanted = Wanted { place, range: range.clone(), bytes: Vec::new() };
        match requests.last_mut() {
            Some(request) if request.reaches(&range) => {
                request.span.end = request.span.end.max(range.end);
                request.wanted.push(wanted);
            }
            _ => requests.push(Request { span: range, wanted: vec![wanted] }),
        }
    }
    requests
}

impl Request {
    /// Whether a range that does not begin before this one is better read along.
    fn reaches(&self, range: &Range<u64>) -> bool {
        let is_near = range.start <= self.span.end.saturating_add(NEAR_BYTES);
        let is_short = range.end.max(self.span.end) - self.span.start <= REQUEST_BYTES;
        is_near && (is_short || range.end <= self.span.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Starts and ends of what is asked for, and what becomes of `ranges` if pieces of `piece` bytes arrive.
    fn read(ranges: &[Range<u64>], piece: u64) -> (Vec<(u64, u64)>, Vec<Vec<u8>>) {
        let (mut spans, mut read) = (Vec::new(), Vec::new());
        for mut request in coalesced(ranges) {
            let Range { start: mut at, end } = request.span;
            spans.push((at, end));
            while at < end {
                let next = (at + piece).min(end);
                request.take(at, &(at..next).map(byte).collect::<Vec<_>>());
                at = next;
            }
            read.extend(request.wanted.into_iter().map(|wanted| (wanted.place, wanted.bytes)));
        }
        read.sort();
        (spans, read.into_iter().map(|(_, bytes)| bytes).collect())
    }

    fn byte(at: u64) -> u8 {
        (at % 251) as u8
    }

    proptest! {
        #[test]
        fn every_wanted_byte_is_delivered_exactly_once(
            ranges in vec((0_u64..900_000, 0_u64..3_000), 0..12),
            piece in 1_u64..10_000,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(start, size)| start..start + size).collect();
            let (spans, read) = read(&ranges, piece);
            let expected: Vec<Vec<u8>> = ranges.iter().map(|range| range.clone().map(byte).collect()).collect();
            prop_assert_eq!(read, expected);
            for pair in spans.windows(2) {
                prop_assert!(pair[0].1 + NEAR_BYTES < pair[1].0, "{pair:?} should be one request");
            }
        }
    }

    #[test]
    fn what_is_near_is_one_request_and_what_is_far_is_not() {
        let spans = |ranges: &[Range<u64>]| read(ranges, 4_096).0;
        assert_eq!(spans(&[0..10, 10 + NEAR_BYTES..300_000]), [(0, 300_000)]);
        assert_eq!(spans(&[0..10, 11 + NEAR_BYTES..300_000]), [(0, 10), (262_155, 300_000)]);
        assert_eq!(spans(&[50..60, 0..100, 20..30]), [(0, 100)]);
        assert_eq!(spans(&[]), []);
    }

    #[test]
    fn near_ranges_without_end_are_several_requests() {
        let ranges: Vec<_> = (0..200_u64).map(|place| place * 60_000..place * 60_000 + 10).collect();
        let spans = read(&ranges, 1 << 20).0;
        assert_eq!(spans.len(), 3, "12 MB: {spans:?}");
        assert!(spans.iter().all(|(start, end)| end - start <= REQUEST_BYTES), "{spans:?}");
        let long = 3 * REQUEST_BYTES;
        assert_eq!(
            read(&[0..long, 5..6], 1 << 20).0,
            [(0, long)],
            "a range that was asked for is one request"
        );
    }
}
