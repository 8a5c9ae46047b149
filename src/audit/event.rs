/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request without an accepted token.
    AuthFailed,
    /// A decision, before anything goes upstream.
    Call,
    /// Another configuration is in force.
    ConfigReload,
    /// The end of an answer.
    End,
    /// The keys of an issuer changed, or cannot be had, or can be had again.
    KeyRefresh,
    /// An issuer takes back what it gave.
    Revoked,
    /// The process begins.
    Start,
    /// The process ends.
    Stop,
    /// A tool's definition is not the approved one.
    ToolDrift,
}

impl Event {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AuthFailed => "auth_failed",
            Self::Call => "call",
            Self::ConfigReload => "config_reload",
            Self::End => "end",
            Self::KeyRefresh => "key_refresh",
            Self::Revoked => "revoked",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::ToolDrift => "tool_drift",
        }
    }

    /// The last bit of the record's own id, so that the lines of one request differ in it.
    pub(super) const fn id_bit(self) -> u8 {
        match self {
            Self::End => 1,
            Self::AuthFailed
            | Self::Call
            | Self::ConfigReload
            | Self::KeyRefresh
            | Self::Revoked
            | Self::Start
            | Self::Stop
            | Self::ToolDrift => 0,
        }
    }
}
