//! What a caller wrote in a call: the answer must not have pseudonyms for that, or reveal values restored in the request.

use super::shadow::Shadow;
use crate::json::{Kind, Span, Value, fold};
use crate::mcp::{Message, Restored};

/// The text of one request.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The letters and digits of all values in `params`, folded and concatenated.
    words: String,
    /// The same for the names of members, kept apart so that they do not split a value.
    names: String,
    restored: Box<[Restored]>,
}

impl Said {
    /// The text of `message`, except restored values.
    pub(super) fn of(message: &Message) -> Self {
        let mut said = Self { restored: message.restored().into(), ..Self::default() };
        if let Some(params) = message.params() {
            said.listen(params);
        }
        said
    }

    /// The text of a request that has just this text.
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

    /// Whether the caller wrote `value`, in any spelling and split in any way.
    pub(super) fn holds(&self, value: &str) -> bool {
        let value: String = letters(value).collect();
        self.words.contains(&value) || self.names.contains(&value)
    }

    /// The number of bytes searched for a value.
    pub(super) const fn length(&self) -> usize {
        self.words.len() + self.names.len()
    }

    /// The values restored in the request.
    pub(super) fn restored(&self) -> &[Restored] {
        &self.restored
    }

    /// Whether `span` of the request is a restored value.
    pub(super) fn spares(&self, span: Span) -> bool {
        self.restored.iter().any(|restored| restored.span == span)
    }
}

/// Adds `text` and up to three successive decodings of it.
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
