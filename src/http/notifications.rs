//! `GET /v1/notifications`: the heads of all topics that the caller may read, and then each as it
//! moves.

use actix_web::{HttpRequest, HttpResponse};
use bytes::{Bytes, BytesMut};
use futures::stream;

use super::auth::Caller;
use super::headers::{EVENT_STREAM, prefer};
use super::live::{Beat, End, endless};
use super::problem::Problem;
use super::query::Query;
use crate::config::Access;
use crate::live::{Form, Notifications};
use crate::store::TopicSummary;
use crate::wire::head::MovedJson;
use crate::wire::sse::{Kind, message, put_message};

/// Heads that are handed over at once.
const HEADS: usize = 256;

/// See the module.
pub(super) async fn notifications(
    request: HttpRequest,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    prefer(&request, &[(EVENT_STREAM, ())])?;
    let heads = caller.app.live.notifications().await?;
    let (beat, end) = (Beat::new(caller.app.limits.heartbeat_interval), End::of(&caller.app));
    let heads = Heads { heads, beat, end, caller };
    let pieces = stream::unfold(Some(heads), |heads| async {
        let mut heads = heads?;
        let (piece, more) = heads.next().await;
        Some((Ok(piece), more.then_some(heads)))
    });
    Ok(endless(&request, Form::Messages, pieces))
}

struct Heads {
    heads: Notifications,
    beat: Beat,
    end: End,
    caller: Caller,
}

impl Heads {
    /// The next messages, and whether more will follow.
    async fn next(&mut self) -> (Bytes, bool) {
        loop {
            if self.end.is_here() {
                return (message(Kind::End, b"{}"), false);
            }
            if self.beat.is_due() {
                return (message(Kind::Heartbeat, b"{}"), true);
            }
            let moved = self.heads.take(HEADS);
            let told = self.messages(&moved);
            if !told.is_empty() {
                return (told, true);
            }
            if moved.is_empty() {
                tokio::select! {
                    () = self.heads.moved() => {}
                    () = self.end.comes() => {}
                    () = self.beat.comes() => {}
                }
            }
        }
    }

    /// Those heads that the caller may see.
    fn messages(&self, moved: &[TopicSummary]) -> Bytes {
        let mut out = BytesMut::new();
        for topic in moved.iter().filter(|topic| self.caller.may(&topic.name, Access::Read)) {
            let json = serde_json::to_vec(&MovedJson::new(&topic.name, topic.head));
            put_message(&mut out, Kind::Head, &json.expect("a head is JSON"));
        }
        out.freeze()
    }
}
