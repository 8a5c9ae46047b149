//! What a mask does with a value outside plain text: in a key, a number or a URI, and with binary data.

/// The kind of place a value is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// The key of an object member.
    Key,
    /// A JSON number.
    Number,
    /// A string.
    #[default]
    Text,
    /// A URI the client may send back.
    Uri,
}

/// A mask's settings for each kind of place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Keys of objects.
    pub keys: Treatment,
    /// Numbers.
    pub numbers: Treatment,
    /// URIs of resources and links.
    pub uris: Uris,
    /// Binary data.
    pub blobs: Blobs,
}

/// What happens to a value in a key or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Treatment {
    /// It is masked; a number becomes 0 unless the tool's schema requires another.
    #[default]
    Mask,
    /// It is left as it is.
    Pass,
    /// The message is refused.
    Refuse,
}

/// What happens to a URI that contains a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uris {
    /// It is left as it is.
    Pass,
    /// The message is refused.
    Refuse,
    /// It is sealed as a whole; the caller can use the sealed URI in its place.
    #[default]
    Seal,
}

/// What happens to binary data, in which no values are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// The message is refused.
    Block,
    /// It is left as it is.
    #[default]
    Pass,
}

impl Places {
    /// What happens to a value in that kind of place. URIs to be sealed count as [`Treatment::Mask`].
    pub(super) const fn of(self, place: Place) -> Treatment {
        match (place, self.uris) {
            (Place::Key, _) => self.keys,
            (Place::Number, _) => self.numbers,
            (Place::Text, _) | (Place::Uri, Uris::Seal) => Treatment::Mask,
            (Place::Uri, Uris::Pass) => Treatment::Pass,
            (Place::Uri, Uris::Refuse) => Treatment::Refuse,
        }
    }
}
