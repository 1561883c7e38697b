//! What the bundled plugins have in common: settings read with the path of everything that is wrong with them,
//! places where callers go, patterns of callers' numbers, and look-ups of callers in a web service.
//!
//! Everything here is bounded, because it reads what people and other machines wrote.

pub mod json;
pub mod numbers;
pub mod place;
pub mod reader;
pub mod service;

pub use numbers::Numbers;
pub use place::Place;
pub use reader::{Reader, settings};
pub use service::Service;
