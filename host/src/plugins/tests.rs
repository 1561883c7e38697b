//! The keeper with a whole host around it: plugins of a few lines, and fake PBXs that are sockets and say so.

mod consent;
mod reload;
mod rest;
mod versions;
pub(crate) mod world;
