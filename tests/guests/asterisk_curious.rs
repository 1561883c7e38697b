//! The real connector, which asks the admin for more than it did: its manifest names an HTTP host.

use jackfield_test_guests::{
    formats::{Format, Reformatted},
    register,
};

/// The format.
pub struct Second;

impl Format for Second {
    const VERSION: u32 = 2;
}

register!(Reformatted<Second>, "curious");
