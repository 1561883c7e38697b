//! Scenario files: what happens to a plugin, when, and what it must do (`docs/scenarios.md`).
