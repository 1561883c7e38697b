//! Where a channel is in the dialplan.

use serde::{Deserialize, Serialize};

/// The context of the dialplan template.
pub const TEMPLATE: &str = "jackfield";

/// Context, extension, priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The context.
    pub context: String,
    /// The extension.
    pub extension: String,
    /// The priority.
    pub priority: u32,
}

impl Place {
    /// Is it where the template holds callers? Who is there is in AsyncAGI, whatever application is said to run: Asterisk
    /// goes on naming the last one that an AGI command ran.
    pub fn is_held(&self) -> bool {
        self.is_template() && self.extension == "held"
    }

    /// Is it in the template? Then everything that the template does is there.
    pub fn is_template(&self) -> bool {
        self.context == TEMPLATE
    }
}
