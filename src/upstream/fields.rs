use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Header fields in the order they were received. A list, and in place: there are hardly ever more than two.
#[derive(Clone, Debug, Default)]
pub struct Fields(SmallVec<[(HeaderName, HeaderValue); 2]>);

impl Fields {
    /// Appends a field, whether or not there is one of that name.
    pub(super) fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets a field: replaces the first of that name, or appends it.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        match self.get_mut(&name) {
            Some(present) => *present = value,
            None => self.push(name, value),
        }
    }

    /// The value of the first field of that name.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.all(name).next()
    }

    /// The values of that name.
    pub(crate) fn all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.iter().filter(move |(present, _)| present == name).map(|(_, value)| value)
    }

    /// The value of the first field of that name, to be changed.
    pub(super) fn get_mut(&mut self, name: &HeaderName) -> Option<&mut HeaderValue> {
        self.0.iter_mut().find(|(present, _)| present == name).map(|(_, value)| value)
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}
