//! The last segment of a storage path: a file name that is safe in a key, a URL, a log and a header.
//!
//! There are two ways to get one. [`FileName::parse`] is for a name that arrives inside a path: it is accepted as it
//! stands or refused. [`FileName::derive`] is for an upload: whatever the user called the file, something readable
//! and safe comes out, and the original name is kept elsewhere, verbatim. This module knows nothing of paths, of
//! what types are allowed, or of the time: a time stamp arrives as text.

use std::fmt;

use deunicode::deunicode_with_tofu;
use unicode_normalization::UnicodeNormalization;

/// The longest file name in a path, in bytes (design, section 5, "Paths"), so that a path has a known maximum.
pub const MAX_FILE_NAME_BYTES: usize = 128;

/// The longest suffix that a collision adds, in bytes: `_` and six base32 characters. A derived name leaves this
/// much room, so that a suffix shortens nothing.
pub const MAX_SUFFIX_BYTES: usize = 7;

/// The longest extension, in bytes without the dot; what is longer is part of the name. The longest in the catalog
/// has 5, the longest registered with IANA that a user may meet has 11 (`webmanifest`).
pub const MAX_EXTENSION_BYTES: usize = 16;

/// The longest time stamp, in bytes: `YYYYMMDD_HHMMSS`.
pub const MAX_STAMP_BYTES: usize = 15;

/// What a file is called when nothing of its name can be kept.
const NAMELESS: &str = "file";

/// Names that Windows opens as devices whatever extension follows:
/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file#naming-conventions>.
const WINDOWS_DEVICES: [&str; 24] = [
    "con", "prn", "aux", "nul", "com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A file name as it stands in a storage path.
///
/// - It has 1 to [`MAX_FILE_NAME_BYTES`] bytes, each of them one of `A-Z a-z 0-9 . _ -`.
/// - It begins with a letter, a digit or `_`.
/// - It does not contain `..`.
///
/// ```
/// use shared::file_name::FileName;
///
/// assert_eq!(FileName::parse("20260126_153045_receipt.jpg")?.as_str(), "20260126_153045_receipt.jpg");
/// assert!(FileName::parse("../receipt.jpg").is_err());
/// # Ok::<(), shared::file_name::FileNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

/// Why a name is not a [`FileName`]. It is the client's fault, and the text is safe to show to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// There is no name.
    #[error("The file name is empty")]
    Empty,
    /// The name is longer than [`MAX_FILE_NAME_BYTES`].
    #[error("The file name has {bytes} bytes; at most {MAX_FILE_NAME_BYTES} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The name begins with a dot or a hyphen.
    #[error("The file name must begin with a letter, a digit or an underscore")]
    BadStart,
    /// The name has a character that does not belong into a path.
    #[error("The file name may contain only letters A-Z and a-z, digits, '.', '_' and '-'")]
    BadCharacter,
    /// The name contains `..`.
    #[error("The file name must not contain '..'")]
    DotDot,
}

impl FileName {
    /// Accepts a name that arrives inside a path, or refuses it. Nothing is cleaned on the way.
    pub fn parse(name: &str) -> Result<Self, FileNameError> {
        let Some(first) = name.bytes().next() else { return Err(FileNameError::Empty) };
        if name.len() > MAX_FILE_NAME_BYTES {
            return Err(FileNameError::TooLong { bytes: name.len() });
        }
        if !name.chars().all(is_allowed) {
            return Err(FileNameError::BadCharacter);
        }
        if !(first.is_ascii_alphanumeric() || first == b'_') {
            return Err(FileNameError::BadStart);
        }
        if name.contains("..") {
            return Err(FileNameError::DotDot);
        }
        Ok(Self(name.to_owned()))
    }

    /// Makes a name for an upload that the user calls `original`.
    ///
    /// `missing_extension` (without a dot) is added if the original has no extension; `stamp` (`YYYYMMDD_HHMMSS`)
    /// goes in front. The result leaves room for [`FileName::with_suffix`].
    ///
    /// ```
    /// use shared::file_name::FileName;
    ///
    /// let name = FileName::derive("Ménü 2024 (final).PDF", None, Some("20260126_153045"));
    /// assert_eq!(name.as_str(), "20260126_153045_Menu_2024_final.PDF");
    /// assert_eq!(FileName::derive("", Some("jpg"), None).as_str(), "file.jpg");
    /// ```
    #[must_use]
    pub fn derive(original: &str, missing_extension: Option<&str>, stamp: Option<&str>) -> Self {
        let (mut stem, extension) = clean(original);
        let extension = extension.or_else(|| missing_extension.and_then(as_extension).map(str::to_owned));
        if stem.is_empty() {
            stem.push_str(NAMELESS);
        }
        let base = stem.split('.').next().unwrap_or_default();
        if WINDOWS_DEVICES.iter().any(|device| base.eq_ignore_ascii_case(device)) {
            stem.insert(0, '_');
        }
        if let Some(stamp) = stamp {
            let digits: String = stamp.chars().filter(|c| is_allowed(*c) && *c != '.' && *c != '-').collect();
            stem.insert_str(0, &format!("{}_", cut(&digits, MAX_STAMP_BYTES)));
        }
        Self(join(&stem, "", extension.as_deref(), MAX_FILE_NAME_BYTES - MAX_SUFFIX_BYTES))
    }

    /// The same name with `suffix` (`_2`, `_k3x7qa`) before the extension.
    ///
    /// A suffix is at most [`MAX_SUFFIX_BYTES`] of letters, digits, `_` and `-`; the rest of it is left out. Only a
    /// name that was parsed, and is longer than any derived one, loses the end of its stem.
    ///
    /// ```
    /// use shared::file_name::FileName;
    ///
    /// assert_eq!(FileName::parse("scan.pdf")?.with_suffix("_2").as_str(), "scan_2.pdf");
    /// # Ok::<(), shared::file_name::FileNameError>(())
    /// ```
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let suffix: String =
            suffix.chars().filter(|c| is_allowed(*c) && *c != '.').take(MAX_SUFFIX_BYTES).collect();
        let (stem, extension) = split(&self.0);
        Self(join(stem, &suffix, extension, MAX_FILE_NAME_BYTES))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The extension as written, without the dot.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        split(&self.0).1
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The extension that a name derived from `original` has, as written, without the dot.
///
/// Whoever judges a file by its extension must ask here: the extension that is judged is then the one that is
/// stored, whatever invisible, full-width or reversed characters the original spells it with.
#[must_use]
pub fn extension(original: &str) -> Option<String> {
    clean(original).1
}

/// The safe stem (perhaps empty, and never longer than a name) and the extension.
fn clean(original: &str) -> (String, Option<String>) {
    let last = original.rsplit(['/', '\\']).next().unwrap_or_default();
    let composed: String = last.nfc().collect();
    let ascii = deunicode_with_tofu(&composed, "");
    // Windows ignores dots and spaces at the end of a name, so `x.exe. ` is an executable.
    let ascii = ascii.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    let hidden = ascii.starts_with('.');

    let mut name = String::with_capacity(ascii.len());
    for c in ascii.chars() {
        let c = if c.is_whitespace() { '_' } else { c };
        let repeated = (c == '.' || c == '_') && name.ends_with(c);
        if is_allowed(c) && !repeated {
            name.push(c);
        }
    }
    let name = name.trim_end_matches(['.', '_', '-']);
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, end)) if !(hidden && stem.is_empty()) && as_extension(end).is_some() => (stem, Some(end)),
        _ => (name, None),
    };
    let stem = stem.trim_start_matches(['.', '-']).trim_end_matches(['.', '_', '-']);
    (cut(stem, MAX_FILE_NAME_BYTES).to_owned(), extension.map(str::to_owned))
}

/// The stem and the extension of a name that is a file name already.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && as_extension(end).is_some() => (stem, Some(end)),
        _ => (name, None),
    }
}

/// The stem, cut so that all of it fits into `limit` bytes.
fn join(stem: &str, suffix: &str, extension: Option<&str>, limit: usize) -> String {
    let extension = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
    let room = limit.saturating_sub(suffix.len() + extension.len());
    let name = format!("{}{suffix}{extension}", cut(stem, room).trim_end_matches('.'));
    match split(&name) {
        // The cut must not leave something that looks like an extension which nobody has judged.
        (stem, Some(end)) if extension.is_empty() => format!("{stem}_{end}"),
        _ => name,
    }
}

fn as_extension(text: &str) -> Option<&str> {
    let fits = (1..=MAX_EXTENSION_BYTES).contains(&text.len());
    (fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(text)
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// The first `bytes` of an ASCII text.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..bytes).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_derived_name_reads_like_the_original() {
        let table = [
            ("Ménü 2024 (final).PDF", "Menu_2024_final.PDF"),
            // The same name as macOS sends it: decomposed.
            ("Me\u{301}nu\u{308} 2024 (final).PDF", "Menu_2024_final.PDF"),
            ("report.docx", "report.docx"),
            ("archive.tar.gz", "archive.tar.gz"),
            ("a\r\nSet-Cookie: x", "a_Set-Cookie_x"),
            (".htaccess", "htaccess"),
            ("CON", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("com1.tar.gz", "_com1.tar.gz"),
            ("console.log", "console.log"),
            ("", "file"),
            ("   ", "file"),
            ("...", "file"),
            ("..", "file"),
            ("???.pdf", "file.pdf"),
            ("C:\\Users\\me\\scan.pdf", "scan.pdf"),
            ("../../etc/passwd", "passwd"),
            ("dir/", "file"),
            ("a..b...c.txt", "a.b.c.txt"),
            ("x.exe. . ", "x.exe"),
            ("-rf.txt", "rf.txt"),
            ("_private.txt", "_private.txt"),
            ("\u{202e}fdp.exe", "fdp.exe"),
            ("zero\u{200b}width.pdf", "zero_width.pdf"),
            ("ｆｕｌｌ．ｐｄｆ", "full.pdf"),
            ("北京.pdf", "Bei_Jing.pdf"),
            ("a\u{ff0f}b.pdf", "ab.pdf"),
            ("report.final version", "report.final_version"),
            ("nul\0byte.png", "nulbyte.png"),
        ];
        for (original, expected) in table {
            assert_eq!(FileName::derive(original, None, None).as_str(), expected, "{original:?}");
        }
    }

    #[test]
    fn an_emoji_becomes_a_word() {
        let name = FileName::derive("🚑 crew.jpg", None, None);
        assert_eq!(name.as_str(), "ambulance_crew.jpg");
    }

    #[test]
    fn a_missing_extension_is_added_and_an_existing_one_kept() {
        let derive = |original, missing| FileName::derive(original, Some(missing), None).0;
        assert_eq!(derive("CON", "zip"), "_CON.zip");
        assert_eq!(derive(".htaccess", "txt"), "htaccess.txt");
        assert_eq!(derive("scan.JPEG", "jpg"), "scan.JPEG");
        assert_eq!(derive("scan", "../x"), "scan");
        assert_eq!(derive("evil.e xe", "png"), "evil.e_xe.png");
    }

    #[test]
    fn the_extension_that_is_judged_is_the_one_that_is_stored() {
        for original in ["x.ｅｘｅ", "x.e\u{200d}xe", "x.exe ", "x.exe.", "x.e:xe", "\u{202e}x.exe"] {
            assert_eq!(extension(original).as_deref(), Some("exe"), "{original:?}");
        }
        for original in [".htaccess", "CON", "", "notes.", "report.final version", "v1.", "a.b/c"] {
            assert_eq!(extension(original), None, "{original:?}");
        }
    }

    #[test]
    fn a_long_name_leaves_room_for_a_suffix_and_keeps_its_extension() {
        let name = FileName::derive(&"x".repeat(300), Some("jpeg"), Some("20260126_153045"));
        assert_eq!(name.as_str().len(), MAX_FILE_NAME_BYTES - MAX_SUFFIX_BYTES);
        assert!(name.as_str().starts_with("20260126_153045_xxx"));
        let second = name.with_suffix("_ABCDEF");
        assert_eq!(second.as_str().len(), MAX_FILE_NAME_BYTES);
        assert!(second.as_str().ends_with("x_ABCDEF.jpeg"));
    }

    #[test]
    fn a_suffix_goes_before_the_extension() {
        let suffixed = |name: &str| FileName::parse(name).unwrap().with_suffix("_2").0;
        assert_eq!(suffixed("scan.pdf"), "scan_2.pdf");
        assert_eq!(suffixed("scan"), "scan_2");
        assert_eq!(suffixed("a.tar.gz"), "a.tar_2.gz");
        assert_eq!(suffixed("odd."), "odd_2");
        let longest = FileName::parse(&"x".repeat(MAX_FILE_NAME_BYTES)).unwrap();
        assert!(longest.with_suffix("_2").as_str().ends_with("x_2"));
    }

    #[test]
    fn a_bad_name_inside_a_path_is_refused_never_cleaned() {
        use FileNameError::*;
        let table = [
            ("", Empty),
            ("..", BadStart),
            (".", BadStart),
            (".htaccess", BadStart),
            ("-rf", BadStart),
            ("a..b", DotDot),
            ("a b", BadCharacter),
            ("a/b", BadCharacter),
            ("a\\b", BadCharacter),
            ("a%2eb", BadCharacter),
            ("a\0", BadCharacter),
            ("ä", BadCharacter),
            ("a\u{202e}", BadCharacter),
            ("a\n", BadCharacter),
        ];
        for (name, error) in table {
            assert_eq!(FileName::parse(name), Err(error), "{name:?}");
        }
        let long = "x".repeat(MAX_FILE_NAME_BYTES + 1);
        assert_eq!(FileName::parse(&long), Err(TooLong { bytes: MAX_FILE_NAME_BYTES + 1 }));
        assert!(FileName::parse(&long[1..]).is_ok());
    }

    fn cases(cases: u32) -> ProptestConfig {
        ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
    }

    proptest! {
        // Text of any script is slow to make; the next two tests have the numbers.
        #![proptest_config(cases(1_000))]

        #[test]
        fn any_text_gives_a_name_that_parse_accepts(
            original in any::<String>(), missing in proptest::option::of(any::<String>()),
            stamp in proptest::option::of(any::<String>()), suffix in any::<String>(),
        ) {
            let name = FileName::derive(&original, missing.as_deref(), stamp.as_deref());
            prop_assert_eq!(FileName::parse(name.as_str()), Ok(name.clone()));
            prop_assert!(name.as_str().len() <= MAX_FILE_NAME_BYTES - MAX_SUFFIX_BYTES);
            let suffixed = name.with_suffix(&suffix);
            prop_assert_eq!(FileName::parse(suffixed.as_str()), Ok(suffixed.clone()));
            prop_assert_eq!(suffixed.extension(), name.extension());
        }
    }

    proptest! {
        #![proptest_config(cases(10_000))]

        #[test]
        fn nasty_text_gives_a_safe_name_with_the_extension_that_was_judged(
            original in r"[./\\:_\- a-cCONonex\u{0}\u{202e}．é…½🚑\r\n]{0,140}", stamp in proptest::option::of("[0-9_]{15}"),
        ) {
            let name = FileName::derive(&original, None, stamp.as_deref());
            prop_assert_eq!(FileName::parse(name.as_str()), Ok(name.clone()));
            if let Some(judged) = extension(&original) {
                prop_assert_eq!(name.extension(), Some(judged.as_str()));
            } else {
                prop_assert_eq!(name.extension(), None);
            }
        }

        #[test]
        fn an_accepted_name_keeps_its_invariants_with_a_suffix(text in "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}") {
            if let Ok(name) = FileName::parse(&text) {
                let suffixed = name.with_suffix("_ABCDEF");
                prop_assert_eq!(FileName::parse(suffixed.as_str()), Ok(suffixed.clone()));
                prop_assert_ne!(suffixed, name);
            }
        }
    }
}
