//! Content that the client's revision does not have, as text: a client that does not know the type of one block may refuse the
//! whole answer.

use crate::json::{Splice, Value, quoted};
use crate::mcp::Revision;

/// Replaces the blocks of a result that the client does not know: links to resources before 2025-06-18, and audio before
/// 2025-03-26.
pub(super) fn known_to(revision: Revision, result: Value<'_>, splice: &mut Splice) {
    if revision >= Revision::V2025_06_18 {
        return;
    }
    for block in result.get("content").iter().flat_map(Value::items) {
        as_text(revision, block, splice);
    }
    for message in result.get("messages").iter().flat_map(Value::items) {
        if let Some(block) = message.get("content") {
            as_text(revision, block, splice);
        }
    }
}

fn as_text(revision: Revision, block: Value<'_>, splice: &mut Splice) {
    let part = |name: &str| block.get(name).and_then(|part| part.as_str());
    let text = match part("type").as_deref() {
        Some("resource_link") => {
            let (name, uri) = (part("title").or_else(|| part("name")), part("uri"));
            let parts = [name, uri, part("description")];
            parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
        Some("audio") if revision < Revision::V2025_03_26 => {
            format!("[{}]", part("mimeType").unwrap_or_else(|| "audio".into()))
        }
        _ => return,
    };
    splice.replace(block.span(), format!(r#"{{"type":"text","text":{}}}"#, quoted(&text)));
}

#[cfg(test)]
mod tests {
    use super::known_to;
    use crate::json::{Document, Limits, Splice};
    use crate::mcp::Revision::{self, V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25};

    fn rewritten(revision: Revision, text: &str) -> String {
        let document = Document::parse(text.to_owned().into(), &Limits::ANSWER).unwrap();
        let mut splice = Splice::new();
        known_to(revision, document.root(), &mut splice);
        String::from_utf8(splice.apply(document.bytes()).to_vec()).unwrap()
    }

    #[test]
    fn a_block_the_revision_lacks_is_text_and_others_stay() {
        let link = r#"{"type":"resource_link","uri":"crm://a","name":"a","title":"A \"b\"","description":"d"}"#;
        let audio = r#"{"type":"audio","data":"AAAA","mimeType":"audio/wav"}"#;
        let (link_text, audio_text) =
            (r#"{"type":"text","text":"A \"b\"\ncrm://a\nd"}"#, r#"{"type":"text","text":"[audio/wav]"}"#);
        for (revision, first, second) in [
            (V2024_11_05, link_text, audio_text),
            (V2025_03_26, link_text, audio),
            (V2025_06_18, link, audio),
            (V2025_11_25, link, audio),
        ] {
            let image = r#"{"type":"image","data":"AAAA","mimeType":"image/png"}"#;
            let before =
                format!(r#"{{"content":[{image},{link}, {audio}],"structuredContent":{{"content":[{link}]}}}}"#);
            let after =
                format!(r#"{{"content":[{image},{first}, {second}],"structuredContent":{{"content":[{link}]}}}}"#);
            assert_eq!(rewritten(revision, &before), after, "{revision}");
            let prompt = |block: &str| format!(r#"{{"messages":[{{"role":"user","content":{block}}}]}}"#);
            assert_eq!(rewritten(revision, &prompt(link)), prompt(first), "{revision}");
        }
    }
}
