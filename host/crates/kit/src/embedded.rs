//! Files the kit carries along, so that one binary is all an author needs. Listed by `build.rs`.

/// Paths with what the files hold.
pub(crate) type Files = &'static [(&'static str, &'static [u8])];

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
