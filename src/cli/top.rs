//! `portcullis top`: what a running proxy does, from its metrics: once as a table, or on a screen that is drawn again.

mod live;
mod picture;
mod scrape;
mod screen;
mod table;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Builder;

use self::picture::Picture;
use self::scrape::Scrape;
use self::table::{Order, render};
use super::healthcheck::place;
use super::{Exit, Global, Streams};
use crate::clock::{self, Timestamp};
use crate::server::admin::Place;

/// The most bytes of metrics that are read.
const LIMIT_BYTES: u64 = 64 << 20;

/// Arguments of `top`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis top                                        the proxy of proxy.toml, every second
  portcullis top --admin 127.0.0.1:9901 --interval 5s
  portcullis top --json | jq '.servers[] | {server, p99_seconds}'",
    after_help = "Keys: q quits, / filters (Enter ends, Esc clears), s sorts by the next column, p pauses.\n\
                  Rates are those of the last interval, percentiles those of the last minute, to the bounds of the\n\
                  histogram; 401, 403, denied and masked count since the start. Without a terminal one table is printed.\n\
                  Exit codes: 0 done, 69 nothing answers there"
)]
pub struct Top {
    /// The admin listener, an address or http URL, or the path of its socket.
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "The admin listener, an address or http URL, or the path of its socket [default: admin.listen of proxy.toml, else 127.0.0.1:9901]"
    )]
    admin: Option<Place>,
    /// How often to look, 100ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print one table.
    #[arg(long, conflicts_with = "json")]
    plain: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(100)..=Duration::from_hours(1);
    if range.contains(&interval) { Ok(interval) } else { Err("between `100ms` and `1h`".to_owned()) }
}

impl Top {
    /// Looks, once or until somebody has seen enough.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let Some(place) = place(self.admin.as_ref(), global, streams) else { return Exit::Unavailable };
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return Exit::Internal };
        let is_live = !self.plain && !self.json && streams.can_ask && io::stdout().is_terminal();
        let done = runtime.block_on(async {
            if is_live { live::watch(&place, self.interval, streams).await } else { self.once(&place, streams).await }
        });
        // Whoever reads keys does so to the end of the process.
        runtime.shutdown_background();
        match done {
            Ok(()) => Exit::Done,
            Err(error) => {
                streams.message(format_args!("error: no answer from {place}: {error}"));
                Exit::Unavailable
            }
        }
    }

    /// Two looks, an interval apart, which rates need.
    async fn once(&self, place: &Place, streams: &mut Streams<'_>) -> io::Result<()> {
        let before = look(place).await?;
        tokio::time::sleep(self.interval).await;
        let now = look(place).await?;
        let picture = Picture::new(&now, &before, None, Timestamp::now());
        if self.json {
            streams.print(picture.json());
        } else {
            for line in render(&picture, &Order::default(), false) {
                streams.print(line.text);
            }
        }
        Ok(())
    }
}

/// What the proxy measures now. Errs if it does not answer with metrics.
async fn look(place: &Place) -> io::Result<Scrape> {
    let answer = place.get("/metrics", LIMIT_BYTES).await?;
    if answer.status != 200 {
        let message = format!("it answers with {}, not with metrics", answer.status);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Scrape::parse(&answer.body, clock::monotonic()))
}

#[cfg(test)]
mod tests;
