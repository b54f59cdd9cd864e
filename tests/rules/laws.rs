//! Laws: what holds for any commands, in any order.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof,
};
use proptest::proptest;
use tidelog::domain::{Command, Event, EventBody, Precondition, Seq};

use crate::make::{content, invalidate, line, named, on, register, write};
use crate::model::{Model, Written};
use crate::topic::Topic;

const KEYS: [&str; 3] = ["a", "b", "c"];
const DATA: [&str; 3] = ["1", "2", "3"];
const NAMES: [&str; 3] = ["x", "y", "z"];
const PRODUCERS: [&str; 2] = ["p", "q"];

fn condition() -> impl Strategy<Value = Precondition> {
    prop_oneof![Just(Precondition::Empty), (0..12_u64).prop_map(|n| Precondition::HeadIs(Seq(n)))]
}

/// Few names and small numbers, so that commands meet.
fn command() -> impl Strategy<Value = Command> {
    let events = vec((0..3_usize, 0..3_usize), 1..4);
    let name = || weighted(0.2, (0..3_usize, 0..2_u8));
    let place = || (0..2_usize, 0..3_u64, 0..5_u64);
    let writes = (events, name(), weighted(0.2, condition()), weighted(0.3, place()));
    let writes = writes.prop_map(|(events, name, condition, place)| {
        let mut command = write(events.into_iter().map(|(k, d)| content(KEYS[k], DATA[d])));
        if let Some((name, request)) = name {
            command = named(command, NAMES[name], request);
        }
        if let Some((producer, epoch, number)) = place {
            command = line(command, PRODUCERS[producer], epoch, number);
        }
        match condition {
            Some(condition) => on(condition, command),
            None => command,
        }
    });
    let invalidations = (0..14_u64, name()).prop_map(|(transaction, name)| match name {
        Some((name, request)) => named(invalidate(transaction), NAMES[name], request),
        None => invalidate(transaction),
    });
    let registrations =
        place().prop_map(|(p, epoch, number)| register(PRODUCERS[p], epoch, number));
    prop_oneof![6 => writes, 2 => invalidations, 1 => registrations]
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(command(), 1..40)
}

fn written(event: &Event) -> Written {
    match &event.body {
        EventBody::Content(content) => {
            Written::Event(content.key.as_str().to_owned(), content.hash.text().to_string())
        }
        EventBody::Invalidation(invalidation) => Written::Invalidation(invalidation.invalidates),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_planner_answers_and_writes_what_the_contract_says(commands in commands()) {
        let (mut topic, mut model) = (Topic::new(), Model::default());
        let (batch, decided) = topic.batch(&commands);
        for (n, (command, decided)) in commands.iter().zip(decided).enumerate() {
            prop_assert_eq!(decided, model.decide(command), "command {}", n);
        }
        let log: Vec<_> = batch.events.iter().map(|e| (e.version, written(e))).collect();
        prop_assert_eq!(log, model.log);
    }

    #[test]
    fn where_batches_end_changes_nothing(
        commands in commands(),
        ends in vec(any::<bool>(), 40),
    ) {
        let (mut whole, mut parts) = (Topic::new(), Topic::new());
        let (batch, decided) = whole.batch(&commands);
        let (mut events, mut answers, mut rest) = (Vec::new(), Vec::new(), &commands[..]);
        while !rest.is_empty() {
            let size = ends.iter().skip(commands.len() - rest.len()).take_while(|end| !**end);
            let (part, others) = rest.split_at(rest.len().min(size.count() + 1));
            let (batch, decided) = parts.batch(part);
            events.extend(batch.events);
            answers.extend(decided);
            rest = others;
        }
        prop_assert_eq!(answers, decided);
        prop_assert_eq!(events, batch.events);
        prop_assert_eq!(parts.root(), whole.root());
        prop_assert_eq!(parts.planner.head(), whole.planner.head());
    }

    #[test]
    fn a_rejected_command_changes_nothing(commands in commands(), last in command()) {
        let mut topic = Topic::new();
        let (mut batch, _) = topic.batch(&commands);
        let (before, planned) = (topic.clone(), batch.clone());
        if topic.decide(&last, &mut batch).is_err() {
            prop_assert_eq!(format!("{:?}", batch), format!("{:?}", planned));
            prop_assert_eq!(topic.planner.head(), before.planner.head());
            prop_assert_eq!(topic.root(), before.root());
            prop_assert_eq!(topic.book.producers, before.book.producers);
            prop_assert_eq!(topic.book.records, before.book.records);
            prop_assert_eq!(topic.book.events, before.book.events);
        }
    }

    #[test]
    fn numbers_have_no_gaps_and_chains_name_the_version_before(commands in commands()) {
        let (batch, _) = Topic::new().batch(&commands);
        let mut newest: HashMap<&str, Seq> = HashMap::new();
        let mut transaction = 0;
        for (n, event) in batch.events.iter().enumerate() {
            prop_assert_eq!(event.version.seq, Seq(n as u64));
            prop_assert_eq!(event.version.transaction.0, transaction);
            transaction += u64::from(event.last);
            let before = match &event.body {
                EventBody::Content(content) => newest.insert(content.key.as_str(), event.version.seq),
                EventBody::Invalidation(_) => None,
            };
            prop_assert_eq!(event.prev, before);
        }
        prop_assert!(batch.events.last().is_none_or(|event| event.last));
        prop_assert_eq!(batch.frontier.leaves(), batch.events.len() as u64);
    }
}
