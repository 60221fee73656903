//! Whether a file is text, from its bytes in order, in pieces of any size.

/// How much of a text's opening is kept: `infer` gets no more, and mark-up shows itself much earlier.
pub(super) const OPENING_BYTES: usize = 4_096;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

const ZERO: u8 = 1;
/// The control characters that no text has.
const CONTROL: u8 = 2;
/// What Windows-1252 leaves undefined.
const UNDEFINED: u8 = 4;

/// The classes of each byte: one look-up is all that each byte of a large file gets, besides UTF-8.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte {
            0 => ZERO | CONTROL,
            1..=6 | 8 | 14..=25 | 127 => CONTROL,
            0x81 | 0x8d | 0x8f | 0x90 | 0x9d => UNDEFINED,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// What is to be known of a file's bytes to say whether it is text, and which.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// How many bytes were seen.
    seen_bytes: u64,
    /// Which classes of bytes occur.
    classes: u8,
    is_utf8: bool,
    /// The beginning of a character whose end comes with the next piece: at most three bytes.
    unfinished: Vec<u8>,
    opening: Vec<u8>,
}

impl Text {
    /// Nothing seen yet.
    pub(super) fn new() -> Self {
        Self { seen_bytes: 0, classes: 0, is_utf8: true, unfinished: Vec::new(), opening: Vec::new() }
    }

    /// The whole of it at once.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut text = Self::new();
        text.update(bytes);
        text
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.keep_opening(bytes);
        // Nothing can be added to a zero, which is a control character too.
        if !self.has_zero() {
            self.classes = bytes.iter().fold(self.classes, |all, byte| all | CLASSES[usize::from(*byte)]);
            self.decode(bytes);
        }
        self.seen_bytes += bytes.len() as u64;
    }

    /// How many bytes were seen.
    pub(super) fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// Whether there is a byte 0.
    pub(super) fn has_zero(&self) -> bool {
        self.classes & ZERO != 0
    }

    /// Whether people can read it: UTF-8 or Windows-1252, without the control characters that no text has.
    ///
    /// Those that X12 and other exchange formats use as separators (28 to 31), and a terminal's colours in a log
    /// (27), are text. UTF-16 is not: it has zeros, and half of the programs that read such files cannot read it.
    pub(super) fn is_text(&self) -> bool {
        let is_utf8 = self.is_utf8 && self.unfinished.is_empty();
        self.classes & CONTROL == 0 && (is_utf8 || self.classes & UNDEFINED == 0)
    }

    /// As [`Text::is_text`], of a file that goes on.
    pub(super) fn may_be_text(&self) -> bool {
        self.classes & CONTROL == 0 && (self.is_utf8 || self.classes & UNDEFINED == 0)
    }

    /// The beginning of the text behind a byte order mark and white space.
    pub(super) fn opening(&self) -> &[u8] {
        self.opening.trim_ascii_start()
    }

    fn keep_opening(&mut self, mut bytes: &[u8]) {
        // The mark may come in pieces.
        for _ in self.seen_bytes..BYTE_ORDER_MARK.len() as u64 {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.opening.push(*first);
            bytes = rest;
        }
        if self.seen_bytes < BYTE_ORDER_MARK.len() as u64 {
            if self.opening == BYTE_ORDER_MARK {
                self.opening.clear();
            }
            self.opening = self.opening.trim_ascii_start().to_vec();
        }
        if self.opening.is_empty() {
            bytes = bytes.trim_ascii_start();
        }
        let room = OPENING_BYTES.saturating_sub(self.opening.len());
        self.opening.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        if !self.is_utf8 {
            return;
        }
        while !self.unfinished.is_empty() {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.unfinished.push(*first);
            bytes = rest;
            match std::str::from_utf8(&self.unfinished) {
                Ok(_) => self.unfinished.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    self.is_utf8 = false;
                    return;
                }
            }
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            self.is_utf8 = error.error_len().is_none();
            self.unfinished = bytes.get(error.valid_up_to()..).unwrap_or_default().to_vec();
            if !self.is_utf8 {
                self.unfinished.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte order marks, white space, characters of one to four bytes, and what breaks them.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\xEF\xBB\xBF".to_vec()),
            "[ \t\n]{0,5}".prop_map(String::into_bytes),
            "[aé€😀]{0,9}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..3),
            Just(vec![b'x'; OPENING_BYTES - 2]),
            Just(vec![b' '; OPENING_BYTES]),
        ];
        prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_say_what_the_whole_says(
            bytes in bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut text = Text::new();
            for pair in cuts.windows(2) {
                text.update(&bytes[pair[0]..pair[1]]);
            }
            // The definitions, on the whole.
            let undefined = bytes.iter().any(|byte| [0x81, 0x8d, 0x8f, 0x90, 0x9d].contains(byte));
            let control = bytes.iter().any(|byte| matches!(byte, 0..=6 | 8 | 14..=25 | 127));
            let opening = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes).trim_ascii_start();
            let is_text = !control && (std::str::from_utf8(&bytes).is_ok() || !undefined);
            prop_assert_eq!(text.is_text(), is_text);
            prop_assert_eq!(text.has_zero(), bytes.contains(&0));
            prop_assert_eq!(text.opening(), opening.get(..OPENING_BYTES).unwrap_or(opening));
            prop_assert_eq!(text.seen_bytes(), bytes.len() as u64);
        }
    }
}
