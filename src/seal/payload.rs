/// Fields with their lengths before them; an absent one has the length no field can have.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: Option<&str>) {
        let length = text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
        self.bytes(&length.to_be_bytes());
        self.bytes(text.unwrap_or_default().as_bytes());
    }
}

/// Reads what [`Writer`] wrote, in the same order.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next field; the outer `None` means there is none, the inner that it is absent.
    #[expect(clippy::option_option, reason = "the end of the payload and an absent field are two answers")]
    pub(crate) fn text(&mut self) -> Option<Option<&'a str>> {
        let length = u32::from_be_bytes(self.array()?);
        if length == u32::MAX {
            return Some(None);
        }
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Some)
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
