//! The stream of an older client's session: one `subscriptions/listen`, renewed whenever the subscriptions change.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::AHEAD;
use crate::bridge::clients::Client;
use crate::bridge::event;
use crate::bridge::link::Link;
use crate::bridge::newer;
use crate::json::{Document, Limits};
use crate::mcp::RpcId;
use crate::mcp::methods::LISTEN;
use crate::mcp::sse::Splitter;
use crate::reply::{Media, media_type};
use crate::upstream::Answer;

/// How long to wait before a subscription that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers a client's GET with a stream that stays open until the client closes it (2025-11-25, "Listening for Messages from
/// the Server").
pub(super) fn open(link: &Link, client: Arc<Client>) -> Box<Answer> {
    let (out, events) = mpsc::channel(AHEAD);
    let own = link.clone();
    link.begin(async move {
        let link = own;
        loop {
            tokio::select! {
                biased;
                () = out.closed() => return,
                () = client.changed.notified() => continue,
                () = read(&link, &client, &out) => {}
            }
            tokio::select! {
                () = out.closed() => return,
                () = client.changed.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    });
    Answer::events(events)
}

async fn read(link: &Link, client: &Client, out: &mpsc::Sender<Bytes>) {
    let own = RpcId::own();
    let request = newer::listen(own.raw(), &client.declared, &client.uris());
    let sent = link.post_newer(request, [newer::method_header(LISTEN)]).await;
    let Ok(answer) = sent else { return };
    let Answer { status, fields, mut body } = *answer;
    if !status.is_success() || !matches!(media_type(&fields), Media::EventStream) {
        return;
    }
    let mut splitter = Splitter::new(link.worker.live.current().limits.event_bytes);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        splitter.feed(data);
        while let Some(next) = splitter.next_event() {
            let Ok(next) = next else { return };
            let data = next.data.filter(|data| !data.is_empty());
            let Some(Ok(document)) = data.map(|data| Document::parse(data, &Limits::ANSWER)) else { continue };
            if let Some(news) = newer::news(&document) {
                let _ = out.send(event(news)).await;
            }
        }
    }
}
