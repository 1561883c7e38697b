//! Calls without end on all lanes of a PBX, while a test does something to the host.

use anyhow::Result;
use futures_util::future::try_join_all;
use lab::Pbx;
use tokio::sync::watch;

use crate::{
    chance::Dice,
    floor::{Kind, LANES, Lane, Told},
};

/// A PBX's lanes, ready to be played on.
#[derive(Debug)]
pub struct Traffic {
    lanes: Vec<(Lane, Dice)>,
    stop: watch::Sender<bool>,
}

impl Traffic {
    /// Registers all phones. `prefix` begins the numbers of its callers.
    pub async fn start(pbx: &Pbx, prefix: &str, dice: &mut Dice) -> Result<Traffic> {
        let mut lanes = Vec::new();
        for lane in 0..LANES {
            let lane = Lane::start(pbx, lane, &format!("{prefix}{lane}")).await?;
            lanes.push((lane, dice.fork()));
        }
        Ok(Traffic { lanes, stop: watch::Sender::new(false) })
    }

    /// Plays scripts of any kind while `work` goes on, and what is under way then to its end.
    pub async fn during<T>(
        self,
        pbx: &Pbx,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(Vec<Told>, T)> {
        let Traffic { lanes, stop } = self;
        let played = try_join_all(lanes.into_iter().map(|(mut lane, mut dice)| {
            let stopped = stop.subscribe();
            async move {
                let mut played = Vec::new();
                while !*stopped.borrow() {
                    let index = usize::try_from(dice.below(Kind::ALL.len() as u64))?;
                    played.push(lane.play(pbx, Kind::ALL[index], &mut dice).await?);
                }
                anyhow::Ok(played)
            }
        }));
        let work = async {
            let done = work.await;
            stop.send_replace(true);
            done
        };
        let (played, done) = tokio::try_join!(played, work)?;
        Ok((played.concat(), done))
    }
}
