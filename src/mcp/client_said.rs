use bytes::Bytes;

/// What a client says it is, which nobody verified: `clientInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientSaid {
    pub(crate) name: Bytes,
    pub(crate) version: Bytes,
}

impl ClientSaid {
    /// The same in memory of its own.
    pub(crate) fn detached(&self) -> Self {
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        Self { name: own(&self.name), version: own(&self.version) }
    }
}
