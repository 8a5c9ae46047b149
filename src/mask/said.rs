//! What a caller wrote in a call: its answer must not turn that into pseudonyms, or reveal what was restored for it.

use super::shadow::Shadow;
use crate::json::{Kind, Span, Value, fold};
use crate::mcp::{Message, Restored};

/// The words of one request.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Letters and digits of everything in `params`, folded and run together.
    words: String,
    /// The same of names of members, which must not stand between the parts of a value.
    names: String,
    restored: Box<[Restored]>,
}

impl Said {
    /// What `message` says, but for what was restored in it.
    pub(super) fn of(message: &Message) -> Self {
        let mut said = Self { restored: message.restored().into(), ..Self::default() };
        if let Some(params) = message.params() {
            said.listen(params);
        }
        said
    }

    /// What a request with this text says.
    #[cfg(test)]
    pub(super) fn speaking(text: &str) -> Self {
        let mut said = Self::default();
        hear(&mut said.words, text);
        said
    }

    fn listen(&mut self, value: Value<'_>) {
        match value.kind() {
            Kind::Array => value.items().for_each(|item| self.listen(item)),
            Kind::Object => {
                for member in value.members() {
                    hear(&mut self.names, &member.name());
                    self.listen(member.value);
                }
            }
            Kind::Number => hear(&mut self.words, std::str::from_utf8(value.raw()).unwrap_or_default()),
            Kind::String if self.spares(value.span()) => {}
            Kind::String => hear(&mut self.words, &value.as_str().unwrap_or_default()),
            Kind::Bool | Kind::Key | Kind::Null => {}
        }
    }

    /// Whether the caller wrote `value`, however it was spelled and cut.
    pub(super) fn holds(&self, value: &str) -> bool {
        let value: String = letters(value).collect();
        self.words.contains(&value) || self.names.contains(&value)
    }

    /// How many bytes are looked through for a value.
    pub(super) const fn length(&self) -> usize {
        self.words.len() + self.names.len()
    }

    /// What was restored for the call.
    pub(super) fn restored(&self) -> &[Restored] {
        &self.restored
    }

    /// Whether a restored value stands there in the request.
    pub(super) fn spares(&self, span: Span) -> bool {
        self.restored.iter().any(|restored| restored.span == span)
    }
}

/// Adds what `text` says, in every disguise it can be taken for.
fn hear(words: &mut String, text: &str) {
    const SHADOWS: usize = 3;
    words.extend(letters(text));
    let mut shadow = Shadow::of(text);
    for _ in 0..SHADOWS {
        let Some(shown) = shadow else { return };
        words.extend(letters(shown.text()));
        shadow = Shadow::of(shown.text());
    }
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    let folded: Vec<char> = fold(text).chars().filter(|c| c.is_alphanumeric()).collect();
    folded.into_iter()
}
