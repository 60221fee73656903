//! A file of which pieces are read gets the verdict of the whole file, whatever the pieces; and hostile files end.

use std::ops::Range;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::catalog::ObjectType;
use crate::content::ole::tests::compound;
use crate::content::tests::{fixture, object_type};
use crate::content::{expect, prove};
use crate::zip_rules::tests::{EndRecord, Forged, entry, zip, zip_with};
use crate::zip_rules::{MAX_DIRECTORY_BYTES, ZipError};

/// How the bytes of a file arrive: what chance decides, in order and then from the beginning again.
#[derive(Debug, Clone)]
struct Delivery {
    dice: Vec<u8>,
    thrown: usize,
}

impl Delivery {
    fn exact() -> Self {
        Self { dice: vec![0], thrown: 0 }
    }

    fn throw(&mut self) -> usize {
        self.thrown += 1;
        self.dice[self.thrown % self.dice.len()].into()
    }

    /// Hands in the ranges: exact or wider, several in one, forwards or backwards, in pieces.
    fn fetch(&mut self, proof: &mut PartialProof, bytes: &[u8], ranges: &[Range<u64>]) {
        let gap = [0, 0, 40, 5_000][self.throw() % 4];
        let mut reads: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            let range = range.start as usize..range.end as usize;
            match reads.last_mut() {
                Some(last) if gap > 0 && range.start <= last.end + gap => last.end = range.end,
                _ => reads.push(range),
            }
        }
        if self.throw() % 2 == 1 {
            reads.reverse();
        }
        for read in reads {
            let wider = [0, 0, 1, 300][self.throw() % 4];
            let read = read.start.saturating_sub(wider)..(read.end + wider).min(bytes.len());
            let chunk = [usize::MAX, 1_000, 7, 1][self.throw() % 4].min(read.len().max(1));
            let chunk = chunk.max(read.len() / 500);
            for (index, piece) in bytes[read.clone()].chunks(chunk).enumerate() {
                proof.insert((read.start + index * chunk) as u64, piece);
            }
        }
    }
}

/// What a proof came to, and what it cost.
#[derive(Debug, Default)]
struct Run {
    rounds: usize,
    fetched_bytes: u64,
    streamed_bytes: u64,
    checked: u64,
}

fn run(mut proof: PartialProof, bytes: &[u8], delivery: &mut Delivery) -> (Result<(), ContentError>, Run) {
    let mut run = Run::default();
    let verdict = loop {
        let step = proof.step();
        assert!(proof.checked() >= run.checked, "progress is not lost");
        run.checked = proof.checked();
        match step {
            Ok(Step::Proved) => break Ok(()),
            Err(error) => break Err(error),
            Ok(Step::Fetch(ranges)) => {
                assert!(!ranges.is_empty());
                assert!(
                    ranges.iter().all(|range| range.start < range.end && range.end <= bytes.len() as u64)
                );
                assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "sorted, and apart");
                run.rounds += 1;
                run.fetched_bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                delivery.fetch(&mut proof, bytes, &ranges);
            }
            Ok(Step::Stream { from }) => {
                run.streamed_bytes += bytes.len() as u64 - from;
                let mut rest = &bytes[from as usize..];
                while !rest.is_empty() {
                    let chunk = [usize::MAX, 4_000, 61, 3][delivery.throw() % 4].max(rest.len() / 500);
                    let (piece, behind) = rest.split_at(chunk.min(rest.len()));
                    proof.stream(piece);
                    rest = behind;
                    // A stream that breaks goes on where it was.
                    if delivery.throw() % 16 == 15 {
                        break;
                    }
                }
            }
        }
    };
    (verdict, run)
}

fn proof(kind: &'static Kind, bytes: &[u8]) -> PartialProof {
    PartialProof::new(kind, bytes.len() as u64)
}

/// A kind, and a place that takes it.
fn kind(name: &str) -> (&'static ObjectType, &'static Kind) {
    let place = if name == "x12" { "billing/claim" } else { "communications/email-attachment" };
    let object_type = object_type(place);
    (object_type, object_type.kinds.iter().find(|kind| kind.name == name).unwrap())
}

/// The verdict on the whole file.
fn whole(name: &str, bytes: &[u8]) -> Result<(), ContentError> {
    let (object_type, kind) = kind(name);
    prove(object_type, Some(&format!("a.{}", kind.extension())), None, bytes).map(drop)
}

/// Leaves out what a beginning cannot say of a large file.
fn comparable(verdict: Result<(), ContentError>, bytes: &[u8]) -> Result<(), ContentError> {
    match verdict {
        Err(ContentError::Content { expected, .. }) if bytes.len() > 64 << 10 => {
            Err(ContentError::Content { expected, found: "" })
        }
        verdict => verdict,
    }
}

fn forged() -> impl Strategy<Value = Forged> {
    let name = prop_oneof![
        8 => "[a-d]{1,3}(/[a-d]{1,2})?/?".prop_map(String::into_bytes),
        1 => select(vec![
            "word/a.xml", "xl/b.xml", "[Content_Types].xml", "mimetype", "x.zip", "../x", "xl/vbaProject.bin"
        ]).prop_map(|name| name.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let data = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0..90_000usize).prop_map(|length| vec![b'z'; length]),
    ];
    let extra = || {
        prop_oneof![
            8 => Just(Vec::new()),
            1 => (0..900usize).prop_map(|length| [&[9, 9, length as u8, (length >> 8) as u8], vec![0; length].as_slice()].concat()),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ]
    };
    // Which lie is told, if any; most entries tell none.
    (name, data, extra(), extra(), 0..60u8, any::<u8>(), any::<bool>()).prop_map(
        |(name, data, extra, local_extra, lie, value, is_streamed)| {
            let mut forged = Forged { extra, local_extra, ..entry(&name, &data) };
            let size = (data.len() as u32).to_le_bytes();
            if is_streamed && !name.ends_with(b"/") {
                let signature: &[u8] = if value.is_multiple_of(2) { b"PK\x07\x08" } else { b"" };
                forged.flags = 8;
                forged.after = [signature, &7u32.to_le_bytes(), &size, &size].concat();
                forged.local_crc = Some(0).filter(|_| value.is_multiple_of(3));
            }
            match lie {
                0 => forged.local_name = Some(b"other".to_vec()),
                1 => forged.local_crc = Some(value.into()),
                2 => forged.offset = Some(value.into()),
                3 => forged.in_directory = false,
                4 => forged.before = vec![value; 1 + usize::from(value % 30)],
                5 => forged.after.push(value),
                6 => forged.compressed = Some(u32::from(value) << (value % 24)),
                7 => forged.local_flags = Some(value.into()),
                8 => forged.method = value.into(),
                9 => forged.attributes = u32::from(value) << 24,
                _ => {}
            }
            forged
        },
    )
}

fn archive() -> impl Strategy<Value = Vec<u8>> {
    let comment = prop_oneof![6 => Just(0usize), 1 => 0..100usize, 1 => Just(65_535usize)];
    (prop::collection::vec(forged(), 0..7), comment).prop_map(|(entries, comment)| {
        zip_with(&entries, &EndRecord { comment: vec![b'c'; comment], ..EndRecord::default() })
    })
}

fn any_fixture() -> impl Strategy<Value = Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/files");
    let files =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.collect();
    files.sort();
    select(files).prop_map(|file| fixture(&file))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let start =
        select(vec!["", "\u{feff}", "ISA*", "BEGIN:VCARD", "<svg ", "<html> ", "GIF89a", "#!/", "  \n"]);
    let end = prop_oneof![4 => Just(vec![]), 1 => Just(vec![0xe2, 0x82]), 1 => prop::collection::vec(any::<u8>(), 1..3)];
    (start, "[aé€😀\n,]{0,40}", 0..4_000usize, end).prop_map(|(start, body, times, end)| {
        [start.as_bytes(), body.repeat(times.saturating_sub(3_000).max(1)).as_bytes(), &end].concat()
    })
}

/// A picture's signature, and zeros late or never.
fn late_zero() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        &b"GIF89a"[..],
        b"\xff\xd8\xff\xe1",
        b"BM",
        b"\0\0\0\x18ftypheic",
        b"\0\x01\x11\x70ftypmif1",
    ]);
    (start, 0..150_000usize, any::<bool>()).prop_map(|(start, length, has_zero)| {
        [start, &vec![b'a'; length], &[u8::from(!has_zero) * 7], b"heic"].concat()
    })
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    let stream = select(vec!["WordDocument", "Workbook", "Book", "__properties_version1.0", "x"]);
    let good = prop_oneof![
        4 => archive(),
        3 => any_fixture(),
        2 => text(),
        1 => late_zero(),
        1 => prop::collection::vec(stream, 0..3).prop_map(|streams| compound(&streams)),
        1 => prop::collection::vec(any::<u8>(), 0..2_000),
    ];
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
    ];
    let cut = prop_oneof![9 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (good, changes, cut).prop_map(|(mut bytes, changes, cut)| {
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
        bytes
    })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop::collection::vec(any::<u8>(), 1..30).prop_map(|dice| Delivery { dice, thrown: 0 })
}

fn any_kind() -> impl Strategy<Value = &'static str> {
    let all = object_type("communications/email-attachment").kinds.iter().map(|kind| kind.name.as_str());
    let all: Vec<_> = all.chain(["x12"]).collect();
    prop_oneof![3 => Just("zip"), 1 => Just("docx"), 4 => select(all)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn pieces_get_the_verdict_of_the_whole(
        bytes in file(), name in any_kind(), mut delivery in delivery(), saved in any::<Index>()
    ) {
        let expected = comparable(whole(name, &bytes), &bytes);
        let (verdict, done) = run(proof(kind(name).1, &bytes), &bytes, &mut delivery);
        prop_assert_eq!(comparable(verdict, &bytes), expected.clone());
        prop_assert!(done.rounds < 12, "{:?}", done);

        // Cut off at any entry, and gone on with.
        let saved = saved.index(done.checked as usize + 1) as u64;
        let (verdict, again) = run(proof(kind(name).1, &bytes).resume(saved), &bytes, &mut delivery);
        prop_assert_eq!(comparable(verdict, &bytes), expected);
        prop_assert_eq!(again.checked, done.checked);
    }

    #[test]
    fn every_file_that_is_one_is_proved_and_expected(bytes in any_fixture(), mut delivery in delivery()) {
        let attachment = object_type("communications/email-attachment");
        if let Ok(found) = prove(attachment, None, None, &bytes) {
            let expected = expect(attachment, Some("a"), Some(&found.media_type)).unwrap();
            prop_assert_eq!(expected, found);
            let (verdict, run) = run(proof(found, &bytes), &bytes, &mut delivery);
            prop_assert_eq!((verdict, run.streamed_bytes), (Ok(()), 0));
        }
    }
}

#[test]
fn the_expected_kind_is_certain_or_refused() {
    let attachment = "communications/email-attachment";
    let table = [
        (attachment, "a.docx", "application/zip", Ok("docx")),
        (attachment, "a.ZIP", "", Ok("zip")),
        (attachment, "a", "application/zip", Ok("zip")),
        (attachment, "a", "text/plain; charset=utf-8", Ok("text")),
        (attachment, "", "application/vnd.ms-excel", Ok("xls")),
        (attachment, "a.csv", "application/vnd.ms-excel", Ok("csv")),
        (attachment, "a", "image/pjpeg", Ok("jpeg")),
        // An alias of several kinds, and of none's own.
        (attachment, "a", "application/x-zip-compressed", Err("invalid_file_type")),
        (attachment, "a", "text/xml", Err("invalid_file_type")),
        (attachment, "a", "application/octet-stream", Err("invalid_file_type")),
        (attachment, "", "", Err("invalid_file_type")),
        (attachment, "a.exe", "", Err("invalid_file_type")),
        (attachment, "a.pdf", "image/png", Err("file_type_mismatch")),
        // One kind is all there is, or all that content can prove.
        ("accounting/invoice", "a", "", Ok("pdf")),
        ("app-builder/build", "a", "", Ok("zip")),
        ("billing/claim", "a", "text/plain", Ok("x12")),
        ("billing/claim", "claim.txt", "", Ok("x12")),
    ];
    for (place, name, declared, expected) in table {
        let kind = expect(object_type(place), Some(name), Some(declared));
        let verdict = kind.as_ref().map(|kind| kind.name.as_str()).map_err(ContentError::code);
        assert_eq!(verdict, expected, "{place} {name:?} {declared:?}");
    }
    let refused = expect(object_type("fax/inbound"), Some("fax"), None).unwrap_err().to_string();
    assert_eq!(
        refused,
        "The file's type must be known before it is uploaded to fax/inbound: give its name an extension, or declare \
         its exact media type (allowed: pdf, tiff, tif)"
    );
}

#[test]
fn an_expected_kind_is_expected_again_by_its_own_media_type() {
    for object_type in crate::catalog::Catalog::get().iter() {
        for kind in &object_type.kinds {
            for name in std::iter::once("name").chain(kind.extensions.iter().map(String::as_str)) {
                let name = if name == "name" { name.to_owned() } else { format!("name.{name}") };
                let again = expect(object_type, Some(&name), Some(&kind.media_type));
                assert_eq!(again, Ok(*kind), "{object_type} {name}");
            }
        }
    }
}

#[test]
fn an_empty_file_is_none() {
    let (_, kind) = kind("pdf");
    assert_eq!(PartialProof::new(kind, 0).step(), Err(ContentError::Empty));
}

/// Runs the proof of a ZIP in requests that end after one batch each.
fn in_many_requests(bytes: &[u8]) -> (Result<(), ContentError>, usize) {
    let (kind, mut saved) = (kind("zip").1, 0);
    for request in 1..1_000 {
        let mut proof = proof(kind, bytes).resume(saved);
        loop {
            match proof.step() {
                Ok(Step::Proved) => return (Ok(()), request),
                Err(error) => return (Err(error), request),
                Ok(Step::Fetch(_)) if proof.checked() > saved => break,
                Ok(Step::Fetch(ranges)) => Delivery::exact().fetch(&mut proof, bytes, &ranges),
                Ok(Step::Stream { .. }) => panic!("a ZIP is not streamed"),
            }
        }
        saved = proof.checked();
    }
    panic!("no end");
}

#[test]
fn a_zip_of_ten_thousand_entries_takes_few_rounds_and_can_be_interrupted() {
    let streamed = |index: usize| Forged {
        flags: 8,
        local_crc: Some(0),
        after: [&b"PK\x07\x08"[..], &7u32.to_le_bytes(), &[0xdc, 5, 0, 0, 0xdc, 5, 0, 0]].concat(),
        ..entry(format!("node_modules/{index}/index.js"), &[b'x'; 1_500])
    };
    let mut entries: Vec<_> = (0..10_000).map(streamed).collect();
    let good = zip(&entries);
    let (verdict, done) = run(proof(kind("zip").1, &good), &good, &mut Delivery::exact());
    assert_eq!((verdict, done.checked), (Ok(()), 10_000));
    assert!(done.rounds <= 22 && done.fetched_bytes < 4 << 20, "{done:?}");
    assert_eq!(in_many_requests(&good), (Ok(()), 20));

    entries[7_654].after[5] ^= 1;
    let bad = zip(&entries);
    let expected = whole("zip", &bad);
    assert_eq!(in_many_requests(&bad), (expected.clone(), 15));
    let (verdict, done) = run(proof(kind("zip").1, &bad), &bad, &mut Delivery::exact());
    assert_eq!((verdict, done.checked), (expected, 7_655));
}

#[test]
fn hostile_archives_end_within_their_bounds() {
    // Extra fields that are long only at the entries' places: each entry takes a second, large read.
    let long = |index: usize| Forged { local_extra: vec![0; 60_000], ..entry(index.to_string(), b"") };
    let bytes = zip(&(0..1_000).map(long).collect::<Vec<_>>());
    let (verdict, done) = run(proof(kind("zip").1, &bytes), &bytes, &mut Delivery::exact());
    assert_eq!(verdict, Ok(()));
    assert!(done.rounds < 50 && done.fetched_bytes < 2 * bytes.len() as u64, "{done:?}");
    // A directory of 10 MiB is refused before it is read.
    let wide = |index: usize| Forged { extra: vec![0; 1_100], ..entry(index.to_string(), b"") };
    let bytes = zip(&(0..10_000).map(wide).collect::<Vec<_>>());
    for name in ["zip", "docx"] {
        let (verdict, done) = run(proof(kind(name).1, &bytes), &bytes, &mut Delivery::exact());
        assert_eq!(comparable(verdict, &bytes), comparable(whole(name, &bytes), &bytes));
        assert!(done.rounds <= 2 && done.fetched_bytes < 256 << 10, "{done:?}");
    }
    assert_eq!(whole("zip", &bytes), Err(ContentError::Zip(ZipError::LargeDirectory)));
    // One that is just small enough is read once.
    let wide = |index: usize| Forged { extra: vec![0; 780], ..entry(format!("{index:04}"), b"") };
    let bytes = zip(&(0..10_000).map(wide).collect::<Vec<_>>());
    let (verdict, done) = run(proof(kind("zip").1, &bytes), &bytes, &mut Delivery::exact());
    assert_eq!(verdict, Ok(()));
    assert!(done.fetched_bytes < MAX_DIRECTORY_BYTES + (10 << 20), "{done:?}");
}

#[test]
fn rounds_without_progress_end() {
    let mut proof = PartialProof::new(kind("zip").1, 1 << 30);
    assert!((0..128).all(|_| matches!(proof.step(), Ok(Step::Fetch(_)))));
    assert_eq!(proof.step(), Err(ContentError::Uncheckable));
}

/// A compound file whose directory's chain is as given, with one sector of the allocation table for 128 sectors.
fn chained(sectors: usize, chain: &[u32]) -> Vec<u8> {
    let mut bytes = compound(&["Workbook"]);
    let directory = bytes[1_024..1_536].to_vec();
    bytes.resize(512 * (sectors + 1), 0);
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    for index in 0..109.min(sectors.div_ceil(128)) {
        put(76 + index * 4, (index * 128) as u32);
    }
    put(48, chain[0]);
    for (from, to) in chain.iter().zip(chain.iter().skip(1)) {
        let from = *from as usize;
        put(512 * (from / 128 * 128 + 1) + from % 128 * 4, *to);
    }
    let first = 512 * (chain[0] as usize + 1);
    bytes[first..first + 512].copy_from_slice(&directory);
    bytes
}

#[test]
fn scattered_and_looping_compound_files_end_within_their_bounds() {
    let sectors = 109 * 128;
    // Back and forth through the whole file; a loop of one, of two, and one that never comes back to the same place.
    let scattered: Vec<u32> = (0..100).map(|index| index * 7_919 % sectors / 128 * 128 + 1 + index).collect();
    let chains =
        [scattered.clone(), vec![5, 5], vec![9, 10_009, 9], [&scattered[..], &scattered[..1]].concat()];
    for chain in chains {
        let bytes = chained(sectors as usize, &chain);
        let start = Instant::now();
        let (verdict, done) = run(proof(kind("xls").1, &bytes), &bytes, &mut Delivery::exact());
        assert_eq!(verdict, whole("xls", &bytes));
        assert!(done.rounds <= 8 && done.fetched_bytes < 4 << 20, "{done:?}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_box_of_brands_that_is_as_large_as_the_file_is_not_read() {
    let bytes = [&(20u32 << 20).to_be_bytes(), b"ftypmif1".as_slice(), &vec![b'x'; 20 << 20]].concat();
    let (verdict, done) = run(proof(kind("heic").1, &bytes), &bytes, &mut Delivery::exact());
    assert_eq!((verdict, done.rounds), (Err(ContentError::Uncheckable), 1));
}
