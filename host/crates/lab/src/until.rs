//! Waiting for what does not tell by itself.

use std::{fmt, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Between two looks.
const PACE: Duration = Duration::from_millis(25);
/// How long a look that has begun in time may take on a busy machine.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s for {what}; the last look: {last}", within.as_secs_f32())]
pub struct Late {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub within: Duration,
    /// What the last look saw instead.
    pub last: String,
}

/// Looks again and again until there is something to see; a look that fails says what it saw instead.
///
/// For things that tell nobody when they happen: a file of another program, a process, a picture that two
/// parties must agree on. What tells (a channel, a stream) is awaited, not looked at.
///
/// However slow the machine is, one look begins when the time is up: only what was not there then is late.
///
/// ```
/// # async fn example(file: &std::path::Path) -> Result<(), lab::Late> {
/// use std::time::Duration;
/// let text = lab::until(Duration::from_secs(30), "the cursor file", async || {
///     std::fs::read_to_string(file)
/// })
/// .await?;
/// # Ok(()) }
/// ```
pub async fn until<T, E: fmt::Display>(
    within: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Late> {
    let deadline = Instant::now() + within;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let is_last = Instant::now() >= deadline;
        // `{:#}` tells the causes of an error too, where it has any.
        let last = match timeout_at(deadline + LAST_LOOK, look()).await {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(instead)) => format!("{instead:#}"),
            Err(_) => "it did not end".to_owned(),
        };
        if is_last || Instant::now() >= deadline + LAST_LOOK {
            return Err(Late { what: what.to_owned(), within, last });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_returned() {
        let mut looks = 0;
        let seen = until(SECOND, "the third look", async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err("too early") }
        });
        assert_eq!(seen.await.expect("it comes"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_named_with_what_was_there_instead() {
        let late = until(SECOND, "rain", async || Err::<(), _>("sunshine")).await;
        let late = late.expect_err("it never comes").to_string();
        assert_eq!(late, "waited 1 s for rain; the last look: sunshine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_machine_gets_a_look_when_the_time_is_up() {
        let began = Instant::now();
        let seen = until(SECOND, "the end", async || {
            // Whatever this machine did meanwhile: the first look was too early, and it took long.
            let in_time = began.elapsed() >= SECOND;
            tokio::time::advance(3 * SECOND).await;
            if in_time { Ok(()) } else { Err("too early") }
        });
        seen.await.expect("the second look sees it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_given_up() {
        let late =
            until(SECOND, "a sign", async || std::future::pending::<Result<(), String>>().await);
        assert!(late.await.expect_err("it hangs").last.contains("did not end"));
    }
}
