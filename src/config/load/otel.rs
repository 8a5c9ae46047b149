//! OpenTelemetry's environment variables for traces ("Environment Variable Specification"). Values that cannot be honoured are
//! errors if they change what is sent or where, and otherwise warnings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::super::Sampling;
use super::Loader;
use super::telemetry::below;

const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Variables that have no effect here.
const WITHOUT_EFFECT: [&str; 13] = [
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_CONFIG_FILE",
];
const CERTIFICATES: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

impl Loader<'_> {
    /// The first of these variables that is set and not empty.
    fn otel(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.variable)(name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| (*name, value.to_owned()))
        })
    }

    /// Reports a variable whose value cannot be used. The value is not shown: it may hold a secret.
    fn otel_refused(&mut self, at: &Range<usize>, name: &str, label: impl Into<String>, help: &str) {
        let message = format!("the environment variable `{name}` cannot be used");
        let problem = self.error(at.clone(), message, label);
        self.report(problem.help(help));
    }

    /// The variable that turns tracing off, if one does.
    pub(super) fn otel_off(&self) -> Option<&'static str> {
        let says = |name, word| self.otel(&[name]).is_some_and(|(_, value)| value.eq_ignore_ascii_case(word));
        [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
            .into_iter()
            .find(|(name, word)| says(name, *word))
            .map(|(name, _)| name)
    }

    pub(super) fn otel_endpoint(&mut self, at: &Range<usize>) -> Option<Url> {
        let whole = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let (name, value) = self.otel(&[whole, "OTEL_EXPORTER_OTLP_ENDPOINT"])?;
        let url = Url::parse(&value).ok().filter(|url| {
            let has_user = !url.username().is_empty() || url.password().is_some();
            matches!(url.scheme(), "http" | "https") && url.has_host() && !has_user && url.fragment().is_none()
        });
        match url {
            Some(url) if name == whole => Some(url),
            Some(url) => Some(below(&url)),
            None => {
                self.otel_refused(at, name, "not an http or https URL", "for example `http://127.0.0.1:4318`");
                None
            }
        }
    }

    pub(super) fn otel_service_name(&self) -> Option<String> {
        self.otel(&["OTEL_SERVICE_NAME"]).map(|(_, name)| name)
    }

    pub(super) fn otel_attributes(&mut self, at: &Range<usize>) -> BTreeMap<String, String> {
        let Some((name, value)) = self.otel(&["OTEL_RESOURCE_ATTRIBUTES"]) else { return BTreeMap::new() };
        if let Some(pairs) = pairs(&value) {
            return pairs.into_iter().collect();
        }
        self.otel_refused(at, name, "not a list of names and values", "write `name=value,name=value`");
        BTreeMap::new()
    }

    pub(super) fn otel_headers(&mut self, at: &Range<usize>) -> HeaderMap {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
        let Some((name, value)) = self.otel(&names) else { return HeaderMap::new() };
        let header = |(name, value): (String, String)| {
            let name = HeaderName::try_from(name).ok()?;
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        if let Some(headers) = pairs(&value).and_then(|pairs| pairs.into_iter().map(header).collect()) {
            return headers;
        }
        self.otel_refused(at, name, "not a list of header fields", "write `name=value,name=value`");
        HeaderMap::new()
    }

    pub(super) fn otel_timeout(&mut self, at: &Range<usize>) -> Duration {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
        let Some((name, value)) = self.otel(&names) else { return TIMEOUT };
        match value.parse().map(Duration::from_millis) {
            Ok(timeout) if !timeout.is_zero() && timeout <= LONGEST_TIMEOUT => timeout,
            _ => {
                self.otel_refused(at, name, "not a number of milliseconds up to a minute", "the default is 10000");
                TIMEOUT
            }
        }
    }

    pub(super) fn otel_sampling(&mut self, at: &Range<usize>) -> Sampling {
        let Some((name, value)) = self.otel(&["OTEL_TRACES_SAMPLER"]) else { return Sampling::default() };
        let follows_caller = value.starts_with("parentbased_");
        let share = match value.trim_start_matches("parentbased_") {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.otel_share(at),
            _ => {
                let help = "known are `always_on`, `always_off`, `traceidratio` and the same behind `parentbased_`";
                self.otel_refused(at, name, "not a sampler of this version", help);
                1.0
            }
        };
        Sampling { share, follows_caller }
    }

    fn otel_share(&mut self, at: &Range<usize>) -> f64 {
        let Some((name, value)) = self.otel(&["OTEL_TRACES_SAMPLER_ARG"]) else { return 1.0 };
        match value.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => share,
            _ => {
                self.otel_refused(at, name, "not a number from 0 to 1", "for example `0.1`");
                1.0
            }
        }
    }

    /// Reports variables whose values are not supported.
    pub(super) fn otel_others(&mut self, at: &Range<usize>) {
        let supported = [
            (&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"][..], "http/protobuf"),
            (&["OTEL_TRACES_EXPORTER"][..], "otlp"),
        ];
        for (names, only) in supported {
            if let Some((name, value)) = self.otel(names)
                && value != only
            {
                self.otel_refused(at, name, "not supported by this version", &format!("supported is `{only}`"));
            }
        }
        if let Some((name, _)) = self.otel(&CERTIFICATES) {
            let help = "`SSL_CERT_FILE` names authorities for all that is fetched and sent";
            self.otel_refused(at, name, "not supported by this version", help);
        }
        let compression = self.otel(&["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]);
        let compression = compression.filter(|(_, value)| value != "none");
        let propagators = self.otel(&["OTEL_PROPAGATORS"]);
        let propagators = propagators.filter(|(_, value)| !value.split(',').any(|name| name.trim() == "tracecontext"));
        let others: Vec<_> = WITHOUT_EFFECT.iter().filter_map(|name| self.otel(&[name])).collect();
        for (name, _) in compression.into_iter().chain(propagators).chain(others) {
            let message = format!("the environment variable `{name}` has no effect");
            let problem = self.warning(at.clone(), message, "not supported by this version");
            self.report(problem.help("unset it"));
        }
    }
}

/// `name=value,name=value`, values percent-encoded (W3C Baggage, "Header Content").
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
        let fits = !name.trim().is_empty() && !value.chars().any(char::is_control);
        fits.then(|| (name.trim().to_owned(), value.into_owned()))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::super::tests::SMALLEST;
    use super::super::super::{Sampling, Traces};
    use super::super::parse_with;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn read(telemetry: &str, variables: &[(&str, &str)]) -> Result<(Option<Traces>, String), String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let text = format!("{SMALLEST}[telemetry]\n{telemetry}\n");
        match parse_with(&text, Path::new("proxy.toml"), &variable) {
            Ok((config, problems)) => Ok((config.telemetry.traces, problems.to_string())),
            Err(problems) => Err(problems.to_string()),
        }
    }

    fn traces(telemetry: &str, variables: &[(&str, &str)]) -> Traces {
        let (traces, problems) = read(telemetry, variables).unwrap();
        assert_eq!(problems, "");
        traces.unwrap()
    }

    #[test]
    fn nothing_is_sent_unless_somebody_says_where() {
        let off =
            [("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "jaeger_remote"), ("OTEL_TRACES_EXPORTER", "zipkin")];
        assert_eq!(read("", &off).unwrap(), (None, String::new()));
        for (name, value) in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read("", &[ENDPOINT, (name, value)]).unwrap(), (None, String::new()));
            let (traces, told) = read("otlp_endpoint = \"http://127.0.0.1:4318\"", &[(name, value)]).unwrap();
            assert!(traces.is_none() && told.contains("no traces are sent"), "{told}");
        }
    }

    #[test]
    fn the_file_goes_before_the_environment() {
        let environment = [
            ENDPOINT,
            ("OTEL_SERVICE_NAME", "environment"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b=two%20words,service.name=y"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%3Dcret, x=1"),
        ];
        let found = traces("", &environment);
        assert_eq!(found.endpoint.as_str(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(found.service_name, "environment");
        assert_eq!(
            found.attributes.into_iter().collect::<Vec<_>>(),
            [("a", "1"), ("b", "two words")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        assert_eq!(found.sampling, Sampling { share: 0.25, follows_caller: true });
        assert_eq!(found.timeout, Duration::from_millis(2500));
        assert_eq!(found.headers["api-key"], "s=cret");
        assert!(!format!("{:?}", found.headers).contains("cret"));
        let own = "otlp_endpoint = \"https://collector.example/otlp/\"\nsampling = \"0.5%\"\nfollow_caller = false\n\
                   service_name = \"file\"\nresource_attributes = { b = \"own\", \"c.d\" = \"x\" }";
        let found = traces(own, &environment);
        assert_eq!(found.endpoint.as_str(), "https://collector.example/otlp/v1/traces");
        assert_eq!((found.service_name.as_str(), found.attributes["b"].as_str()), ("file", "own"));
        assert_eq!(found.sampling, Sampling { share: 0.005, follows_caller: false });
    }

    #[test]
    fn the_endpoint_of_traces_is_taken_as_it_is() {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example/custom?x=1");
        assert_eq!(traces("", &[ENDPOINT, own]).endpoint.as_str(), "https://collector.example/custom?x=1");
        assert_eq!(traces("", &[ENDPOINT]).service_name, "portcullis");
        assert_eq!(traces("", &[ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "service.name=y")]).service_name, "y");
        for (sampler, share, follows_caller) in [
            ("always_on", 1.0, false),
            ("always_off", 0.0, false),
            ("parentbased_always_on", 1.0, true),
            ("traceidratio", 1.0, false),
        ] {
            let found = traces("", &[ENDPOINT, ("OTEL_TRACES_SAMPLER", sampler)]).sampling;
            assert_eq!(found, Sampling { share, follows_caller }, "{sampler}");
        }
    }

    #[test]
    fn a_variable_that_asks_for_something_else_is_refused() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://127.0.0.1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cr3t@127.0.0.1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cr3t"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cr3t%0A"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=s3cr3t"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ] {
            let told = read("", &[(name, value), ENDPOINT]).unwrap_err();
            assert!(told.contains(&format!("the environment variable `{name}` cannot be used")), "{told}");
            assert!(!told.contains("s3cr3t"), "{told}");
        }
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "NaN")];
        assert!(read("", &ratio).unwrap_err().contains("OTEL_TRACES_SAMPLER_ARG"));
    }

    #[test]
    fn a_variable_without_effect_is_told_of() {
        for (name, value) in
            [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), ("OTEL_PROPAGATORS", "b3"), ("OTEL_BSP_MAX_QUEUE_SIZE", "9")]
        {
            let (found, told) = read("", &[ENDPOINT, (name, value)]).unwrap();
            assert!(found.is_some() && told.contains(&format!("`{name}` has no effect")), "{told}");
        }
        let quiet =
            [ENDPOINT, ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"), ("OTEL_PROPAGATORS", "tracecontext,baggage")];
        traces("", &quiet);
        let plain =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example"), ("OTEL_EXPORTER_OTLP_HEADERS", "k=v")];
        assert!(read("", &plain).unwrap().1.contains("reached without TLS"));
    }
}
