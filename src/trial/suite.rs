//! The policy files of one server with their tests, ready to run.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{IssuedBy, Rules};
use crate::config::{Config, Elicitation, Issuer, Problem, Problems, Server, Source};
use crate::mask::Masks;
use crate::policy::cases::Case;
use crate::policy::lock::Lock;
use crate::policy::tools::Tools;
use crate::policy::{self, Policy, Summary};

/// One server's policy and its cases.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The server in `proxy.toml`; `None` for files tested by themselves.
    pub(crate) server: Option<Arc<str>>,
    pub(crate) policy: Policy,
    pub(crate) tools: Tools,
    pub(crate) masks: Masks,
    pub(crate) meta: Box<[Box<str>]>,
    elicitation: Elicitation,
    /// The upstream's; empty for files tested by themselves.
    pub(crate) origin: Box<str>,
    pub(crate) files: Vec<Summary>,
    pub(crate) cases: Vec<Case>,
    /// Every rule in file order.
    pub(crate) rules: Vec<Place>,
    /// Every mask in file order.
    pub(crate) mask_places: Vec<Place>,
    /// Accepted issuers; none for files tested by themselves.
    pub(crate) issuers: Vec<Issuer>,
}

/// Where a rule or mask stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: Arc<str>,
    pub(crate) source: Arc<Source>,
    /// Of its `id`.
    pub(crate) span: Range<usize>,
}

impl Suite {
    /// The files of `server`, as `serve` would load them.
    pub(crate) fn of_server(config: &Config, server: &Server, problems: &mut Problems) -> Option<Self> {
        Self::of_server_with(config, server, &config.policy_files(server), problems)
    }

    /// Other files in place of those of `server`.
    pub(crate) fn of_server_with(
        config: &Config,
        server: &Server,
        files: &[PathBuf],
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut loaded = policy::load(files, problems);
        loaded.check_issuers(&server.issuers, problems);
        let issuers = server.issuers.iter().filter_map(|name| config.issuers.get(name));
        let lock = match &server.tools.lock {
            Some(path) => Some(Lock::load(path, &server.name).map_err(|found| problems.append(found)).ok()?),
            None => None,
        };
        let descriptions = std::mem::take(&mut loaded.descriptions);
        let suite = Self::new(loaded, problems)?;
        Some(Self {
            server: Some(Arc::clone(&server.name)),
            tools: Tools::new(&server.tools, lock, server.backend.host(), suite.policy.minds_arguments())
                .describing(descriptions),
            origin: server.backend.origin().into(),
            meta: server.meta.iter().map(|key| key.as_str().into()).collect(),
            elicitation: server.elicitation.clone(),
            issuers: issuers.cloned().collect(),
            ..suite
        })
    }

    /// Files by themselves: whose they are is not known, so that a rule's `issuer` is compared with the test's.
    pub(crate) fn of_files(files: &[PathBuf], problems: &mut Problems) -> Option<Self> {
        Self::new(policy::load(files, problems), problems)
    }

    /// As [`Self::of_files`], for one file that was read before.
    pub(crate) fn of_read(path: &Path, bytes: Vec<u8>, problems: &mut Problems) -> Option<Self> {
        Self::new(policy::load_read(path, bytes, problems), problems)
    }

    fn new(mut loaded: policy::Loaded, problems: &mut Problems) -> Option<Self> {
        let mut found = Problems::new();
        let masks = loaded.compile_masks(&mut found);
        problems.append(found);
        let order = |place: &Place| {
            let file = loaded.files.iter().position(|file| file.path == place.source.path);
            (file.unwrap_or(usize::MAX), place.span.start)
        };
        let place = |(id, source, span): (&Arc<str>, &Arc<Source>, Range<usize>)| Place {
            id: Arc::clone(id),
            source: Arc::clone(source),
            span,
        };
        let rules = loaded.rule_places().map(place).collect();
        let mut mask_places: Vec<Place> = loaded.mask_places().map(place).collect();
        mask_places.sort_by_key(order);
        Some(Self {
            server: None,
            tools: Tools::default().describing(std::mem::take(&mut loaded.descriptions)),
            masks: masks?,
            meta: Box::default(),
            elicitation: Elicitation::default(),
            origin: Box::default(),
            rules,
            mask_places,
            issuers: Vec::new(),
            policy: loaded.policy,
            files: loaded.files,
            cases: loaded.tests,
        })
    }

    /// What decides.
    pub(crate) fn decides(&self) -> Rules<'_> {
        Rules {
            policy: &self.policy,
            tools: &self.tools,
            masks: &self.masks,
            meta: &self.meta,
            elicitation: &self.elicitation,
            origin: &self.origin,
            offered: None,
        }
    }

    /// The issuer a caller comes from: of no stated name, the only one.
    pub(crate) fn issuer<'a>(&'a self, stated: Option<&'a str>) -> IssuedBy<'a> {
        let known = match (stated, self.issuers.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(stated), known) => known.iter().find(|issuer| *issuer.name == *stated),
        };
        known.map_or(IssuedBy::Named(stated.unwrap_or_default()), IssuedBy::Configured)
    }

    /// What is wrong with cases only this server's configuration can tell.
    pub(crate) fn check_cases(&self, problems: &mut Problems) {
        if self.server.is_none() {
            return;
        }
        for case in &self.cases {
            if let Some(stated) = &case.issuer
                && !self.issuers.iter().any(|issuer| *issuer.name == **stated)
            {
                let message = format!("the server takes no callers from an issuer `{stated}`");
                let names: Vec<&str> = self.issuers.iter().map(|issuer| &*issuer.name).collect();
                let problem = Problem::error(&case.source, case.span.clone(), message, "");
                problems.push(problem.help(format!("its issuers are {}", crate::config::suggest::list(names))));
            }
        }
    }
}
