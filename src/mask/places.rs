//! What a mask does with a value that is not in plain text: in a key, a number, a URI or binary data.

/// Where a value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// In the key of an object.
    Key,
    /// In a JSON number.
    Number,
    /// In a text.
    #[default]
    Text,
    /// In a URI a client may come back with.
    Uri,
}

/// A mask's word on each kind of place.
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
    /// It is masked; a number becomes 0.
    #[default]
    Mask,
    /// It stays.
    Pass,
    /// The message is refused.
    Refuse,
}

/// What happens to a URI that holds a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uris {
    /// It stays.
    Pass,
    /// The message is refused.
    Refuse,
    /// It is sealed as a whole; the caller can use what it becomes in its place.
    #[default]
    Seal,
}

/// What happens to binary data, which nothing is found in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// The message is refused.
    Block,
    /// It stays.
    #[default]
    Pass,
}

impl Places {
    /// What happens to a value in that kind of place, short of what is done to URIs as a whole.
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
