//! Files the kit carries along, so that one binary is all an author needs. Listed by `build.rs`.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
