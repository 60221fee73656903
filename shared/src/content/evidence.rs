//! What is known of a file while its kind is proved.

use std::cell::OnceCell;

use super::text::Text;
use crate::partial::{Partial, Unread};
use crate::zip_rules::ZipCheck;

/// What most signatures need, and the first sectors of a compound file: one read.
const HEAD_BYTES: u64 = 64 << 10;

/// A file, and what was found out about it so far.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// What was read of it.
    pub(super) file: Partial<'a>,
    /// How far its ZIP entries were compared.
    pub(super) zip: ZipCheck,
    text: OnceCell<Text>,
    /// The text so far, while the file is streamed.
    stream: Text,
}

impl<'a> Evidence<'a> {
    /// Of a file that is in memory.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self { file: Partial::whole(bytes), ..Self::new(0) }
    }

    /// Of a file of which nothing was read yet.
    pub(super) fn new(size: u64) -> Self {
        Self {
            file: Partial::new(size),
            zip: ZipCheck::default(),
            text: OnceCell::new(),
            stream: Text::new(),
        }
    }

    /// The file's beginning.
    pub(super) fn head(&self) -> Result<&[u8], Unread> {
        self.file.read(0..HEAD_BYTES)
    }

    /// What only all bytes can say.
    pub(super) fn text(&self) -> Result<&Text, Unread> {
        match (self.text.get(), self.file.all()) {
            (Some(text), _) => Ok(text),
            (None, Some(bytes)) => Ok(self.text.get_or_init(|| Text::of(bytes))),
            (None, None) => Err(Unread::Everything),
        }
    }

    /// The same, or else what the part says that is there from the beginning on.
    pub(super) fn text_so_far(&self) -> (Text, bool) {
        match self.text() {
            Ok(text) => (text.clone(), text.is_text()),
            Err(_) => {
                let text = Text::of(self.file.prefix());
                let may_be_text = text.may_be_text();
                (text, may_be_text)
            }
        }
    }

    /// Whether there is a byte 0; it is looked for at the beginning first.
    pub(super) fn has_zero(&self) -> Result<bool, Unread> {
        Ok(self.head()?.contains(&0) || self.text()?.has_zero())
    }

    /// How many bytes were streamed.
    pub(super) fn streamed_bytes(&self) -> u64 {
        self.stream.seen_bytes()
    }

    /// Takes the next bytes of the file from its beginning to its end.
    pub(super) fn stream(&mut self, bytes: &[u8]) {
        let left = self.file.size() - self.stream.seen_bytes();
        let bytes = usize::try_from(left).ok().and_then(|left| bytes.get(..left)).unwrap_or(bytes);
        self.stream.update(bytes);
        if self.stream.seen_bytes() == self.file.size() {
            let _ = self.text.set(std::mem::replace(&mut self.stream, Text::new()));
        }
    }
}
