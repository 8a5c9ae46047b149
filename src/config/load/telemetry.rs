//! `[telemetry]`. For keys about traces that are not written, OpenTelemetry's environment variables are used.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use url::Url;

use super::super::{LogFormat, Sampling, Telemetry, Traces, raw, units};
use super::Loader;
use super::address::is_loopback;

/// The path for traces below the endpoint (OTLP 1.x, "OTLP/HTTP Request").
const PATH: &str = "v1/traces";
const SERVICE_NAME: &str = "service.name";
const TEXT_BYTES: usize = 256;

impl Loader<'_> {
    pub(super) fn telemetry(&mut self, raw: Option<&raw::Telemetry>) -> Telemetry {
        let formats = [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
        let written = raw.and_then(|telemetry| telemetry.log_format.as_ref());
        let log_format = self.choice("log_format", written, &formats, &[]).unwrap_or(formats[0].1);
        let nothing = raw::Telemetry::default();
        Telemetry { log_format, traces: self.traces(raw.unwrap_or(&nothing)) }
    }

    fn traces(&mut self, raw: &raw::Telemetry) -> Option<Traces> {
        let written = raw.otlp_endpoint.as_ref();
        let share = raw.sampling.as_ref().and_then(|written| self.share(written));
        let own = self.attributes(raw);
        let at = written.map_or(0..0, Spanned::span);
        let endpoint = match written {
            Some(written) => self.collector(written),
            None => self.otel_endpoint(&at),
        };
        if let Some(variable) = self.otel_off() {
            if written.is_some() {
                let problem = self.warning(at, "no traces are sent", format!("`{variable}` says so"));
                self.report(problem.help("unset the variable, or take this out"));
            }
            return None;
        }
        let Some(endpoint) = endpoint else {
            self.unused(raw);
            return None;
        };
        let Sampling { share: default, follows_caller } = self.otel_sampling(&at);
        let follows_caller = raw.follow_caller.as_ref().map_or(follows_caller, |written| *written.get_ref());
        let sampling = Sampling { share: share.unwrap_or(default), follows_caller };
        let mut attributes = self.otel_attributes(&at);
        attributes.extend(own);
        let named = attributes.remove(SERVICE_NAME);
        let service_name = raw.service_name.as_ref().map(|written| self.text("service_name", written, TEXT_BYTES));
        let service_name = service_name.or_else(|| self.otel_service_name()).or(named);
        let headers = self.otel_headers(&at);
        if !headers.is_empty() && endpoint.scheme() == "http" && !is_loopback(&endpoint) {
            let label = "`OTEL_EXPORTER_OTLP_HEADERS` go there too";
            let problem = self.warning(at.clone(), "the collector is reached without TLS", label);
            self.report(problem.help("write `https://`, or send no credentials"));
        }
        let timeout = self.otel_timeout(&at);
        self.otel_others(&at);
        let service_name = service_name.unwrap_or_else(|| "portcullis".to_owned());
        Some(Traces { endpoint, headers, service_name, attributes, sampling, timeout })
    }

    /// The URL for traces at the collector.
    fn collector(&mut self, written: &Spanned<String>) -> Option<Url> {
        let url = self.url("otlp_endpoint", written)?;
        let label = match url.path().trim_end_matches('/') {
            path if path.ends_with(PATH) => "write it without `/v1/traces`, which is added",
            _ if url.query().is_some() => "must not have a query",
            _ => return Some(below(&url)),
        };
        let problem = self.error(written.span(), "`otlp_endpoint` cannot be used", label);
        self.report(problem.help("for example `otlp_endpoint = \"http://127.0.0.1:4318\"`"));
        None
    }

    fn share(&mut self, written: &Spanned<String>) -> Option<f64> {
        let error = match units::share(written.get_ref()) {
            Ok(share) => return Some(share),
            Err(error) => error,
        };
        let problem = self.error(written.span(), "`sampling` is not a share of all requests", error.to_string());
        self.report(problem.help(error.help()));
        None
    }

    fn attributes(&mut self, raw: &raw::Telemetry) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in raw.resource_attributes.iter().flatten() {
            if name.get_ref() == SERVICE_NAME {
                let message = "`service.name` has a key of its own";
                let problem = self.error(name.span(), message, "write `service_name` instead");
                self.report(problem);
            }
            let name = self.text("resource_attributes", name, TEXT_BYTES);
            all.insert(name, self.text("resource_attributes", value, TEXT_BYTES));
        }
        all
    }

    /// Warns of keys that have no effect because tracing is off.
    fn unused(&mut self, raw: &raw::Telemetry) {
        // An unusable endpoint has been reported.
        if raw.otlp_endpoint.is_some() {
            return;
        }
        let attributes = raw.resource_attributes.as_ref().and_then(|all| Some(all.first_key_value()?.0.span()));
        let written: [(&str, Option<Range<usize>>); 4] = [
            ("sampling", raw.sampling.as_ref().map(Spanned::span)),
            ("follow_caller", raw.follow_caller.as_ref().map(Spanned::span)),
            ("service_name", raw.service_name.as_ref().map(Spanned::span)),
            ("resource_attributes", attributes),
        ];
        for (key, span) in written {
            let Some(span) = span else { continue };
            let problem = self.warning(span, format!("`{key}` has no effect"), "no traces are sent");
            self.report(problem.help("`otlp_endpoint` says where they go"));
        }
    }
}

/// The URL for traces at the collector `base`.
pub(super) fn below(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{PATH}", base.path().trim_end_matches('/')));
    url
}
