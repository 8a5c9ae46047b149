//! `servers.NAME.metadata`.

use std::collections::BTreeMap;

use toml::Spanned;
use url::Url;

use super::super::{Localized, Metadata, SignedMetadata, raw};
use super::Loader;

impl Loader<'_> {
    pub(super) fn metadata(&mut self, raw: &raw::Metadata) -> Metadata {
        let types = raw.authorization_details_types.as_ref();
        Metadata {
            documentation: self.page("documentation", raw.documentation.as_ref()),
            policy_uri: self.page("policy_uri", raw.policy_uri.as_ref()),
            tos_uri: self.page("tos_uri", raw.tos_uri.as_ref()),
            authorization_details_types: types
                .map(|written| self.texts("authorization_details_types", written))
                .unwrap_or_default(),
            languages: self.languages(raw),
            signed: self.signed(raw),
        }
    }

    fn page(&mut self, key: &str, written: Option<&Spanned<String>>) -> Option<Url> {
        self.url(key, written?)
    }

    fn languages(&mut self, raw: &raw::Metadata) -> BTreeMap<String, Localized> {
        let mut all: BTreeMap<String, Localized> = BTreeMap::new();
        for (tag, table) in raw.languages.iter().flatten() {
            let text = tag.get_ref();
            if !is_language_tag(text) {
                let problem = self.error(tag.span(), "not a language tag", "no language is written like this");
                self.report(problem.help("tags are those of RFC 5646: `de`, `pt-BR`, `zh-Hant`"));
            } else if all.keys().any(|other| other.eq_ignore_ascii_case(text)) {
                let problem = self.error(tag.span(), format!("`{text}` is written twice"), "case makes no difference");
                self.report(problem);
            }
            all.insert(text.clone(), self.localized(table));
        }
        all
    }

    fn localized(&mut self, table: &Spanned<raw::Localized>) -> Localized {
        let raw = table.get_ref();
        let localized = Localized {
            resource_name: raw.resource_name.as_ref().map(|written| self.text("resource_name", written, 200)),
            documentation: self.page("documentation", raw.documentation.as_ref()),
            policy_uri: self.page("policy_uri", raw.policy_uri.as_ref()),
            tos_uri: self.page("tos_uri", raw.tos_uri.as_ref()),
        };
        let pages = [&raw.documentation, &raw.policy_uri, &raw.tos_uri];
        if raw.resource_name.is_none() && pages.iter().all(|page| page.is_none()) {
            let label = "needs `resource_name`, `documentation`, `policy_uri` or `tos_uri`";
            let problem = self.error(table.span(), "nothing is said in this language", label);
            self.report(problem);
        }
        localized
    }

    fn signed(&mut self, raw: &raw::Metadata) -> Option<SignedMetadata> {
        match (&raw.signing_key_file, &raw.signed_metadata_file) {
            (None, None) => None,
            (Some(key), None) => Some(SignedMetadata::Own(self.key_file("signing_key_file", key))),
            (None, Some(file)) => Some(SignedMetadata::Given(self.existing("signed_metadata_file", file))),
            (Some(_), Some(file)) => {
                let label = "`signing_key_file` is written too";
                let problem = self.error(file.span(), "the document would be signed twice", label);
                self.report(problem.help("leave one of them out: it has one `signed_metadata`"));
                None
            }
        }
    }
}

/// Whether this has the shape of a language tag (RFC 5646 section 2.1): subtags of up to eight letters and digits, the
/// first of letters.
fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let first = subtags.next().unwrap_or_default();
    (2..=8).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags
            .all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::is_language_tag;

    #[test]
    fn language_tags_have_the_shape_of_rfc_5646() {
        for tag in ["de", "pt-BR", "zh-Hant-TW", "sr-Latn", "es-419", "de-CH-1996", "tlh", "x-klingon"] {
            assert_eq!(is_language_tag(tag), tag != "x-klingon", "{tag}");
        }
        for tag in ["", "d", "de-", "-de", "de--CH", "de_CH", "de CH", "1a", "deutschland", "de-ueberlaut", "dé", "de#"]
        {
            assert!(!is_language_tag(tag), "{tag}");
        }
    }
}
