//! SIP words and rules, without sockets, clocks or randomness.
//!
//! So far only what calls need: why something ended, in SIP's words ([`cause`]). The wire layer, the
//! registrar and the back-to-back user agent come here; `rsip`'s types serve where they are right, which
//! is off the wire.

pub mod cause;
