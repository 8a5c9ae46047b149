//! The table of keys with vendor prefixes: a literal that does not occur in prose, and what must surround it.

use Part::{Literal, Run};

/// One kind of key.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: &'static str,
    /// The literal that is searched for.
    pub(super) literal: &'static str,
    /// What must precede the literal. Empty: no letter or digit may precede it.
    pub(super) before: &'static [Part],
    /// What must follow it, with no letter or digit after that.
    pub(super) after: &'static [Part],
}

/// A piece of a key.
#[derive(Debug)]
pub(super) enum Part {
    Literal(&'static str),
    /// A whole run of characters of a set, with its least and greatest length.
    Run(Set, usize, usize),
}

/// Sets of characters in keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Set {
    Alnum,
    Base64,
    Digit,
    Hex,
    /// Lower-case letters and digits.
    Lower,
    /// Upper-case letters and digits.
    Upper,
    /// Base64url and the characters vendors add to it: letters, digits, `_`, `-`.
    Url,
    /// Letters, digits and `_`.
    Word,
}

impl Set {
    /// The number of sets.
    pub(super) const COUNT: usize = Self::Word as usize + 1;

    pub(super) const fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Digit => byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Lower => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'_',
        }
    }
}

const fn key(kind: &'static str, literal: &'static str, after: &'static [Part]) -> Shape {
    Shape { kind, literal, before: &[], after }
}

const fn within(kind: &'static str, before: &'static [Part], literal: &'static str, after: &'static [Part]) -> Shape {
    Shape { kind, literal, before, after }
}

/// No upper bound: characters appended to a key do not hide it.
const ANY: usize = usize::MAX - 1;
const AWS: &[Part] = &[Run(Set::Upper, 16, 16)];
const GITHUB: &[Part] = &[Run(Set::Word, 36, ANY)];
const GITLAB: &[Part] = &[Run(Set::Url, 20, ANY)];
const LONG_URL: &[Part] = &[Run(Set::Url, 20, ANY)];
const HEX_32: &[Part] = &[Run(Set::Hex, 32, 32)];
const HEX_64: &[Part] = &[Run(Set::Hex, 64, 64)];
const SLACK: &[Part] = &[Run(Set::Url, 20, ANY)];
const STRIPE: &[Part] = &[Run(Set::Alnum, 10, ANY)];

/// The shapes. Several may share a literal; the longest match wins.
#[rustfmt::skip]
pub(super) static SHAPES: [Shape; 146] = [
    key("adafruit-key", "aio_", &[Run(Set::Alnum, 28, 28)]),
    key("age-secret-key", "AGE-SECRET-KEY-1", &[Run(Set::Upper, 58, 58)]),
    key("alibaba-key", "LTAI", &[Run(Set::Alnum, 16, 26)]),
    key("anthropic-key", "sk-ant-", &[Run(Set::Url, 20, ANY)]),
    key("artifactory-key", "AKCp", &[Run(Set::Alnum, 60, 80)]),
    key("atlassian-token", "ATATT3", &[Run(Set::Url, 60, ANY)]),
    key("atlassian-token", "ATATT3", &[Run(Set::Url, 60, ANY), Literal("="), Run(Set::Hex, 8, 8)]),
    key("atlassian-token", "ATCTT3", &[Run(Set::Url, 60, ANY)]),
    key("aws-key", "AKIA", AWS),
    key("aws-key", "ASIA", AWS),
    key("aws-key", "ABIA", AWS),
    key("aws-key", "ACCA", AWS),
    key("aws-bedrock-key", "ABSK", &[Run(Set::Base64, 100, ANY)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "0Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "1Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "2Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "3Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "4Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "5Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "6Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "7Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "8Q~", &[Run(Set::Url, 31, 34)]),
    within("azure-client-secret", &[Run(Set::Url, 3, 3)], "9Q~", &[Run(Set::Url, 31, 34)]),
    key("azure-storage-key", "AccountKey=", &[Run(Set::Base64, 86, 90)]),
    key("bitbucket-password", "ATBB", &[Run(Set::Alnum, 28, 40)]),
    key("brevo-key", "xkeysib-", &[Run(Set::Hex, 64, 64), Literal("-"), Run(Set::Alnum, 16, 16)]),
    key("buildkite-token", "bkua_", &[Run(Set::Hex, 40, 40)]),
    key("circleci-token", "CCIPAT_", &[Run(Set::Alnum, 22, 22), Literal("_"), Run(Set::Hex, 40, 40)]),
    key("clojars-token", "CLOJARS_", &[Run(Set::Lower, 60, 60)]),
    key("contentful-token", "CFPAT-", &[Run(Set::Url, 43, 43)]),
    key("crates-io-token", "cio", &[Run(Set::Alnum, 32, 32)]),
    key("databricks-token", "dapi", HEX_32),
    key("databricks-token", "dapi", &[Run(Set::Hex, 32, 32), Literal("-"), Run(Set::Digit, 1, 2)]),
    key("databricks-token", "dose", HEX_32),
    key("digitalocean-token", "dop_v1_", HEX_64),
    key("digitalocean-token", "doo_v1_", HEX_64),
    key("digitalocean-token", "dor_v1_", HEX_64),
    key("discord-webhook", "discord.com", &[Literal("/api/webhooks/"), Run(Set::Digit, 17, 20), Literal("/"), Run(Set::Url, 60, 80)]),
    key("docker-token", "dckr_pat_", &[Run(Set::Url, 27, 64)]),
    key("docker-token", "dckr_oat_", &[Run(Set::Url, 27, 64)]),
    key("doppler-token", "dp.pt.", &[Run(Set::Alnum, 40, 44)]),
    key("doppler-token", "dp.st.", &[Run(Set::Url, 1, 40), Literal("."), Run(Set::Alnum, 40, 44)]),
    key("dynatrace-token", "dt0c01.", &[Run(Set::Upper, 24, 24), Literal("."), Run(Set::Upper, 64, 64)]),
    key("facebook-token", "EAA", &[Run(Set::Alnum, 80, ANY)]),
    key("figma-token", "figd_", &[Run(Set::Url, 36, 48)]),
    key("firecrawl-key", "fc-", HEX_32),
    key("flutterwave-key", "FLWSECK", &[Run(Set::Url, 12, 50)]),
    key("fly-token", "fm2_", &[Run(Set::Base64, 100, ANY)]),
    key("github-token", "github_pat_", &[Run(Set::Word, 50, ANY)]),
    key("github-token", "ghp_", GITHUB),
    key("github-token", "gho_", GITHUB),
    key("github-token", "ghu_", GITHUB),
    key("github-token", "ghs_", GITHUB),
    key("github-token", "ghr_", GITHUB),
    key("gitlab-token", "glpat-", &[Run(Set::Url, 20, ANY), Literal("."), Run(Set::Alnum, 2, 2), Literal("."), Run(Set::Alnum, 9, 9)]),
    key("gitlab-token", "glpat-", GITLAB),
    key("gitlab-token", "gldt-", GITLAB),
    key("gitlab-token", "glft-", GITLAB),
    key("gitlab-token", "glsoat-", GITLAB),
    key("gitlab-token", "glrt-", GITLAB),
    key("gitlab-token", "glcbt-", GITLAB),
    key("gitlab-token", "glptt-", GITLAB),
    key("gitlab-token", "gloas-", GITLAB),
    key("gitlab-token", "glagent-", GITLAB),
    key("google-key", "AIza", &[Run(Set::Url, 35, 35)]),
    key("google-client-secret", "GOCSPX-", &[Run(Set::Url, 28, 28)]),
    key("google-token", "ya29.", LONG_URL),
    key("grafana-token", "glsa_", &[Run(Set::Alnum, 32, 32), Literal("_"), Run(Set::Hex, 8, 8)]),
    key("grafana-token", "glc_", &[Run(Set::Base64, 32, ANY)]),
    key("groq-key", "gsk_", &[Run(Set::Alnum, 40, 64)]),
    key("heroku-key", "HRKU-", &[Run(Set::Url, 36, 70)]),
    key("hubspot-token", "pat-na1-", &[Run(Set::Url, 36, 36)]),
    key("hubspot-token", "pat-eu1-", &[Run(Set::Url, 36, 36)]),
    key("huggingface-token", "hf_", &[Run(Set::Alnum, 30, 40)]),
    key("huggingface-token", "api_org_", &[Run(Set::Alnum, 30, 40)]),
    key("langsmith-key", "lsv2_", &[Literal("pt_"), Run(Set::Hex, 32, 32), Literal("_"), Run(Set::Hex, 10, 10)]),
    key("langsmith-key", "lsv2_", &[Literal("sk_"), Run(Set::Hex, 32, 32), Literal("_"), Run(Set::Hex, 10, 10)]),
    key("linear-key", "lin_api_", &[Run(Set::Alnum, 40, 40)]),
    key("linear-key", "lin_oauth_", &[Run(Set::Hex, 64, 64)]),
    key("mailgun-key", "key-", HEX_32),
    key("mapbox-token", "sk.eyJ", &[Run(Set::Url, 40, ANY), Literal("."), Run(Set::Url, 20, 24)]),
    key("netlify-token", "nfp_", &[Run(Set::Alnum, 36, 40)]),
    key("newrelic-key", "NRAK-", &[Run(Set::Upper, 27, 27)]),
    key("newrelic-key", "NRII-", &[Run(Set::Url, 32, 32)]),
    key("notion-token", "ntn_", &[Run(Set::Alnum, 40, 50)]),
    key("notion-token", "secret_", &[Run(Set::Alnum, 43, 43)]),
    key("npm-token", "npm_", &[Run(Set::Alnum, 36, 36)]),
    key("nuget-key", "oy2", &[Run(Set::Lower, 43, 43)]),
    key("openai-key", "sk-proj-", &[Run(Set::Url, 20, ANY)]),
    key("openai-key", "sk-svcacct-", &[Run(Set::Url, 20, ANY)]),
    key("openai-key", "sk-admin-", &[Run(Set::Url, 20, ANY)]),
    key("openrouter-key", "sk-or-v1-", HEX_64),
    key("langfuse-key", "sk-lf-", &[Run(Set::Url, 36, 36)]),
    key("openai-key", "sk-", &[Run(Set::Alnum, 32, 64)]),
    key("perplexity-key", "pplx-", &[Run(Set::Alnum, 40, 64)]),
    key("pinecone-key", "pcsk_", &[Run(Set::Word, 40, ANY)]),
    key("planetscale-token", "pscale_", &[Run(Set::Url, 32, 80)]),
    key("postman-key", "PMAK-", &[Run(Set::Hex, 24, 24), Literal("-"), Run(Set::Hex, 34, 34)]),
    key("pulumi-token", "pul-", &[Run(Set::Hex, 40, 40)]),
    key("pypi-token", "pypi-AgE", &[Run(Set::Url, 50, ANY)]),
    key("razorpay-key", "rzp_live_", &[Run(Set::Alnum, 14, 14)]),
    key("replicate-token", "r8_", &[Run(Set::Alnum, 37, 40)]),
    key("resend-key", "re_", &[Run(Set::Alnum, 8, 8), Literal("_"), Run(Set::Alnum, 24, 24)]),
    key("rubygems-key", "rubygems_", &[Run(Set::Hex, 48, 48)]),
    key("sendgrid-key", "SG.", &[Run(Set::Url, 16, 32), Literal("."), Run(Set::Url, 16, 64)]),
    key("sentry-token", "sntrys_", &[Run(Set::Base64, 60, ANY), Literal("_"), Run(Set::Base64, 40, 50)]),
    key("sentry-token", "sntryu_", HEX_64),
    key("shippo-token", "shippo_live_", &[Run(Set::Hex, 40, 40)]),
    key("shopify-token", "shpat_", HEX_32),
    key("shopify-token", "shpca_", HEX_32),
    key("shopify-token", "shppa_", HEX_32),
    key("shopify-token", "shpss_", HEX_32),
    key("slack-token", "xapp-", SLACK),
    key("slack-token", "xoxe.xox", &[Run(Set::Url, 20, ANY)]),
    key("slack-token", "xox", &[Run(Set::Alnum, 1, 1), Literal("-"), Run(Set::Url, 20, ANY)]),
    key("slack-webhook", "hooks.slack.com", &[Literal("/services/"), Run(Set::Alnum, 8, 14), Literal("/"), Run(Set::Alnum, 8, 14), Literal("/"), Run(Set::Alnum, 20, 28)]),
    key("square-token", "sq0", &[Run(Set::Alnum, 3, 3), Literal("-"), Run(Set::Url, 22, 43)]),
    key("square-token", "EAAA", &[Run(Set::Url, 60, 64)]),
    key("stripe-key", "sk_live_", STRIPE),
    key("stripe-key", "sk_test_", STRIPE),
    key("stripe-key", "rk_live_", STRIPE),
    key("stripe-key", "rk_test_", STRIPE),
    key("stripe-webhook-secret", "whsec_", &[Run(Set::Base64, 32, 64)]),
    key("supabase-key", "sbp_", &[Run(Set::Hex, 40, 40)]),
    key("tailscale-key", "tskey-", &[Run(Set::Url, 20, ANY)]),
    within("telegram-token", &[Run(Set::Digit, 8, 10)], ":AA", &[Run(Set::Url, 33, 33)]),
    within("terraform-token", &[Run(Set::Alnum, 14, 14)], ".atlasv1.", &[Run(Set::Url, 60, 70)]),
    key("twilio-key", "SK0", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK1", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK2", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK3", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK4", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK5", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK6", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK7", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK8", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SK9", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SKa", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SKb", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SKc", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SKd", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SKe", &[Run(Set::Hex, 31, 31)]),
    key("twilio-key", "SKf", &[Run(Set::Hex, 31, 31)]),
    key("vault-token", "hvs.", LONG_URL),
    key("vault-token", "hvb.", LONG_URL),
    key("xai-key", "xai-", &[Run(Set::Alnum, 80, 80)]),
];
