mod hooks;
mod keeper;
mod plugins;
mod rest;
mod streams;
pub(crate) mod world;
