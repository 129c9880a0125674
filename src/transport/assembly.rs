//! Whole messages out of batches and parts.

use bytes::{Bytes, BytesMut};

use super::{
    convert,
    malformed::Malformed,
    outbox::{BATCH_BYTES, ENTRY_BYTES},
};
use crate::{
    log::Entry,
    proto,
    raft::{Body, Message, NodeId},
};

/// What a message may have beside one entry of the greatest size: the core puts more than one entry into a message only
/// below a bound of its own, `raft::Bounds::message_bytes_max`.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The receiving end of one stream.
pub(super) struct Assembly {
    from: NodeId,
    to: NodeId,
    entry_bytes_max: usize,
    /// The message whose parts arrive.
    partial: Option<Partial>,
}

struct Partial {
    /// An append without entries.
    head: Message,
    entries: Vec<Entry>,
    /// The entry that lacks bytes.
    open: Option<OpenEntry>,
    /// What has arrived, roughly.
    bytes: usize,
}

struct OpenEntry {
    index: u64,
    term: u64,
    kind: u32,
    body: BytesMut,
    missing: u64,
}

impl Assembly {
    /// For a stream between these nodes.
    pub(super) fn new(from: NodeId, to: NodeId, entry_bytes_max: usize) -> Self {
        Self { from, to, entry_bytes_max, partial: None }
    }

    /// Takes a batch, and appends the messages that are whole now to `messages`.
    pub(super) fn take(&mut self, batch: proto::Batch, messages: &mut Vec<Message>) -> Result<(), Malformed> {
        messages.reserve(batch.messages.len());
        for message in batch.messages {
            messages.push(self.whole(message)?);
        }
        if let Some(part) = batch.part
            && let Some(message) = self.part(part)?
        {
            messages.push(message);
        }
        Ok(())
    }

    fn whole(&self, message: proto::Message) -> Result<Message, Malformed> {
        if message.from != self.from {
            return Err(Malformed::From(message.from));
        }
        if message.to != self.to {
            return Err(Malformed::To(message.to));
        }
        convert::from_wire(message)
    }

    fn part(&mut self, part: proto::Part) -> Result<Option<Message>, Malformed> {
        let mut partial = match (self.partial.take(), part.head) {
            (None, Some(head)) => Partial::new(self.whole(head)?)?,
            (Some(partial), None) => partial,
            (None, None) => return Err(Malformed::Parts("a part of a message without its beginning")),
            (Some(_), Some(_)) => return Err(Malformed::Parts("a message began before another was whole")),
        };
        partial.more(&part.body)?;
        for entry in part.entries {
            partial.begin(entry, self.entry_bytes_max)?;
        }
        if self.entry_bytes_max.max(MESSAGE_BYTES_MAX) + BATCH_BYTES < partial.bytes {
            return Err(Malformed::MessageTooLarge);
        }
        if part.last {
            return partial.finish().map(Some);
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

impl Partial {
    fn new(head: Message) -> Result<Self, Malformed> {
        match &head.body {
            Body::Append { entries, .. } if entries.is_empty() => {}
            _ => return Err(Malformed::Parts("parts of a message that is no empty append")),
        }
        Ok(Self { head, entries: Vec::new(), open: None, bytes: 0 })
    }

    /// Goes on with the entry that lacks bytes.
    fn more(&mut self, body: &[u8]) -> Result<(), Malformed> {
        if body.is_empty() {
            return Ok(());
        }
        let open = self.open.as_mut().ok_or(Malformed::Parts("bytes of no entry"))?;
        let missing = open.missing.checked_sub(body.len() as u64);
        open.missing = missing.ok_or(Malformed::Parts("an entry of more bytes than it said"))?;
        // Grows with what has come, whatever was said will come.
        open.body.extend_from_slice(body);
        self.bytes += body.len();
        if open.missing == 0 {
            self.close()?;
        }
        Ok(())
    }

    fn begin(&mut self, entry: proto::Entry, entry_bytes_max: usize) -> Result<(), Malformed> {
        if self.open.is_some() {
            return Err(Malformed::Parts("an entry began before another was whole"));
        }
        let length = entry.missing.saturating_add(entry.body.len() as u64);
        if (entry_bytes_max as u64) < length {
            return Err(Malformed::EntryTooLarge(length));
        }
        let proto::Entry { index, term, kind, body, missing } = entry;
        self.bytes += ENTRY_BYTES + body.len();
        if missing == 0 {
            self.entries.push(convert::entry_from_wire(index, term, kind, body)?);
        } else {
            self.open = Some(OpenEntry { index, term, kind, body: BytesMut::from(body), missing });
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        if let Some(OpenEntry { index, term, kind, body, .. }) = self.open.take() {
            let body: Bytes = body.freeze();
            self.entries.push(convert::entry_from_wire(index, term, kind, body)?);
        }
        Ok(())
    }

    fn finish(self) -> Result<Message, Malformed> {
        let Self { mut head, entries: whole, open, .. } = self;
        if open.is_some() {
            return Err(Malformed::Parts("a message ended before its last entry"));
        }
        if let Body::Append { previous, entries, .. } = &mut head.body {
            convert::check_entries(head.term, *previous, &whole)?;
            *entries = whole;
        }
        Ok(head)
    }
}
