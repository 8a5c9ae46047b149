//! What rules on records ask for, and which fields of a record serve it.

/// A duty to keep records, in our words.
pub(super) struct Duty {
    /// The rule and its part.
    pub(super) of: &'static str,
    pub(super) asks: &'static str,
    /// What in the audit helps to show it.
    pub(super) fields: &'static str,
    /// What a log alone cannot show.
    pub(super) besides: &'static str,
}

pub(super) const DUTIES: [Duty; 11] = [
    Duty {
        of: "EU AI Act, Art. 12(1)",
        asks: "A high-risk system records events automatically over its lifetime.",
        fields: "every line: time, event, seq; start and stop; prev and hash, where the file is chained",
        besides: "that every path to the system leads through the proxy",
    },
    Duty {
        of: "EU AI Act, Art. 12(2)(a)",
        asks: "Events that help to find situations of risk and substantial modifications.",
        fields: "decision, policy.rule, policy.reason, masked, error; tool_drift, config_reload, policy.version",
        besides: "your criteria for what is a risk",
    },
    Duty {
        of: "EU AI Act, Art. 12(2)(b) and 72",
        asks: "Events that serve post-market monitoring.",
        fields: "tool, decision, error, duration_ms, upstream_ms, shadow",
        besides: "the monitoring plan, and who reads this",
    },
    Duty {
        of: "EU AI Act, Art. 12(2)(c) and 26(5)",
        asks: "Events that serve monitoring of the operation by the deployer.",
        fields: "time, server, method, tool, subject, client, http, error",
        besides: "what was done about what was seen",
    },
    Duty {
        of: "EU AI Act, Art. 12(3)",
        asks: "For remote biometric identification: period of use, reference data, input and the persons who verify.",
        fields: "time of call and end, duration_ms; subject and its act",
        besides: "reference data and input: the audit holds no results, and of arguments args_hash or masked args at the most",
    },
    Duty {
        of: "EU AI Act, Art. 19",
        asks: "Providers keep the logs under their control for a period that fits the purpose, six months at least.",
        fields: "first and last record below, the files and their digests",
        besides: "that the files are kept, and cannot be changed where they are kept",
    },
    Duty {
        of: "EU AI Act, Art. 26(6)",
        asks: "Deployers keep the logs under their control for six months at least.",
        fields: "first and last record below, the files and their digests",
        besides: "that the files are kept, and cannot be changed where they are kept",
    },
    Duty {
        of: "ISO/IEC 42001, A.6.2.8",
        asks: "It is decided when event logs of an AI system are kept, at the least while it is in use.",
        fields: "start, stop, call, end; config_reload and policy.version for changes; subject for who used it",
        besides: "the decision itself, and the phases it names",
    },
    Duty {
        of: "SOC 2, CC6.1",
        asks: "Logical access is restricted to those who are authorised.",
        fields: "subject, decision, policy.rule, policy.missing_scopes; auth_failed, revoked, key_refresh",
        besides: "how access is granted, reviewed and taken away",
    },
    Duty {
        of: "SOC 2, CC7.2",
        asks: "Systems are monitored for anomalies.",
        fields: "decision, error, auth_failed, tool_drift, masked, shadow",
        besides: "alerts, and who acts on them",
    },
    Duty {
        of: "SOC 2, CC8.1",
        asks: "Changes are authorised, tested and recorded.",
        fields: "policy.version by time, config_reload, start, tool_drift",
        besides: "who approved a change: compare policy.version with your repository",
    },
];
