//! The fold of a log, event by event: the contract's rules in a few lines. It says whether the log
//! could have come about, what the surface is, and whether acks agree with both.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::producer::{KeyOf, Producer};

/// An event as it is read.
#[derive(Deserialize)]
pub struct Event {
    pub seq: u64,
    pub transaction: u64,
    pub last: bool,
    pub key: Option<String>,
    pub data: Option<Data>,
    pub invalidates: Option<u64>,
    pub invalidated_by: Option<u64>,
}

#[derive(Deserialize)]
pub struct Data {
    pub v: u8,
}

/// An event of a key.
struct Version {
    data: u8,
    stands: bool,
    /// The next event of the key.
    next: Option<u64>,
    key: usize,
}

/// See the module. Every event is a transaction of its own, so seq and transaction are one number.
#[derive(Default)]
pub struct Fold {
    /// By seq; `None` for invalidations.
    log: Vec<Option<Version>>,
    numbers: HashMap<String, usize>,
    /// Of each key its events.
    keys: Vec<Vec<u64>>,
}

impl Fold {
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// The next event of the log.
    pub fn add(&mut self, event: Event, invalidated: &BTreeMap<u64, u64>) {
        let seq = self.log.len() as u64;
        assert_eq!((event.seq, event.transaction, event.last), (seq, seq, true), "no gaps");
        assert_eq!(event.invalidated_by, invalidated.get(&seq).copied());
        let Some(key) = event.key else {
            let target = event.invalidates.expect("it has no key");
            assert_eq!(invalidated.get(&target), Some(&seq));
            self.log[target as usize].as_mut().expect("it has a key").stands = false;
            return self.log.push(None);
        };
        let data = event.data.expect("it has a key").v;
        let fresh = self.numbers.len();
        let key = *self.numbers.entry(key).or_insert(fresh);
        if key == fresh {
            self.keys.push(Vec::new());
        }
        assert_ne!(self.standing(key).map(|(_, data)| data), Some(data), "written twice: {seq}");
        if let Some(before) = self.keys[key].last().copied() {
            self.log[before as usize].as_mut().expect("it has a key").next = Some(seq);
        }
        self.keys[key].push(seq);
        self.log.push(Some(Version { data, stands: true, next: None, key }));
    }

    /// The event of a key that is on the surface, and its data.
    fn standing(&self, key: usize) -> Option<(u64, u8)> {
        let version = |seq: &u64| self.log[*seq as usize].as_ref().map(|version| (*seq, version));
        let standing = self.keys[key].iter().rev().filter_map(version);
        standing.filter(|(_, version)| version.stands).map(|(seq, v)| (seq, v.data)).next()
    }

    /// The surface, in byte order of key: key, seq, data.
    pub fn surface(&self) -> Vec<String> {
        let mut keys: Vec<(&String, usize)> = self.numbers.iter().map(|(k, n)| (k, *n)).collect();
        keys.sort_unstable();
        let line = |(key, number): (&String, usize)| {
            self.standing(number).map(|(seq, data)| format!("{key} {seq} {data}"))
        };
        keys.into_iter().filter_map(line).collect()
    }

    /// What the producer was told is in the log: each line that was written once, in order, and
    /// duplicates of what was on the surface at some moment between the lines around them. (The
    /// producer itself knows exactly what its own keys must be answered.)
    pub fn check(&self, producer: &Producer) {
        let mut next = self.len() as u64;
        for line in producer.lines.iter().rev() {
            let version = self.log[line.seq as usize].as_ref().expect("it has a key");
            let key = self.numbers[&producer.key(line.key)];
            assert_eq!((version.key, version.data), (key, line.data), "{}", line.seq);
            if !line.duplicate {
                assert!(line.seq < next, "lines are written in order, each once");
                next = line.seq;
            }
            assert!(line.seq <= next, "a duplicate of {} before {next}", line.seq);
        }
        let mut before = 0;
        for line in &producer.lines {
            if !line.duplicate {
                before = line.seq;
            } else if let KeyOf::All(_) = line.key {
                let next = self.log[line.seq as usize].as_ref().and_then(|version| version.next);
                assert!(next.is_none_or(|next| next > before), "{} was gone", line.seq);
            }
        }
    }
}
