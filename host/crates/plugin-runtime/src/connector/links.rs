//! Links as the connector sees them: which connection it is, and the bytes not dealt with yet.

use crate::{
    LinkRequest,
    bindings::types,
    convert::{Nonsense, printable},
};

/// What is delivered at once beyond the longest frame.
const WINDOW: usize = 64 << 10;
/// Most secrets in the clear within one connection.
const MAX_PLAIN: u32 = 8;

/// A configured, granted link.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) request: LinkRequest,
    /// The admin allows secrets in the clear.
    plain: bool,
    /// Counts connections; the present one's number while it is up.
    epoch: u64,
    stream: Option<Stream>,
    /// Bytes were taken out, and the plugin does not know yet.
    gap: Option<types::Gap>,
}

/// One connection.
///
/// Invariant: `start <= seen <= start + buffer.len()`.
#[derive(Clone)]
struct Stream {
    /// Received and not consumed.
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte, counted from the start of the connection.
    start: u64,
    /// Bytes before this offset have been in a step that returned, or were taken out.
    seen: u64,
    /// The plugin closed it: nothing more goes in or out.
    closing: bool,
    plain_used: u32,
}

/// Bytes that were taken out of a stream.
pub(super) struct TakenOut {
    pub(super) epoch: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Their beginning, printable.
    pub(super) head: String,
}

impl Link {
    pub(super) fn new(request: LinkRequest, plain: bool) -> Self {
        Self { request, plain, epoch: 0, stream: None, gap: None }
    }

    /// Another version, or another configuration, takes the link over.
    pub(super) fn take_terms(&mut self, request: LinkRequest, plain: bool) {
        (self.request, self.plain) = (request, plain);
    }

    /// Bytes of a frame that did not end yet.
    pub(super) fn under_way(&self) -> u64 {
        self.open().map_or(0, |stream| stream.seen - stream.start)
    }

    /// A new connection begins; its epoch.
    pub(super) fn up(&mut self) -> u64 {
        self.epoch += 1;
        self.gap = None;
        self.stream =
            Some(Stream { buffer: Vec::new(), start: 0, seen: 0, closing: false, plain_used: 0 });
        self.epoch
    }

    /// The connection with that epoch begins.
    pub(super) fn up_as(&mut self, epoch: u64) {
        self.epoch = epoch.saturating_sub(1);
        self.up();
    }

    /// The connection is over; its epoch, if there was one.
    pub(super) fn down(&mut self) -> Option<u64> {
        self.gap = None;
        self.stream.take().map(|_| self.epoch)
    }

    /// The epoch of a connection that the plugin may still use.
    pub(super) fn open_epoch(&self) -> Option<u64> {
        self.open().map(|_| self.epoch)
    }

    /// The plugin closes the connection with that epoch. False: it is not up, or closed already.
    pub(super) fn close(&mut self) -> bool {
        match &mut self.stream {
            Some(stream) if !stream.closing => {
                stream.closing = true;
                stream.buffer = Vec::new();
                stream.seen = stream.start;
                true
            }
            _ => false,
        }
    }

    /// Keeps bytes until they are consumed. Those of no open connection are dropped.
    pub(super) fn receive(&mut self, data: Vec<u8>) {
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.closing) else { return };
        if stream.buffer.is_empty() {
            stream.buffer = data;
        } else {
            stream.buffer.extend_from_slice(&data);
        }
    }

    /// Keeps bytes from that offset on, without those that are here already.
    pub(super) fn receive_at(&mut self, epoch: u64, offset: u64, data: &[u8]) {
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.closing) else { return };
        if epoch == self.epoch && offset > stream.end() {
            stream.buffer.clear();
            (stream.start, stream.seen) = (offset, offset);
        }
        let known = stream.end().saturating_sub(offset);
        if epoch == self.epoch
            && let Some(new) = usize::try_from(known).ok().and_then(|known| data.get(known..))
        {
            stream.buffer.extend_from_slice(new);
        }
    }

    /// The bytes before that offset were taken out of the stream.
    pub(super) fn skip_to(&mut self, epoch: u64, offset: u64) {
        let Some(stream) = self.stream.as_mut().filter(|_| epoch == self.epoch) else { return };
        if offset > stream.start {
            stream.drop_until(offset);
            stream.start = offset;
            stream.seen = stream.seen.max(offset);
        }
    }

    /// Goes on as an instance without effects has it that saw the same connection. False: it cannot, as
    /// that one closed a connection that is up.
    pub(super) fn adopt(&mut self, other: Self) -> bool {
        let (Some(stream), Some(theirs)) = (&mut self.stream, other.stream) else { return true };
        if other.epoch != self.epoch || stream.closing {
            return true;
        }
        if theirs.closing {
            return false;
        }
        let unseen = stream.buffer.split_off(stream.index(theirs.end()));
        (stream.start, stream.seen) = (theirs.start, theirs.seen);
        stream.buffer = theirs.buffer;
        stream.buffer.extend(unseen);
        true
    }

    /// Is there anything the plugin has not seen?
    pub(super) fn has_news(&self) -> bool {
        self.open().is_some_and(|stream| stream.seen < stream.end())
    }

    /// Unconsumed bytes for the next step, as many as one step gets.
    pub(super) fn window(&self) -> Option<types::Bytes> {
        let stream = self.open()?;
        let most = self.request.max_frame as usize + WINDOW;
        self.bytes_until(stream.start + stream.buffer.len().min(most) as u64)
    }

    /// Unconsumed bytes before that offset.
    pub(super) fn bytes_until(&self, end: u64) -> Option<types::Bytes> {
        let stream = self.open()?;
        let length = usize::try_from(end.checked_sub(stream.start)?).ok()?;
        Some(types::Bytes {
            link: self.request.name.clone(),
            epoch: self.epoch,
            offset: stream.start,
            data: stream.buffer.get(..length)?.to_vec(),
        })
    }

    /// Offsets of the first unconsumed byte, and of the first the plugin has not seen.
    pub(super) fn marks(&self) -> Option<(u64, u64)> {
        self.open().map(|stream| (stream.start, stream.seen))
    }

    /// A step with the bytes up to there returned.
    pub(super) fn delivered(&mut self, epoch: u64, end: u64) {
        if let Some(stream) = self.stream.as_mut().filter(|_| epoch == self.epoch) {
            stream.seen = stream.seen.max(end.min(stream.end()));
        }
    }

    /// The plugin has dealt with the bytes before that offset.
    pub(super) fn consume(&mut self, offset: u64) -> Result<(), Nonsense> {
        let name = &self.request.name;
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.closing) else {
            return Ok(());
        };
        if !(stream.start..=stream.seen).contains(&offset) {
            return Err(Nonsense(format!(
                "it consumed link `{name}` up to {offset}, but has bytes {} to {} of it",
                stream.start, stream.seen
            )));
        }
        stream.drop_until(offset);
        Ok(())
    }

    /// What the plugin has seen and left is longer than any frame may be.
    pub(super) fn is_frame_too_long(&self) -> bool {
        self.under_way() > self.request.max_frame.into()
    }

    /// Takes the bytes before that offset out; the plugin is to be told by the gap.
    pub(super) fn take_out(&mut self, end: u64) -> Option<TakenOut> {
        let stream = self.stream.as_mut()?;
        let end = end.clamp(stream.start, stream.end());
        let (offset, bytes) = (stream.start, end - stream.start);
        let head = printable(&stream.buffer[..stream.index(end)]);
        stream.seen = stream.seen.max(end);
        stream.drop_until(end);
        self.gap =
            Some(types::Gap { link: self.request.name.clone(), epoch: self.epoch, offset, bytes });
        Some(TakenOut { epoch: self.epoch, offset, bytes, head })
    }

    /// The gap the plugin must be told of.
    pub(super) fn take_gap(&mut self) -> Option<types::Gap> {
        self.gap.take()
    }

    /// May one more secret be sent in the clear?
    pub(super) fn count_plain(&mut self) -> Result<(), Nonsense> {
        let name = &self.request.name;
        if !self.plain {
            return Err(Nonsense(format!(
                "a secret in the clear on link `{name}`; if you want that, add \"plain:{name}\" to the grants"
            )));
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if stream.plain_used == MAX_PLAIN {
            return Err(Nonsense(format!(
                "more than {MAX_PLAIN} secrets in the clear on link `{name}`"
            )));
        }
        stream.plain_used += 1;
        Ok(())
    }

    fn open(&self) -> Option<&Stream> {
        self.stream.as_ref().filter(|stream| !stream.closing)
    }
}

impl Stream {
    fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// Where a byte lies in the buffer; offsets outside of it are moved to its edges.
    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.start))
            .unwrap_or(usize::MAX)
            .min(self.buffer.len())
    }

    fn drop_until(&mut self, offset: u64) {
        let count = self.index(offset);
        self.buffer.drain(..count);
        self.start += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let request = LinkRequest {
            name: "ami".into(),
            transports: vec!["tcp".into()],
            required: true,
            default_port: Default::default(),
            max_frame: 10,
            secrets: vec![],
            reason: String::new(),
            plain_reason: String::new(),
        };
        let mut link = Link::new(request, true);
        link.up();
        link
    }

    fn deliver(link: &mut Link) -> (u64, Vec<u8>) {
        let bytes = link.window().unwrap();
        link.delivered(bytes.epoch, bytes.offset + bytes.data.len() as u64);
        (bytes.offset, bytes.data)
    }

    #[test]
    fn what_is_not_consumed_comes_again_in_full() {
        let mut link = link();
        link.receive(b"abcd".to_vec());
        assert_eq!(deliver(&mut link), (0, b"abcd".to_vec()));
        link.consume(3).unwrap();
        assert!(!link.has_news());
        link.receive(b"ef".to_vec());
        assert!(link.has_news());
        assert_eq!(deliver(&mut link), (3, b"def".to_vec()));
    }

    #[test]
    fn only_delivered_bytes_can_be_consumed() {
        let mut link = link();
        link.receive(b"abcd".to_vec());
        assert!(link.consume(1).is_err());
        deliver(&mut link);
        assert!(link.consume(5).is_err());
        link.consume(4).unwrap();
        assert!(link.consume(3).is_err());
    }

    #[test]
    fn a_new_connection_begins_with_nothing() {
        let mut link = link();
        link.receive(b"abcd".to_vec());
        assert_eq!(link.up(), 2);
        assert!(link.window().unwrap().data.is_empty());
        link.delivered(1, 4);
        assert_eq!(link.marks(), Some((0, 0)));
    }

    #[test]
    fn a_frame_that_never_ends_is_taken_out() {
        let mut link = link();
        link.receive(vec![b'x'; 11]);
        assert!(!link.is_frame_too_long());
        deliver(&mut link);
        assert!(link.is_frame_too_long());
        let taken = link.take_out(11).unwrap();
        assert_eq!((taken.offset, taken.bytes), (0, 11));
        let gap = link.take_gap().unwrap();
        assert_eq!((gap.epoch, gap.offset, gap.bytes), (1, 0, 11));
        assert!(!link.is_frame_too_long());
    }

    #[test]
    fn secrets_in_the_clear_are_counted_per_connection() {
        let mut link = link();
        for _ in 0..MAX_PLAIN {
            link.count_plain().unwrap();
        }
        assert!(link.count_plain().is_err());
        link.up();
        link.count_plain().unwrap();
        link.plain = false;
        assert!(link.count_plain().unwrap_err().0.contains("plain:ami"));
    }
}
