//! Rules between settings.
//!
//! Not here: rules of one setting (`form.rs` and the ranges in `settings.rs`).

use super::layers::InForce;
use super::settings::Config;
use super::source::Mistake;

/// One number must not be above another, or something could never happen.
struct AtMost {
    small: (&'static str, usize),
    large: (&'static str, usize),
    because: &'static str,
}

macro_rules! at_most {
    ($config:ident, $small:ident, $large:ident, $because:literal) => {
        AtMost {
            small: (stringify!($small), $config.$small),
            large: (stringify!($large), $config.$large),
            because: $because,
        }
    };
}

fn pairs(config: &Config) -> [AtMost; 8] {
    [
        at_most!(
            config,
            transaction_events_max,
            topic_queue_events_max,
            "a larger transaction would never be admitted"
        ),
        at_most!(
            config,
            topic_queue_events_max,
            queue_events_max,
            "one topic cannot have more than all topics"
        ),
        at_most!(
            config,
            body_bytes_max,
            queue_bytes_max,
            "a larger transaction would never be admitted"
        ),
        at_most!(
            config,
            body_bytes_max,
            body_bytes_total_max,
            "a larger body would never be read to its end"
        ),
        at_most!(
            config,
            event_bytes_max,
            body_bytes_max,
            "a larger event could not be sent as a transaction"
        ),
        at_most!(
            config,
            event_bytes_max,
            queue_bytes_max,
            "a larger event would never be admitted"
        ),
        at_most!(
            config,
            keys_bytes_max,
            keys_bytes_total_max,
            "one topic cannot have more than all topics"
        ),
        at_most!(
            config,
            live_topic_bytes_max,
            live_bytes_max,
            "one topic cannot have more than all topics"
        ),
    ]
}

/// All mistakes between settings. A rule is left out where one of its settings is itself wrong.
pub(super) fn check(config: &Config, in_force: &InForce) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> =
        pairs(config).iter().filter_map(|pair| at_most(pair, in_force)).collect();
    mistakes.extend(open_to_others(config, in_force));
    mistakes.extend(burst_without_rate(config, in_force));
    mistakes
}

fn at_most(pair: &AtMost, in_force: &InForce) -> Option<Mistake> {
    let (small, large) = (in_force.sound(pair.small.0)?, in_force.sound(pair.large.0)?);
    if pair.small.1 <= pair.large.1 {
        return None;
    }
    Some(small.mistake(format_args!(
        "is {}, above {} = {} ({}): {}; lower the one or raise the other",
        small.text,
        pair.large.0,
        large.text,
        large.origin(),
        pair.because,
    )))
}

fn open_to_others(config: &Config, in_force: &InForce) -> Option<Mistake> {
    let listen = in_force.sound("listen")?;
    in_force.sound("insecure")?;
    if !config.is_open_to_others() || config.insecure || !in_force.has_sound_tokens() {
        return None;
    }
    Some(listen.mistake(format_args!(
        "{} can be reached from other machines, and there are no tokens, so that everybody could \
         write. Add [[token]] tables to the file (`tidelog token` makes one), or listen on \
         127.0.0.1, or set insecure if the network keeps others out",
        config.listen
    )))
}

fn burst_without_rate(config: &Config, in_force: &InForce) -> Option<Mistake> {
    let burst = in_force.sound("rate_burst")?;
    in_force.sound("rate_limit")?;
    let useless = config.rate_burst.is_some() && config.rate_limit.is_none();
    useless.then(|| burst.mistake("has no effect while rate_limit is off; set rate_limit too"))
}
