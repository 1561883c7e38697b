mod rest;
mod streams;
pub(crate) mod world;
