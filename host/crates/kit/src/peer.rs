//! The PBX at the other end of a connector's links, played.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    dice::Dice,
    scenario::{
        connector::{Happens, Peer, Script},
        pattern::{Names, Pattern, fill},
        time,
    },
};

/// A PBX without a socket. It knows what it has, and answers pictures of it.
pub trait Pbx {
    /// Somebody connected.
    fn connected(&mut self, link: &str, at: Duration) -> Vec<Said>;

    /// The connection is gone.
    fn gone(&mut self, link: &str);

    /// Bytes came. What is answered goes to the link they came on.
    fn hear(&mut self, link: &str, bytes: &[u8], at: Duration) -> Heard;

    /// It is time for that turn: something happens at the PBX. What it says of it is lost on a link that is down.
    fn turn(&mut self, number: usize, at: Duration) -> Vec<(String, Said)>;

    /// The PBX stops and begins anew.
    fn restart(&mut self);

    /// What it did not like, told once.
    fn complaints(&mut self, at: Duration) -> Vec<String>;
}

/// Something the PBX says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// After this.
    pub after: Duration,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// It hangs up then.
    pub closes: bool,
}

/// What came of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whole frames, for the report.
    pub frames: Vec<String>,
    /// The answer.
    pub said: Vec<Said>,
}

/// Longest frame of a connector that is waited for.
const MAX_FRAME: usize = 1 << 20;

/// A PBX by a scenario.
pub struct ScriptedPbx {
    script: Arc<Script>,
    ends: BTreeMap<String, End>,
    /// What `{name}` stands for.
    names: Names,
    /// What the PBX has: table, key, fields.
    now: BTreeMap<String, BTreeMap<String, Names>>,
    complaints: Vec<String>,
    /// Frames in any order, for steps that allow it.
    pub reorder: Option<Dice>,
    /// Frames twice, for steps that allow it.
    pub duplicate: Option<Dice>,
}

/// One link.
#[derive(Default)]
struct End {
    unread: Vec<u8>,
    /// How often each rule answered.
    used: Vec<u32>,
    /// Frames that nothing answered yet.
    unanswered: VecDeque<String>,
    waiting: Option<Waiting>,
}

/// A step waits for a frame.
struct Waiting {
    frame: Pattern,
    until: Duration,
    sends: Vec<String>,
}

impl ScriptedPbx {
    /// A PBX that has nothing yet.
    pub fn new(script: Arc<Script>) -> Self {
        let end = |(link, peer): (&String, &Peer)| {
            (link.clone(), End { used: vec![0; peer.rules.len()], ..End::default() })
        };
        Self {
            ends: script.peers.iter().map(end).collect(),
            script,
            names: Names::new(),
            now: BTreeMap::new(),
            complaints: Vec::new(),
            reorder: None,
            duplicate: None,
        }
    }

    /// Frames as bytes: names filled in, a frame for each entry of a table where one is named.
    fn said(&self, link: &str, frames: &[String]) -> Vec<Vec<u8>> {
        let Some(peer) = self.script.peers.get(link) else { return Vec::new() };
        let bytes = |text: &str, names: &Names| {
            let text = fill(&fill(text, names), &self.names);
            (text.replace('\n', &peer.newline) + &peer.frame).into_bytes()
        };
        let mut said = Vec::new();
        for frame in frames {
            match each(frame) {
                Some((table, text)) => {
                    for (key, fields) in self.now.get(table).into_iter().flatten() {
                        let mut names = fields.clone();
                        names.insert("key".into(), key.clone());
                        said.push(bytes(text, &names));
                    }
                }
                None => said.push(bytes(frame, &Names::new())),
            }
        }
        said
    }

    fn answer(&mut self, link: &str, frame: &str) -> Option<Said> {
        let script = Arc::clone(&self.script);
        let end = self.ends.get_mut(link)?;
        if let Some(waiting) = end.waiting.take_if(|waiting| waiting.frame.is(frame)) {
            self.names.extend(waiting.frame.take(frame).unwrap_or_default());
            let bytes = self.said(link, &waiting.sends).concat();
            return Some(Said { bytes, ..Said::default() });
        }
        let rules = &script.peers.get(link)?.rules;
        for (rule, used) in rules.iter().zip(&mut end.used) {
            if rule.times.is_some_and(|times| *used >= times) {
                continue;
            }
            if let Some(names) = rule.gets.take(frame) {
                *used += 1;
                self.names.extend(names);
                let bytes = self.said(link, &rule.sends).concat();
                return Some(Said { after: rule.takes, bytes, closes: rule.closes });
            }
        }
        None
    }
}

/// `each leg: LEG {key}`.
fn each(frame: &str) -> Option<(&str, &str)> {
    let (table, text) = frame.strip_prefix("each ")?.split_once(':')?;
    Some((table.trim(), text.trim_start()))
}

impl Pbx for ScriptedPbx {
    fn connected(&mut self, link: &str, _at: Duration) -> Vec<Said> {
        let Some(peer) = self.script.peers.get(link) else { return Vec::new() };
        let bytes = self.said(link, &peer.greets).concat();
        if bytes.is_empty() { Vec::new() } else { vec![Said { bytes, ..Said::default() }] }
    }

    fn gone(&mut self, link: &str) {
        if let Some(end) = self.ends.get_mut(link) {
            end.unread.clear();
            end.unanswered.clear();
        }
    }

    fn hear(&mut self, link: &str, bytes: &[u8], _at: Duration) -> Heard {
        let script = Arc::clone(&self.script);
        let Some(peer) = script.peers.get(link) else { return Heard::default() };
        let Some(end) = self.ends.get_mut(link) else { return Heard::default() };
        end.unread.extend_from_slice(bytes);
        let mut heard = Heard::default();
        while let Some(frame) = self.ends.get_mut(link).and_then(|end| end.take(&peer.frame)) {
            let text = String::from_utf8_lossy(&frame).replace(&peer.newline, "\n");
            match self.answer(link, &text) {
                Some(said) => heard.said.push(said),
                None => {
                    if let Some(end) = self.ends.get_mut(link) {
                        end.unanswered.push_back(text.clone());
                    }
                }
            }
            heard.frames.push(text);
        }
        heard
    }

    fn turn(&mut self, number: usize, at: Duration) -> Vec<(String, Said)> {
        let script = Arc::clone(&self.script);
        let Some(step) = script.steps.get(number) else { return Vec::new() };
        for (table, key, fields) in &step.now {
            let table = self.now.entry(table.clone()).or_default();
            match fields {
                Some(fields) => table.insert(key.clone(), fields.clone()),
                None => table.remove(key),
            };
        }
        let mut frames = match &step.happens {
            Happens::Sends(frames) => self.said(&step.link, frames),
            Happens::Gets { frame, within, sends } => {
                let Some(end) = self.ends.get_mut(&step.link) else { return Vec::new() };
                match end.unanswered.iter().position(|text| frame.is(text)) {
                    Some(place) => {
                        let text = end.unanswered.remove(place).unwrap_or_default();
                        self.names.extend(frame.take(&text).unwrap_or_default());
                        self.said(&step.link, sends)
                    }
                    None => {
                        let (frame, sends) = (frame.clone(), sends.clone());
                        end.waiting = Some(Waiting { frame, until: at + *within, sends });
                        Vec::new()
                    }
                }
            }
            _ => Vec::new(),
        };
        if step.may_repeat
            && let Some(dice) = &mut self.duplicate
        {
            let again = frames
                .iter()
                .flat_map(|frame| std::iter::repeat_n(frame.clone(), 1 + dice.below(2)));
            frames = again.collect();
        }
        if step.any_order
            && let Some(dice) = &mut self.reorder
        {
            dice.shuffle(&mut frames);
        }
        let bytes = frames.concat();
        if bytes.is_empty() {
            return Vec::new();
        }
        vec![(step.link.clone(), Said { bytes, ..Said::default() })]
    }

    fn restart(&mut self) {
        self.now.clear();
        for end in self.ends.values_mut() {
            end.unread.clear();
            end.unanswered.clear();
        }
    }

    fn complaints(&mut self, at: Duration) -> Vec<String> {
        for (link, end) in &mut self.ends {
            if let Some(waiting) = end.waiting.take_if(|waiting| waiting.until <= at) {
                let until = time::shown(waiting.until);
                let Waiting { frame, .. } = waiting;
                self.complaints.push(format!(
                    "the PBX waited until {until} at `{link}` for `{frame}`, which did not come"
                ));
            }
            let ignores = self.script.peers.get(link).is_some_and(|peer| peer.ignores);
            for frame in end.unanswered.drain(..).filter(|_| !ignores) {
                self.complaints.push(format!(
                    "the PBX got `{frame}`, which no rule of [pbx.{link}] answers; add a `[[pbx.{link}.on]]` that `gets` it, \
                     or `ignores = true`"
                ));
            }
        }
        std::mem::take(&mut self.complaints)
    }
}

impl End {
    /// The next whole frame, without its end.
    fn take(&mut self, ends_with: &str) -> Option<Vec<u8>> {
        let ends_with = ends_with.as_bytes();
        let at = self.unread.windows(ends_with.len().max(1)).position(|w| w == ends_with);
        let Some(at) = at else {
            // Nobody reads so long a frame.
            if self.unread.len() > MAX_FRAME {
                self.unread.clear();
            }
            return None;
        };
        let mut frame: Vec<u8> = self.unread.drain(..at + ends_with.len()).collect();
        frame.truncate(at);
        Some(frame)
    }
}
