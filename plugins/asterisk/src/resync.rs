//! A picture of the PBX: four lists asked at once, told in one bracket when all are complete.

use std::collections::BTreeSet;

use jackfield_sdk::{Action, ResyncBegin};
use serde::{Deserialize, Serialize};

use crate::{
    calls::{Calls, Told},
    extensions::Extensions,
    forgery,
    frame::{Header, get, get_text},
    held::{Held, Seen},
    out::Out,
    queues::{Missing, Picture, Queues, Touched},
    session::{Asked, Session},
    settings::Rules,
};

/// How long the lists may take together.
const PATIENCE_NS: u64 = 30_000_000_000;
/// How long the answers may take to what callers came with.
const ASKING_NS: u64 = 5_000_000_000;

/// The lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum List {
    /// Queues, members, callers.
    Queues,
    /// Channels, and the bridges they are in.
    Channels,
    /// Device states.
    Devices,
    /// Hints.
    Hints,
}

const LISTS: [(List, &str); 4] = [
    (List::Queues, "QueueStatus"),
    (List::Channels, "CoreShowChannels"),
    (List::Devices, "DeviceStateList"),
    (List::Hints, "ExtensionStateList"),
];

impl List {
    /// The event that ends it.
    fn complete(self) -> &'static [u8] {
        match self {
            Self::Queues => b"QueueStatusComplete",
            Self::Channels => b"CoreShowChannelsComplete",
            Self::Devices => b"DeviceStateListComplete",
            Self::Hints => b"ExtensionStateListComplete",
        }
    }
}

/// A list item that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// More follow.
    OneOfMore,
    /// The list is complete.
    Last,
}

/// A resync under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resync {
    id: u64,
    open: BTreeSet<List>,
    denied: BTreeSet<List>,
    queues: Picture,
    /// Channels that were there when it began.
    before: BTreeSet<String>,
    /// Channels of the list.
    listed: BTreeSet<String>,
    extensions: Extensions,
    /// An item was cut by a forgery: its rest, which carries our ActionID, is not to be believed.
    cut: bool,
    /// The lists are complete, and who was found was asked about.
    has_asked: bool,
    /// Something in it, or between it, was not believed: what it does not name may be there all the same.
    spoiled: bool,
    /// Until when it must be complete.
    pub deadline: u64,
    /// What changed live since it began.
    pub touched: Touched,
    /// Who is held, by the list of channels.
    pub held: Seen,
    /// Commands that end with it.
    pub commands: Vec<u64>,
}

impl Resync {
    /// Asks for everything.
    pub fn begin(
        id: u64,
        commands: Vec<u64>,
        calls: &Calls,
        session: &mut Session,
        out: &mut Out<'_>,
    ) -> Self {
        out.push(Action::ResyncBegin(ResyncBegin { id, scope: "all".into() }));
        for (list, action) in LISTS {
            session.ask(Asked::List(list), action, &[], out);
        }
        Self {
            id,
            open: LISTS.iter().map(|(list, _)| *list).collect(),
            denied: BTreeSet::new(),
            queues: Picture::default(),
            before: calls.ids().cloned().collect(),
            listed: BTreeSet::new(),
            extensions: Extensions::default(),
            cut: false,
            has_asked: false,
            spoiled: false,
            deadline: out.mono() + PATIENCE_NS,
            touched: Touched::default(),
            held: Seen::default(),
            commands,
        }
    }

    /// Part of the answers is lost: asks for everything once more, within the same bracket.
    pub fn ask_again(&mut self, session: &mut Session, out: &mut Out<'_>) {
        session.forget_lists();
        for (list, action) in LISTS {
            session.ask(Asked::List(list), action, &[], out);
        }
        self.open = LISTS.iter().map(|(list, _)| *list).collect();
        self.denied.clear();
        self.listed.clear();
        (self.queues, self.extensions) = Default::default();
        self.held.again();
        (self.cut, self.has_asked, self.spoiled) = (false, false, false);
        self.deadline = out.mono() + PATIENCE_NS;
    }

    /// The PBX refuses a list.
    pub fn denied(&mut self, list: List) {
        self.open.remove(&list);
        self.denied.insert(list);
    }

    /// An item with our ActionID; why, when it cannot be believed.
    ///
    /// Our ActionID alone proves nothing: a caller's name and number are printed raw into items, so what they
    /// wrote, and what was left behind it, carries it too. The event's name comes first, before all of that.
    pub fn item(
        &mut self,
        list: List,
        headers: &[Header<'_>],
        calls: &mut Calls,
        rules: &Rules,
    ) -> Result<Item, &'static str> {
        let name = headers[0].1;
        if name == list.complete() {
            if !forgery::is_end_of_list(headers) {
                return Err("an end of a list in it says more than that");
            }
            self.open.remove(&list);
            return Ok(Item::Last);
        }
        match (list, name) {
            (List::Queues, b"QueueEntry") if !forgery::entry_is_whole(headers) => {
                return Err("a list item in it is cut");
            }
            (List::Queues, name)
                if name != b"QueueEntry" && forgery::has_an_entrys_key(headers) =>
            {
                return Err("it is the rest of a cut list item");
            }
            (List::Queues, name) => self.queues.item(name, headers),
            (List::Channels, b"CoreShowChannel") if !forgery::item_is_whole(headers, 2) => {
                return Err("a list item in it is cut");
            }
            (List::Channels, b"CoreShowChannel") => self.channel(headers, calls),
            (List::Devices, b"DeviceStateChange") => {
                self.extensions.device(
                    &get_text(headers, b"Device"),
                    get(headers, b"State").unwrap_or_default(),
                    rules,
                );
            }
            (List::Hints, b"ExtensionStatus") => {
                let status = get_text(headers, b"Status").parse().unwrap_or(-1);
                let (number, hint) = (get_text(headers, b"Exten"), get_text(headers, b"Hint"));
                self.extensions.hint(&number, &hint, status, rules);
            }
            _ => {}
        }
        Ok(Item::OneOfMore)
    }

    fn channel(&mut self, headers: &[Header<'_>], calls: &mut Calls) {
        let told = Told::new(headers, 2);
        let id = told.id();
        if self.touched.ended.contains(&id) {
            return;
        }
        if !self.touched.channels.contains(&id) {
            calls.listed(told, &get_text(headers, b"BridgeId"));
        }
        self.held.channel(told, headers);
        self.listed.insert(id);
    }

    /// Is what it shows to be believed as it is?
    pub fn is_whole(&self) -> bool {
        !self.spoiled
    }

    /// Something was not believed while the lists came.
    pub fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// A list item was cut in its middle.
    pub fn item_was_cut(&mut self, headers: &[Header<'_>]) {
        // Only these carry our ActionID at their end, so only their rest could be taken for an item.
        self.cut |= matches!(headers, [(b"Event", b"QueueEntry"), ..]);
    }

    /// Is the rest of a cut item yet to come?
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The rest of a cut item came.
    pub fn cut_is_over(&mut self) {
        self.cut = false;
    }

    /// Is the list of channels the whole truth?
    fn shows_channels(&self) -> bool {
        !self.spoiled && !self.denied.contains(&List::Channels)
    }

    /// Are all lists complete, and is it known what everybody came with whom they show? Asks that once.
    pub fn is_complete(
        &mut self,
        held: &Held,
        calls: &Calls,
        session: &mut Session,
        out: &mut Out<'_>,
    ) -> bool {
        if self.open.is_empty() && !self.has_asked {
            self.has_asked = true;
            if self.shows_channels() {
                held.ask(&mut self.held, calls, session, out);
            }
            if self.held.is_asking() {
                self.deadline = out.mono() + ASKING_NS;
            }
        }
        self.has_asked && (!self.held.is_asking() || self.deadline <= out.mono())
    }

    /// Tells the picture and ends the bracket. Says who left callers' places with our lease on them.
    ///
    /// A spoiled one only adds: nothing is gone because a caller kept it from being read.
    pub fn end(
        mut self,
        calls: &mut Calls,
        queues: &mut Queues,
        extensions: &mut Extensions,
        held: &mut Held,
        rules: &Rules,
        out: &mut Out<'_>,
    ) -> Vec<String> {
        let shown = self.shows_channels().then(|| std::mem::take(&mut self.held));
        if shown.is_some() {
            for id in self.before.difference(&self.listed) {
                if !self.touched.channels.contains(id) {
                    calls.forget(id);
                }
            }
        }
        if !self.denied.contains(&List::Queues) {
            let missing = if self.spoiled { Missing::Stays } else { Missing::Goes };
            queues.take_picture(self.queues, missing, &self.touched, calls, out.mono());
        }
        if !self.spoiled && (self.denied.len() < 2 || !self.denied.contains(&List::Devices)) {
            extensions.take_picture(self.extensions, &self.touched.devices);
        }
        let elsewhere = shown.map(|seen| held.take_picture(seen, calls, out)).unwrap_or_default();
        let id = self.id;
        let facts = extensions
            .picture()
            .into_iter()
            .chain(calls.picture(rules))
            .chain(queues.picture(rules, out.mono()))
            // Last, so that everybody who is offered is known.
            .chain(held.picture());
        for fact in facts {
            out.push(Action::resync_item(id, fact));
        }
        out.push(Action::ResyncEnd(id));
        for command in self.commands {
            out.push(Action::done(command, ""));
        }
        elsewhere
    }
}
