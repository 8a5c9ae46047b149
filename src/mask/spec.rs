//! Masks as written in a policy, and their compilation.

use std::sync::Arc;

use super::asks::{Asked, Asks};
use super::engine::{Rule, Sought};
use super::opaque::Opaque;
use super::pattern::Pattern;
use super::places::Places;
use super::pseudonym::tag_of;
use super::view::Applies;

/// One `[[mask]]` of a policy file.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its id, unique per server.
    pub id: Arc<str>,
    /// The directions it applies to.
    pub on: Directions,
    /// What it looks for.
    pub what: What,
    /// What it does with a value.
    pub action: Action,
    /// When it applies.
    pub applies: Applies,
    /// What it does outside plain text.
    pub places: Places,
    /// Where its pseudonyms are opened again.
    pub restore: Vec<Grant>,
    /// Further conditions on a match.
    pub asks: Asks,
}

impl Spec {
    /// A mask that applies to every message of its directions.
    pub fn new(id: &str, on: Directions, what: What, action: Action) -> Self {
        let (applies, places) = (Applies::default(), Places::default());
        Self { id: id.into(), on, what, action, applies, places, restore: Vec::new(), asks: Asks::default() }
    }
}

/// A tool and its arguments in which pseudonyms are opened.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The exact name of the tool.
    pub tool: Box<str>,
    /// Places below `arguments`, as written in the policy and compiled.
    pub args: Vec<(Box<str>, Opaque)>,
    /// Entities or labels whose pseudonyms are opened there.
    pub names: Vec<Arc<str>>,
}

/// What a mask looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Values with a recogniser in this crate.
    Entities(Vec<Entity>),
    /// A regular expression and the label of its matches.
    Pattern {
        /// The source, in the syntax of the `regex` crate.
        regex: String,
        /// The label, in upper case.
        label: String,
    },
}

/// A kind of value with a recogniser; names are those of Microsoft Presidio where it has the same entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Entity {
    AuTfn,
    BrCpf,
    CaSin,
    CreditCard,
    Crypto,
    DateOfBirth,
    DeTaxId,
    EmailAddress,
    EsNif,
    FrNir,
    IbanCode,
    InAadhaar,
    IpAddress,
    ItFiscalCode,
    MacAddress,
    PhoneNumber,
    PlPesel,
    Secret,
    UkNhs,
    UkNino,
    UrlCredentials,
    UsBankNumber,
    UsItin,
    UsSsn,
}

impl Entity {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::AuTfn,
        Self::BrCpf,
        Self::CaSin,
        Self::CreditCard,
        Self::Crypto,
        Self::DateOfBirth,
        Self::DeTaxId,
        Self::EmailAddress,
        Self::EsNif,
        Self::FrNir,
        Self::IbanCode,
        Self::InAadhaar,
        Self::IpAddress,
        Self::ItFiscalCode,
        Self::MacAddress,
        Self::PhoneNumber,
        Self::PlPesel,
        Self::Secret,
        Self::UkNhs,
        Self::UkNino,
        Self::UrlCredentials,
        Self::UsBankNumber,
        Self::UsItin,
        Self::UsSsn,
    ];

    /// The entity with that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }

    /// Its name in policies and records.
    pub const fn name(self) -> &'static str {
        let (_, name) = self.token().split_at(1);
        name.split_at(name.len() - 1).0
    }

    /// The redaction of its values: its name in brackets.
    pub(super) const fn token(self) -> &'static str {
        match self {
            Self::AuTfn => "[AU_TFN]",
            Self::BrCpf => "[BR_CPF]",
            Self::CaSin => "[CA_SIN]",
            Self::CreditCard => "[CREDIT_CARD]",
            Self::Crypto => "[CRYPTO]",
            Self::DateOfBirth => "[DATE_OF_BIRTH]",
            Self::DeTaxId => "[DE_TAX_ID]",
            Self::EmailAddress => "[EMAIL_ADDRESS]",
            Self::EsNif => "[ES_NIF]",
            Self::FrNir => "[FR_NIR]",
            Self::IbanCode => "[IBAN_CODE]",
            Self::InAadhaar => "[IN_AADHAAR]",
            Self::IpAddress => "[IP_ADDRESS]",
            Self::ItFiscalCode => "[IT_FISCAL_CODE]",
            Self::MacAddress => "[MAC_ADDRESS]",
            Self::PhoneNumber => "[PHONE_NUMBER]",
            Self::PlPesel => "[PL_PESEL]",
            Self::Secret => "[SECRET]",
            Self::UkNhs => "[UK_NHS]",
            Self::UkNino => "[UK_NINO]",
            Self::UrlCredentials => "[URL_CREDENTIALS]",
            Self::UsBankNumber => "[US_BANK_NUMBER]",
            Self::UsItin => "[US_ITIN]",
            Self::UsSsn => "[US_SSN]",
        }
    }
}

/// What a mask does with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Refuses the whole message.
    Block,
    /// Writes `ENTITY:` and a keyed hash: the same for the same value, and irreversible.
    Hash {
        /// For whom the same value has the same hash.
        share: Share,
    },
    /// Writes twelve mask characters, whatever the length of the value, between the first and last characters it keeps.
    Mask {
        /// Characters to keep at the start.
        keep_first: usize,
        /// Characters to keep at the end.
        keep_last: usize,
        /// The mask character.
        char: char,
    },
    /// Writes `[ENTITY]`.
    Redact,
    /// Changes nothing; values are only counted.
    Report,
    /// Writes a pseudonym that is opened again for the same caller where a [`Grant`] allows it.
    Tokenize,
}

/// For whom the same value has the same hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// For one principal.
    #[default]
    Principal,
    /// For all callers of the server.
    Server,
}

impl Share {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Server => "server",
        }
    }
}

impl Action {
    /// Its name in policies and records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Hash { .. } => "hash",
            Self::Mask { .. } => "mask",
            Self::Redact => "redact",
            Self::Report => "report",
            Self::Tokenize => "tokenize",
        }
    }
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    Arguments,
    /// From the upstream to the client.
    Result,
}

impl Direction {
    /// Its name in policies and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
        }
    }
}

/// The directions a mask applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// From the client.
    pub arguments: bool,
    /// From the upstream.
    pub result: bool,
}

impl Directions {
    /// Whether `direction` is among them.
    pub const fn has(self, direction: Direction) -> bool {
        match direction {
            Direction::Arguments => self.arguments,
            Direction::Result => self.result,
        }
    }
}

/// Why one mask of a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mask `{id}`: {message}")]
pub struct SpecError {
    /// The mask.
    pub id: Arc<str>,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Whether it is the `pattern` that is wrong.
    pub of_pattern: bool,
}

impl SpecError {
    pub(super) fn new(id: &Arc<str>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { id: id.clone(), message: message.into(), help: help.into(), of_pattern: false }
    }
}

/// Compiles `spec`. Errs with everything that is wrong with it.
pub(super) fn rule(spec: &Spec) -> Result<Rule, Vec<SpecError>> {
    let mut errors = Vec::new();
    let mut refuse = |message: String, help: &str| errors.push(SpecError::new(&spec.id, message, help));
    if spec.on == Directions::default() {
        refuse("applies to nothing".into(), "write `on = [\"result\"]`, `[\"arguments\"]` or both");
    }
    if let Action::Mask { char, .. } = spec.action
        && (char.is_control()
            || char.is_whitespace()
            || char.is_ascii_digit()
            || matches!(char, '"' | '\\' | '@' | '%' | '&'))
    {
        refuse(format!("`{}` cannot be a mask character", char.escape_default()), "use `*`, `#`, `x` or `•`");
    }
    if spec.action == Action::Tokenize {
        if spec.on.arguments {
            refuse(
                "pseudonyms are for results: the server would get what only the proxy can read".into(),
                "write `on = [\"result\"]`, or another action for arguments",
            );
        }
        if matches!(&spec.what, What::Entities(entities) if entities.contains(&Entity::Secret)) {
            refuse("a `SECRET` has no pseudonym: nothing brings it back".into(), "use `redact` or `block` for secrets");
        }
    }
    for word in spec.asks.near.iter().chain(&spec.asks.allow).filter(|word| word.trim().is_empty()) {
        refuse(format!("`{word}` is no word or value"), "take it out: it would stand everywhere, or nowhere");
    }
    let what = match &spec.what {
        What::Entities(entities) => {
            if entities.is_empty() {
                refuse("looks for nothing".into(), "name at least one entity, or write a `pattern` with a `label`");
            }
            Some(Sought::Entities(entities.clone()))
        }
        What::Pattern { regex, label } => {
            if !is_label(label) {
                refuse(
                    format!("`{label}` cannot be a label"),
                    "use up to 64 upper-case letters, digits and `_`, a letter first: EMPLOYEE_ID",
                );
            }
            match Pattern::new(regex) {
                Ok(pattern) => Some(Sought::Pattern { pattern: Arc::new(pattern), label: label.as_str().into() }),
                Err(error) => {
                    let error = SpecError::new(&spec.id, error.message, error.help);
                    errors.push(SpecError { of_pattern: true, ..error });
                    None
                }
            }
        }
    };
    match what {
        Some(what) if errors.is_empty() => Ok(Rule {
            id: spec.id.clone(),
            tag: tag_of(&spec.id),
            action: spec.action.clone(),
            what,
            applies: spec.applies.clone(),
            places: spec.places,
            restore: spec.restore.clone().into(),
            asks: Arc::new(Asked::new(&spec.asks)),
        }),
        _ => Err(errors),
    }
}

/// Adds an error for masks with the same tag, whose pseudonyms could not be distinguished.
pub(super) fn check_tags(rules: &[(Directions, Rule)], errors: &mut Vec<SpecError>) {
    let keyed: Vec<&Rule> = rules.iter().map(|(_, rule)| rule).filter(|rule| rule.action == Action::Tokenize).collect();
    for (at, rule) in keyed.iter().enumerate() {
        if keyed[..at].iter().any(|other| other.tag == rule.tag && other.id != rule.id) {
            let message = "its pseudonyms would look like those of another mask";
            errors.push(SpecError::new(&rule.id, message, "give it another `id`: a short hash of it marks pseudonyms"));
        }
    }
}

fn is_label(label: &str) -> bool {
    label.len() <= 64
        && label.starts_with(|c: char| c.is_ascii_uppercase())
        && label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
