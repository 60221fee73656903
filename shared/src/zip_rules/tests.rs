//! Good archives of real programs pass; attacks, built byte by byte, are refused quickly.

use std::time::{Duration, Instant};

use super::*;

/// An entry as an attacker writes it: each place may lie on its own.
#[derive(Debug, Clone)]
pub(crate) struct Forged {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) local_method: Option<u16>,
    pub(crate) flags: u16,
    pub(crate) local_flags: Option<u16>,
    pub(crate) crc: u32,
    pub(crate) local_crc: Option<u32>,
    pub(crate) declared: Option<u32>,
    pub(crate) local_declared: Option<u32>,
    pub(crate) compressed: Option<u32>,
    pub(crate) made_by: u8,
    pub(crate) attributes: u32,
    pub(crate) extra: Vec<u8>,
    pub(crate) local_extra: Vec<u8>,
    /// Bytes in front of the local header that belong to no entry.
    pub(crate) before: Vec<u8>,
    /// Bytes behind the data: a descriptor, or something that is none.
    pub(crate) after: Vec<u8>,
    /// Points the directory elsewhere.
    pub(crate) offset: Option<u32>,
    pub(crate) in_directory: bool,
}

pub(crate) fn entry(name: impl AsRef<[u8]>, data: &[u8]) -> Forged {
    Forged {
        name: name.as_ref().to_vec(),
        local_name: None,
        data: data.to_vec(),
        method: 0,
        local_method: None,
        flags: 0,
        local_flags: None,
        crc: 7,
        local_crc: None,
        declared: None,
        local_declared: None,
        compressed: None,
        made_by: 3,
        attributes: 0,
        extra: vec![],
        local_extra: vec![],
        before: vec![],
        after: vec![],
        offset: None,
        in_directory: true,
    }
}

#[derive(Debug, Default)]
pub(crate) struct EndRecord {
    pub(crate) comment: Vec<u8>,
    pub(crate) entries: Option<u16>,
    pub(crate) size: Option<u32>,
    pub(crate) start: Option<u32>,
    pub(crate) disk: u16,
}

pub(crate) fn zip(entries: &[Forged]) -> Vec<u8> {
    zip_with(entries, &EndRecord::default())
}

pub(crate) fn zip_with(entries: &[Forged], end: &EndRecord) -> Vec<u8> {
    let (mut out, mut directory, mut count) = (Vec::new(), Vec::new(), 0u16);
    let u16s = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let u32s = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    for entry in entries {
        out.extend(&entry.before);
        let offset = out.len() as u32;
        let size = entry.data.len() as u32;
        let compressed = entry.compressed.unwrap_or(size);
        let declared = entry.declared.unwrap_or(size);
        let name = entry.local_name.as_ref().unwrap_or(&entry.name);
        out.extend(b"PK\x03\x04");
        out.extend(u16s(&[
            20,
            entry.local_flags.unwrap_or(entry.flags),
            entry.local_method.unwrap_or(entry.method),
        ]));
        out.extend(u16s(&[0, 0]));
        out.extend(u32s(&[
            entry.local_crc.unwrap_or(entry.crc),
            compressed,
            entry.local_declared.unwrap_or(declared),
        ]));
        out.extend(u16s(&[name.len() as u16, entry.local_extra.len() as u16]));
        out.extend(name);
        out.extend(&entry.local_extra);
        out.extend(&entry.data);
        out.extend(&entry.after);
        if !entry.in_directory {
            continue;
        }
        count += 1;
        directory.extend(b"PK\x01\x02");
        directory.extend([20, entry.made_by]);
        directory.extend(u16s(&[20, entry.flags, entry.method, 0, 0]));
        directory.extend(u32s(&[entry.crc, compressed, declared]));
        directory.extend(u16s(&[entry.name.len() as u16, entry.extra.len() as u16, 0, 0, 0]));
        directory.extend(u32s(&[entry.attributes, entry.offset.unwrap_or(offset)]));
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    let start = end.start.unwrap_or(out.len() as u32);
    let size = end.size.unwrap_or(directory.len() as u32);
    let count = end.entries.unwrap_or(count);
    out.extend(directory);
    out.extend(b"PK\x05\x06");
    out.extend(u16s(&[end.disk, end.disk, count, count]));
    out.extend(u32s(&[size, start]));
    out.extend(u16s(&[end.comment.len() as u16]));
    out.extend(&end.comment);
    out
}

/// Checks, and fails the test if that explodes. It takes milliseconds; the bound is that of a machine busy with more.
fn timed(bytes: &[u8]) -> Result<ZipSummary, ZipError> {
    let start = Instant::now();
    let result = check(bytes);
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(20), "took {taken:?}");
    result
}

#[track_caller]
fn refused_entry(entries: &[Forged]) -> EntryProblem {
    match timed(&zip(entries)) {
        Err(ZipError::Entry { problem, .. }) => problem,
        other => panic!("not refused for an entry: {other:?}"),
    }
}

fn unix(mode: u32) -> Forged {
    Forged { attributes: mode << 16, ..entry("a", b"target") }
}

#[test]
fn good_archives_of_real_programs_pass() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/files");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zip") {
            let summary =
                timed(&std::fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert!(summary.entries >= 4 && summary.declared_bytes > 1_000, "{path:?}: {summary:?}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} archives");
}

#[test]
fn a_plain_archive_passes_whatever_its_comment_says() {
    let entries =
        [entry("src/", b""), entry("src/a.js", b"1"), entry("src/b.js", b"2"), entry("src.txt", b"")];
    let summary = ZipSummary { entries: 4, compressed_bytes: 2, declared_bytes: 2 };
    assert_eq!(check(&zip(&entries)), Ok(summary));
    let comment = vec![b'c'; usize::from(u16::MAX)];
    assert_eq!(check(&zip_with(&entries, &EndRecord { comment, ..EndRecord::default() })), Ok(summary));
}

#[test]
fn what_is_not_one_whole_archive_is_refused() {
    let good = zip(&[entry("a", b"1"), entry("b", b"2")]);
    let end = |end: EndRecord| zip_with(&[entry("a", b"1"), entry("b", b"2")], &end);
    let nothing = EndRecord::default;
    let table = [
        ("nothing", vec![], ZipError::NotZip),
        ("text", b"PK is not enough".to_vec(), ZipError::NotZip),
        ("only a local header", good[..40].to_vec(), ZipError::NotZip),
        ("only an end record", zip(&[]), ZipError::Empty),
        ("junk in front", [b"#!/bin/sh\n".as_slice(), &good].concat(), ZipError::PrefixData),
        ("junk behind", [good.as_slice(), b"junk"].concat(), ZipError::TrailingData),
        ("cut", good[..good.len() - 1].to_vec(), ZipError::NotZip),
        ("two archives", [good.as_slice(), &good].concat(), ZipError::PrefixData),
        (
            "an archive as comment",
            end(EndRecord { comment: good.clone(), ..nothing() }),
            ZipError::AmbiguousEnd,
        ),
        ("a volume", end(EndRecord { disk: 1, ..nothing() }), ZipError::Split),
        ("one entry too few", end(EndRecord { entries: Some(1), ..nothing() }), ZipError::BadDirectory),
        ("one entry too many", end(EndRecord { entries: Some(3), ..nothing() }), ZipError::BadDirectory),
        ("a shorter directory", end(EndRecord { size: Some(47), ..nothing() }), ZipError::PrefixData),
        (
            "a directory behind the end",
            end(EndRecord { start: Some(u32::MAX - 1), ..nothing() }),
            ZipError::BadDirectory,
        ),
        ("a directory at 0", end(EndRecord { start: Some(0), ..nothing() }), ZipError::PrefixData),
    ];
    for (what, bytes, error) in table {
        let result = timed(&bytes);
        // A cut comment length and a cut record are the same to a reader; any refusal will do there.
        if what == "cut" { assert!(result.is_err()) } else { assert_eq!(result, Err(error), "{what}") }
    }
}

#[test]
fn a_path_that_leaves_the_folder_or_has_two_spellings_is_refused() {
    let table = [
        "../a",
        "a/../../b",
        "a/..",
        "..",
        "/etc/passwd",
        "//host/share",
        "a//b",
        "./a",
        "a/./b",
        "C:/a",
        "c:a",
        "..\\a",
        "a\\b",
        "a\0.txt",
        "a\nb",
        ".. /a",
        ".../a",
        "/",
        "",
        "a/ /b",
    ];
    for name in table {
        assert_eq!(
            refused_entry(&[entry("ok", b""), entry(name, b"x")]),
            EntryProblem::UnsafePath,
            "{name:?}"
        );
    }
    assert_eq!(refused_entry(&[entry(b"caf\xe9", b"")]), EntryProblem::NotUtf8);
    assert_eq!(refused_entry(&[entry("x".repeat(MAX_NAME_BYTES + 1), b"")]), EntryProblem::LongName);
    for name in ["..a", "a..b", ".htaccess", "a/.b", "Übersicht.md", "a:b"] {
        let result = check(&zip(&[entry(name, b"x")]));
        assert_eq!(result.is_ok(), name != "a:b", "{name:?}: {result:?}");
    }
}

#[test]
fn another_name_in_an_extra_field_is_refused() {
    let unicode_path = |name: &[u8]| {
        let field = [&[1, 0, 0, 0, 0], name].concat();
        [&0x7075u16.to_le_bytes(), (field.len() as u16).to_le_bytes().as_slice(), &field].concat()
    };
    let with = |name: &[u8]| Forged { extra: unicode_path(name), ..entry("a.txt", b"x") };
    assert_eq!(refused_entry(&[with(b"../a.txt")]), EntryProblem::NotUtf8);
    assert!(check(&zip(&[with(b"a.txt")])).is_ok());
}

#[test]
fn two_entries_at_one_place_are_refused() {
    let pair = |a: &str, b: &str| refused_entry(&[entry(a, b""), entry("other", b""), entry(b, b"")]);
    assert_eq!(pair("a", "a"), EntryProblem::Duplicate);
    assert_eq!(pair("a/", "a/"), EntryProblem::Duplicate);
    assert_eq!(pair("README", "readme"), EntryProblem::Duplicate);
    assert_eq!(pair("\u{e9}", "e\u{301}"), EntryProblem::Duplicate);
    assert_eq!(pair("a", "a/"), EntryProblem::FileAndFolder);
    assert_eq!(pair("a/b", "a"), EntryProblem::FileAndFolder);
    assert_eq!(pair("a", "A/b/c"), EntryProblem::FileAndFolder);
    // Characters that sort between "a" and "a/" must not come between them.
    let entries = [entry("a", b""), entry("a b", b""), entry("a-c", b""), entry("a/z", b"")];
    assert_eq!(refused_entry(&entries), EntryProblem::FileAndFolder);
    assert!(check(&zip(&[entry("a", b""), entry("ab/c", b""), entry("a.b", b"")])).is_ok());
}

#[test]
fn links_and_special_files_are_refused_whatever_system_they_claim() {
    for mode in [0o120_777, 0o060_600, 0o020_600, 0o010_600, 0o140_755, 0o040_755] {
        for made_by in [0, 3, 10, 11, 14, 19, 200] {
            assert_eq!(
                refused_entry(&[Forged { made_by, ..unix(mode) }]),
                EntryProblem::SpecialFile,
                "{mode:o}"
            );
        }
    }
    for mode in [0, 0o100_644, 0o104_755] {
        assert!(check(&zip(&[unix(mode)])).is_ok(), "{mode:o}");
    }
}

#[test]
fn encrypted_entries_and_unusual_methods_are_refused() {
    for flags in [1, 1 << 6 | 1, 1 << 6, 1 << 13] {
        assert_eq!(
            refused_entry(&[Forged { flags, ..entry("a", b"x") }]),
            EntryProblem::Encrypted,
            "{flags}"
        );
    }
    for method in [1, 9, 12, 14, 93, 95, 99] {
        assert_eq!(refused_entry(&[Forged { method, ..entry("a", b"x") }]), EntryProblem::Method, "{method}");
    }
}

#[test]
fn a_local_header_that_contradicts_the_directory_is_refused() {
    let honest = || Forged { method: 8, declared: Some(9), ..entry("a.txt", b"12345") };
    assert!(check(&zip(&[honest()])).is_ok());
    let table = [
        ("name", Forged { local_name: Some(b"b.txt".to_vec()), ..honest() }),
        ("a longer name", Forged { local_name: Some(b"../../a.txt".to_vec()), ..honest() }),
        ("method", Forged { local_method: Some(0), ..honest() }),
        ("flags", Forged { local_flags: Some(1), ..honest() }),
        ("a descriptor only there", Forged { local_flags: Some(8), ..honest() }),
        ("checksum", Forged { local_crc: Some(8), ..honest() }),
        ("no checksum", Forged { local_crc: Some(0), ..honest() }),
        ("size", Forged { local_declared: Some(10), ..honest() }),
        ("stored, but smaller", Forged { method: 0, ..honest() }),
        ("no local header", Forged { offset: Some(1), ..honest() }),
    ];
    for (what, forged) in table {
        assert_eq!(refused_entry(&[entry("first", b""), forged]), EntryProblem::Disagrees, "{what}");
    }
}

#[test]
fn a_data_descriptor_must_be_there_and_say_what_the_directory_says() {
    let descriptor =
        |fields: &[u32]| fields.iter().flat_map(|field| field.to_le_bytes()).collect::<Vec<u8>>();
    let streamed = |after: Vec<u8>| Forged { flags: 8, after, ..entry("a", b"12345") };
    const SIGNATURE: u32 = 0x0807_4b50;
    for good in [&[SIGNATURE, 7, 5, 5][..], &[7, 5, 5], &[SIGNATURE, 7, 5, 0, 5, 0], &[7, 5, 0, 5, 0]] {
        assert!(check(&zip(&[streamed(descriptor(good)), entry("b", b"")])).is_ok(), "{good:?}");
    }
    for bad in [
        &[][..],
        &[SIGNATURE],
        &[SIGNATURE, 7, 5, 6],
        &[8, 5, 5],
        &[7, 5, 5, 0],
        &[SIGNATURE, 7, 5, 5, 0, 0, 0],
    ] {
        let problem = refused_entry(&[streamed(descriptor(bad)), entry("b", b"")]);
        assert_eq!(problem, EntryProblem::Disagrees, "{bad:?}");
    }
}

#[test]
fn nothing_hides_between_the_entries() {
    let hidden = Forged { in_directory: false, ..entry("hidden.sh", b"rm -rf") };
    for entries in [
        [entry("a", b"1"), hidden.clone(), entry("b", b"2")],
        [entry("a", b"1"), entry("b", b"2"), hidden.clone()],
        [entry("a", b"1"), Forged { before: b"junk".to_vec(), ..entry("b", b"2") }, entry("c", b"")],
    ] {
        assert!(matches!(timed(&zip(&entries)), Err(ZipError::Gap { .. })));
    }
    assert_eq!(timed(&zip(&[hidden, entry("a", b"1")])), Err(ZipError::PrefixData));
}

#[test]
fn overlapping_entries_are_refused() {
    // The core of Fifield's bomb: many records share one kernel of data.
    let shared =
        [entry("a", b"1"), Forged { offset: Some(0), local_name: Some(b"b".to_vec()), ..entry("a2", b"") }];
    assert!(matches!(timed(&zip(&shared)), Err(ZipError::Entry { .. })));
    let mut quoted = zip(&[entry("inner", b"x")]);
    quoted.truncate(30 + 6);
    let inner = Forged { offset: Some(30 + 1), in_directory: true, ..entry("inner", b"x") };
    let outer = Forged { data: quoted, ..entry("o", b"") };
    assert_eq!(refused_entry(&[outer, inner]), EntryProblem::Overlap);
    let behind_the_end = Forged { compressed: Some(1 << 20), declared: Some(1 << 20), ..entry("a", b"1") };
    assert_eq!(refused_entry(&[behind_the_end]), EntryProblem::Overlap);
    let into_the_directory = Forged { compressed: Some(20), declared: Some(20), ..entry("a", b"1") };
    assert_eq!(refused_entry(&[into_the_directory]), EntryProblem::Overlap);
}

#[test]
fn bombs_are_refused() {
    let deflated = |size: usize, declared: u32| Forged {
        method: 8,
        declared: Some(declared),
        ..entry("a", &vec![0; size])
    };
    assert_eq!(refused_entry(&[deflated(11_000, 1_100_001)]), EntryProblem::Ratio);
    assert!(check(&zip(&[deflated(11_000, 1_100_000)])).is_ok());
    assert!(check(&zip(&[deflated(10, 1 << 20)])).is_ok(), "small files may have any ratio");
    assert_eq!(refused_entry(&[deflated(1_000, u32::MAX - 1)]), EntryProblem::Ratio);

    let many = |count: usize, declared: u32| {
        let named = |index| Forged { name: format!("{index}").into(), ..deflated(10, declared) };
        timed(&zip(&(0..count).map(named).collect::<Vec<_>>()))
    };
    assert_eq!(many(5_000, 1 << 20), Err(ZipError::TooLarge));
    assert_eq!(many(500, 1 << 20), Err(ZipError::Ratio));

    for name in ["lib 0.zip", "deep/er/B.ZIP", "x.7z", "x.rar"] {
        assert_eq!(refused_entry(&[entry(name, b"PK\x03\x04")]), EntryProblem::NestedArchive, "{name}");
    }
}

#[test]
fn a_hostile_directory_costs_no_time() {
    let count = 90_000;
    let mut bytes = zip(&[entry("", b"")]);
    let record = bytes[30..76].to_vec();
    bytes.truncate(30);
    bytes.extend(record.repeat(count));
    let size = (record.len() * count) as u32;
    let mut end = zip(&[]);
    end[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    end[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
    end[12..16].copy_from_slice(&size.to_le_bytes());
    end[16..20].copy_from_slice(&30u32.to_le_bytes());
    bytes.extend(&end);
    assert_eq!(timed(&bytes), Err(ZipError::TooManyEntries { entries: u64::from(u16::MAX) }));
    // The same with a lie about the count.
    let at = bytes.len() - 22;
    bytes[at + 8..at + 12].copy_from_slice(&[1, 0, 1, 0]);
    assert!(timed(&bytes).is_err());

    let deep = "a/".repeat(500);
    let entries: Vec<_> = (0..2_000).map(|index| entry(format!("{deep}{index}"), b"")).collect();
    assert!(timed(&zip(&entries)).is_ok());
    assert!(timed(&b"PK\x05\x06".repeat(1 << 20)).is_err());
    assert!(timed(&b"PK\x03\x04".repeat(1 << 20)).is_err());
    assert!(timed(&b"PK\x01\x02".repeat(1 << 20)).is_err());
}

#[test]
fn too_many_entries_are_refused_before_they_are_read() {
    let entries = |count: u64| (0..count).map(|index| entry(index.to_string(), b"")).collect::<Vec<_>>();
    assert!(timed(&zip(&entries(MAX_ENTRIES))).is_ok());
    let error = ZipError::TooManyEntries { entries: MAX_ENTRIES + 1 };
    assert_eq!(timed(&zip(&entries(MAX_ENTRIES + 1))), Err(error));
}

#[test]
fn any_damage_to_a_good_archive_is_an_answer_not_a_panic() {
    let good = zip(&[entry("a/", b""), Forged { method: 8, declared: Some(9), ..entry("a/b", b"12345") }]);
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = good.clone();
            damaged[at] = value;
            let _ = check(&damaged);
        }
        let _ = check(&good[..at]);
        let _ = check(&good[at..]);
    }
}

#[test]
fn an_error_shows_a_name_without_its_tricks() {
    let error =
        timed(&zip(&[entry(format!("../\u{202e}\x1b[2J{}", "x".repeat(200)), b"")])).unwrap_err().to_string();
    assert!(error.starts_with("The ZIP archive's entry '../\u{fffd}\u{fffd}[2Jxxx"), "{error}");
    assert!(error.len() < 200, "{error}");
}
