//! Streams whose connections are cut: the log is what was sent, once, in order, and the acks say
//! where.
//!
//! `TIDELOG_SEED=7 cargo test --test client random` replays one seed.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidelog::client::{LineAck, StreamOptions, event};
use tidelog::domain::Content;

use crate::cutter::{Cut, Cutter, From, Plan};
use crate::make::name;
use crate::world::{World, check_acks, client};

type Line = Vec<(String, String)>;

fn contents(line: &Line) -> Vec<Content> {
    line.iter().map(|(key, data)| event(key, data).expect("an event")).collect()
}

fn one(key: &str, data: &str) -> (String, String) {
    (key.into(), data.into())
}

/// Sends lines through a proxy with plans; checks the log and the acks. The number of cuts.
async fn sent(world: &World, topic: &str, lines: &[Line], plans: Vec<Plan>) -> usize {
    let topic = name(topic);
    let proxy = Cutter::start(world.service.port, plans).await;
    let writer = client(&proxy.url()).writer();
    let sending = stream::iter(lines.iter().map(contents));
    let options = StreamOptions { events_max: 200, ..StreamOptions::default() };
    let acks = writer.append_all(&topic, options, sending).expect("a stream");
    let acks: Result<Vec<LineAck>, _> = acks.try_collect().await;
    let acks = acks.unwrap_or_else(|error| panic!("{topic}: {error}"));
    let events = world.events(&topic).await;
    check_acks(&acks, &events, lines);
    // What lines with new versions wrote is the log; each key has a new version where it differs.
    let mut newest = std::collections::HashMap::new();
    let written = lines.iter().map(|line| -> Line {
        let new = |(key, data): &&(String, String)| {
            newest.insert(key.clone(), data.clone()).as_ref() != Some(data)
        };
        line.iter().filter(new).cloned().collect()
    });
    let written: Vec<Line> = written.filter(|line| !line.is_empty()).collect();
    assert_eq!(world.log(&topic).await, written, "{topic}: all of it, once, in order");
    proxy.cuts()
}

/// A, B, A for one key, so that a line written again, or in another order, is seen.
fn few() -> Vec<Line> {
    vec![
        vec![one("a", "1")],
        vec![one("a", "2"), one("b", "1")],
        vec![one("a", "1")],
        vec![one("a", "1")],
        vec![one("b", "2"), one("a", "2"), one("c", "1")],
        vec![one("a", "1")],
    ]
}

async fn cut_everywhere(from: From, bytes: usize) {
    let world = World::new().await;
    let lines = few();
    let cases = (0..bytes).map(|after| {
        let (world, lines) = (&world, &lines);
        async move {
            let cut = [Cut::Both, Cut::ClientOnly, Cut::Late][after % 3];
            let plan = Plan { from, after, cut };
            let again = Plan { after: after / 2, ..plan };
            let plans = if after % 2 == 0 { vec![plan] } else { vec![plan, again] };
            sent(world, &format!("t-{after}"), lines, plans).await
        }
    });
    let cuts: Vec<usize> = stream::iter(cases).buffer_unordered(8).collect().await;
    let cut = cuts.iter().filter(|cuts| **cuts > 0).count();
    assert!(cut > bytes / 3 && cut < bytes, "{cut} of {bytes} were cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_cut_at_any_byte_loses_repeats_and_reorders_nothing() {
    cut_everywhere(From::Client, 1_200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_at_any_byte_loses_repeats_and_reorders_nothing() {
    cut_everywhere(From::Service, 1_000).await;
}

fn some_plan(random: &mut SmallRng) -> Plan {
    let from = [From::Client, From::Service][random.random_range(0..2)];
    let cut = [Cut::Both, Cut::ClientOnly, Cut::Late][random.random_range(0..3)];
    Plan { from, after: random.random_range(0..12_000), cut }
}

fn some_line(random: &mut SmallRng) -> Line {
    let events = if random.random_bool(0.8) { 1 } else { random.random_range(1..5) };
    let some = |_| {
        let key = format!("k{}", random.random_range(0..20));
        one(&key, &random.random_range(0..3).to_string())
    };
    (0..events).map(some).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_cuts_lose_repeat_and_reorder_nothing() {
    let world = World::new().await;
    let replay = std::env::var("TIDELOG_SEED").ok();
    let replay = replay.map(|text| text.parse::<u64>().expect("TIDELOG_SEED is a number"));
    let mut cuts = 0;
    for seed in replay.map_or(0..6, |seed| seed..seed + 1) {
        println!("TIDELOG_SEED={seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let lines: Vec<Line> = (0..1_500).map(|_| some_line(&mut random)).collect();
        let plans = (0..40).map(|_| some_plan(&mut random)).collect();
        cuts += sent(&world, &format!("seed-{seed}"), &lines, plans).await;
    }
    assert!(cuts > 10, "{cuts} connections were cut");
}
