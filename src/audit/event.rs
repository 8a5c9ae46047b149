/// The kind of event a record describes: its `event` member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request that was refused before its caller was known: a failed authentication, or a refused `Origin`.
    AuthFailed,
    /// A decision: an allowed call before it is sent upstream, or a refusal when it has been answered.
    Call,
    /// A signature of every line before it.
    Checkpoint,
    /// A new configuration is in force, or was refused.
    ConfigReload,
    /// The end of an allowed call.
    End,
    /// A rotated file is about to be deleted, since its time is over.
    FileDeleted,
    /// The keys of an issuer changed, could not be fetched, or could be fetched again.
    KeyRefresh,
    /// A new file goes on with the chain of the one before it.
    Opened,
    /// An issuer revoked tokens, by a security event token.
    Revoked,
    /// The process starts.
    Start,
    /// The process stops.
    Stop,
    /// Keys of subjects were erased, so that their lines can no longer be told from those of others.
    SubjectsErased,
    /// A tool's definition is not the approved one.
    ToolDrift,
}

impl Event {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AuthFailed => "auth_failed",
            Self::Call => "call",
            Self::Checkpoint => "checkpoint",
            Self::ConfigReload => "config_reload",
            Self::End => "end",
            Self::FileDeleted => "file_deleted",
            Self::KeyRefresh => "key_refresh",
            Self::Opened => "opened",
            Self::Revoked => "revoked",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::SubjectsErased => "subjects_erased",
            Self::ToolDrift => "tool_drift",
        }
    }

    /// The bit by which the record's id differs from the request id, so that the two lines of one request have distinct ids.
    pub(super) const fn id_bit(self) -> u8 {
        match self {
            Self::End => 1,
            Self::AuthFailed
            | Self::Call
            | Self::Checkpoint
            | Self::ConfigReload
            | Self::FileDeleted
            | Self::KeyRefresh
            | Self::Opened
            | Self::Revoked
            | Self::Start
            | Self::Stop
            | Self::SubjectsErased
            | Self::ToolDrift => 0,
        }
    }
}
