//! What the PBX is told to do with a caller: the kinds and arguments of commands for a held leg.

use std::time::Duration;

use plugin_runtime::hooks::{Attributes, Say, Target};

/// What most instructions may take; after that nobody believes in them any more.
const SHORT: Duration = Duration::from_secs(10);
/// A long announcement.
const TALKING: Duration = Duration::from_secs(900);

/// One command for a leg that the PBX handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// E.g. `leg-play`.
    pub kind: &'static str,
    /// Without the leg, which is added when it is sent.
    pub arguments: Attributes,
    /// After that it counts as failed.
    pub within: Duration,
}

impl Instruction {
    fn new<const N: usize>(kind: &'static str, arguments: [(&str, String); N]) -> Self {
        let arguments = arguments.into_iter().map(|(name, value)| (name.to_owned(), value));
        Self { kind, arguments: arguments.collect(), within: SHORT }
    }

    pub fn answer() -> Self {
        Self::new("leg-answer", [])
    }

    pub fn play(media: &[String]) -> Self {
        let arguments = media.iter().map(|name| ("media".to_owned(), name.clone())).collect();
        Self { kind: "leg-play", arguments, within: TALKING }
    }

    pub fn say(say: &Say, language: &str) -> Self {
        let kind = ("kind", say.kind.code().to_owned());
        let mut it = Self::new("leg-say", [kind, ("value", say.value.clone())]);
        if !language.is_empty() {
            it.arguments.push(("language".to_owned(), language.to_owned()));
        }
        Self { within: TALKING, ..it }
    }

    pub fn music(class: &str) -> Self {
        match class {
            "" => Self::new("leg-music", []),
            class => Self::new("leg-music", [("class", class.to_owned())]),
        }
    }

    pub fn silence() -> Self {
        Self::new("leg-silence", [])
    }

    pub fn listen(on: bool) -> Self {
        Self::new("leg-listen", [("on", on.to_string())])
    }

    /// Zero ends it.
    pub fn lease(secs: u64) -> Self {
        Self::new("leg-lease", [("secs", secs.to_string())])
    }

    pub fn set(variables: &[(String, String)], language: Option<&str>) -> Self {
        let mut it = Self::new("leg-set", []);
        it.set_variables(variables);
        if let Some(language) = language {
            it.arguments.push(("language".to_owned(), language.to_owned()));
        }
        it
    }

    /// The caller leaves. `priority` is the call's.
    pub fn hand_over(
        target: &Target,
        priority: Option<i32>,
        variables: &[(String, String)],
    ) -> Self {
        let secs = |timeout: Duration| {
            let secs = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
            ("timeout-secs".to_owned(), secs.to_string())
        };
        match target {
            Target::Queue(queue) => {
                let mut it = Self::new("leg-to-queue", [("queue", queue.name.clone())]);
                if let Some(priority) = queue.priority.or(priority) {
                    it.arguments.push(("priority".to_owned(), priority.to_string()));
                }
                it.arguments.extend(queue.timeout.map(secs));
                it.set_variables(variables);
                it
            }
            Target::Extension(extension) => {
                let number = ("extension", extension.number.clone());
                let mut it = Self::new("leg-to-extension", [number]);
                it.arguments.extend(extension.timeout.map(secs));
                it
            }
            Target::Dialplan(place) => Self::new(
                "leg-to-dialplan",
                [
                    ("context", place.context.clone()),
                    ("extension", place.extension.clone()),
                    ("priority", place.priority.to_string()),
                ],
            ),
            Target::ContinueInDialplan => Self::new("leg-continue", []),
            Target::HangUp(end) => Self::new("leg-hang-up", [("q850", end.q850.to_string())]),
        }
    }

    fn set_variables(&mut self, variables: &[(String, String)]) {
        let named =
            variables.iter().map(|(name, value)| (format!("variable.{name}"), value.clone()));
        self.arguments.extend(named);
    }
}
