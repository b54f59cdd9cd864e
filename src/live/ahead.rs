//! One step ahead: while what was read is written and sent, the next is being read.

use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;

/// The same items in the same order, made by a task of their own: one waits to be taken, and one
/// more is under way. The task begins when the first item is asked for, and ends, at the latest
/// with the item that it is at, once nobody takes them any more. Must be polled inside a runtime.
pub fn ahead<S>(items: S) -> impl Stream<Item = S::Item>
where
    S: Stream + Send + 'static,
    S::Item: Send,
{
    let begin = async move {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut items = std::pin::pin!(items);
            while let Some(item) = items.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        stream::unfold(receiver, async |mut items| Some((items.recv().await?, items)))
    };
    stream::once(begin).flatten()
}
