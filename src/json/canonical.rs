use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use super::{Kind, Value};

/// SHA-256 of an object's members except those named in `but`, independent of string escapes, member order and white space.
/// Numbers are hashed as written.
pub fn digest(object: Value<'_>, but: &[&str]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    members(object, but, &mut context);
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

fn members(object: Value<'_>, but: &[&str], context: &mut Context) {
    let mut members: Vec<_> = object.members().map(|member| (member.name(), member.value)).collect();
    members.retain(|(name, _)| !but.contains(&&**name));
    members.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    for (name, of) in members {
        field(b'k', name.as_bytes(), context);
        value(of, context);
    }
    context.update(b".");
}

/// Feeds one value to the hash. The encoding is injective: every value starts with its type, and is length-prefixed or ends
/// with a terminator.
fn value(value_: Value<'_>, context: &mut Context) {
    match value_.kind() {
        Kind::Array => {
            context.update(b"[");
            value_.items().for_each(|item| value(item, context));
            context.update(b".");
        }
        Kind::Object => {
            context.update(b"{");
            members(value_, &[], context);
        }
        Kind::String => field(b's', value_.as_str().unwrap_or_default().as_bytes(), context),
        Kind::Bool | Kind::Key | Kind::Null | Kind::Number => field(b'l', value_.raw(), context),
    }
}

fn field(kind: u8, bytes: &[u8], context: &mut Context) {
    context.update(&[kind]);
    context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::digest;
    use crate::json::{Document, Limits};

    fn of(text: &str) -> [u8; 32] {
        digest(Document::parse(text.to_owned().into(), &Limits::REQUEST).unwrap().root(), &["_meta"])
    }

    #[test]
    fn says_the_same_of_what_says_the_same() {
        let one = of(r#"{"name":"a","arguments":{"x":[1,{"y":"é"}],"z":null}}"#);
        for same in [
            r#"{ "arguments" : {"z":null,"x":[1,{"y":"\u00e9"}]}, "name":"a" }"#,
            r#"{"n\u0061me":"a","arguments":{"x":[1,{"y":"é"}],"z":null},"_meta":{"progressToken":1}}"#,
        ] {
            assert_eq!(of(same), one, "{same}");
        }
    }

    #[test]
    fn tells_apart_what_differs() {
        let texts = [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[12]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":null}"#,
            r#"{"a":""}"#,
            r#"{"a":true}"#,
            r#"{"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{"b":1},"c":2}"#,
            r#"{"a":{"b":1,"c":2}}"#,
            r#"{"a":[{"b":1},{"c":2}]}"#,
            r#"{"a":[{"b":1,"c":2}]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"_metaa":1}"#,
            r#"{"a":{"_meta":1}}"#,
        ];
        let digests: std::collections::HashSet<_> = texts.iter().map(|text| of(text)).collect();
        assert_eq!(digests.len(), texts.len());
    }
}
