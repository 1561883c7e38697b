//! The version after the next: format 3 of its snapshots, which is no text.

use jackfield_test_guests::{
    formats::{Format, Reformatted},
    register,
};

/// The format.
pub struct Third;

impl Format for Third {
    const VERSION: u32 = 3;
}

register!(Reformatted<Third>, "after-next");
