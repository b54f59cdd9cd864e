//! What waits keeps alive no more than it weighs. Events share the buffer that they came in, which
//! is what makes a dense stream cheap; but admission counts events, and a buffer can be anything
//! besides: thirty megabytes of spaces around an event of a hundred bytes, say.

use crate::domain::{Command, Content};

/// A buffer may be so many times as large as what is in it.
const SLACK: usize = 2;

/// Copies events out of a buffer that is mostly something else. `received` is its size.
pub(super) fn keep_events(events: &mut [Content], received: usize) {
    if is_sparse(events.iter().map(Content::footprint).sum(), received) {
        detach(events);
    }
}

/// The same for events that were made commands.
pub(super) fn keep_commands(commands: &mut [Command], received: usize) {
    let footprint = |command: &Command| match command {
        Command::Write(write) => write.events.iter().map(Content::footprint).sum(),
        Command::Invalidate(_) | Command::Register(_) => 0,
    };
    if !is_sparse(commands.iter().map(footprint).sum(), received) {
        return;
    }
    for command in commands {
        if let Command::Write(write) = command {
            detach(&mut write.events);
        }
    }
}

fn is_sparse(footprint: usize, received: usize) -> bool {
    received > footprint.saturating_mul(SLACK)
}

fn detach(events: &mut [Content]) {
    for event in events {
        *event = event.detached();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::submitted;

    fn shares(padding: usize) -> bool {
        let event = "{\"key\":\"k\",\"hash\":\"h\",\"type\":\"t\",\"data\":1,\"metadata\":{}}";
        let buffer = Bytes::from(format!("{event}{}", " ".repeat(padding)));
        let mut events = submitted::event(buffer.clone()).expect("an event");
        keep_events(&mut events, buffer.len());
        let event = &events[0];
        let texts = [
            event.key.as_str(),
            &event.hash.text(),
            event.event_type.as_ref().expect("a type").as_str(),
            event.metadata.as_ref().expect("metadata").as_str(),
            str::from_utf8(&event.data.bytes()).expect("JSON"),
        ]
        .map(str::as_ptr);
        let shared = texts.iter().filter(|at| buffer.as_ptr_range().contains(at)).count();
        assert!(shared == 0 || shared == texts.len(), "all of an event or nothing");
        shared > 0
    }

    #[test]
    fn events_share_a_dense_buffer_and_leave_a_sparse_one() {
        assert!(shares(0));
        assert!(!shares(10_000));
    }
}
