//! Why a hook gave no answer.

use std::time::Duration;

/// A hook gave no answer that counts. The caller gets the fallback, the admin sees why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookFailure {
    /// It crashed. The next call makes a new instance.
    #[error("it trapped: {0}")]
    Trapped(String),
    /// It was stopped at its deadline. The next call makes a new instance.
    #[error("it was late: not done after {} ms", .after.as_millis())]
    Late {
        /// Its deadline.
        after: Duration,
    },
    /// It said itself that it cannot.
    #[error("it refused: {0}")]
    Refused(HookError),
    /// It answered what cannot be carried out. The text names what is wrong, and what would be right.
    #[error("it answered nonsense: {0}")]
    Nonsense(String),
}

impl HookFailure {
    /// `trapped`, `late`, `refused` or `nonsense`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trapped(_) => "trapped",
            Self::Late { .. } => "late",
            Self::Refused(_) => "refused",
            Self::Nonsense(_) => "nonsense",
        }
    }
}

/// Why a hook cannot answer, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct HookError {
    /// A kebab-case code.
    pub code: String,
    /// One sentence for the operator.
    pub message: String,
    /// May the same work the next time?
    pub retryable: bool,
}

impl HookError {
    /// An error that trying again does not mend.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: false }
    }

    /// An error that may be gone the next time.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(code, message) }
    }
}
