//! The next version of the Asterisk connector: format 2 of its snapshots.

use jackfield_test_guests::{
    formats::{Format, Reformatted},
    register,
};

/// The format.
pub struct Second;

impl Format for Second {
    const VERSION: u32 = 2;
}

register!(Reformatted<Second>, "next");
