//! The action `top`: how all stands, once a second, for as long as somebody looks.

use std::time::Duration;

use hemi_core::status::Timestamp;
use http::Method;
use rustix::termios::{isatty, tcgetwinsize};
use tokio::time::{MissedTickBehavior, interval};

use super::ask::{self, Asking};
use crate::admin::{Live, Past};
use crate::control::Overview;
use crate::signals::Signals;
use crate::{Call, Failure, term};

/// How often it is looked.
const BEAT: Duration = Duration::from_secs(1);

/// Shows the screen that programs have for themselves, and hides the cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

pub(crate) fn top(call: &Call<'_>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        let asking = Asking::new(call)?;
        let mut past = Past::default();
        let first = look(call, &asking).await?;
        let out = std::io::stdout();
        if !isatty(&out) {
            term::say(&text(&first, &mut past));
            return Ok(());
        }
        let mut signals = Signals::watch()?;
        term::say(ENTER);
        let shown = async {
            let mut beat = interval(BEAT);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                let overview = look(call, &asking).await?;
                let size = tcgetwinsize(&out).map_or((80, 24), |size| (size.ws_col, size.ws_row));
                term::say(&screen(&text(&overview, &mut past), size));
            }
        };
        let ended = tokio::select! {
            failed = shown => failed,
            _ = signals.end() => Ok(()),
        };
        term::say(LEAVE);
        ended
    })
}

async fn look(call: &Call<'_>, asking: &Asking) -> Result<Overview, Failure> {
    let answer = asking.ask(call, Method::GET, &[]).await?;
    serde_json::from_slice(&answer.content).map_err(|e| ask::nonsense(&e))
}

fn text(overview: &Overview, past: &mut Past) -> String {
    let Overview { program, version, leader, .. } = overview;
    let up = Timestamp::now().since(leader.since).as_secs();
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    let live = Live::of(overview, &[], past).text();
    format!("{program} {version}, up {hours}:{minutes:02}:{seconds:02}\n{live}\n")
}

/// What fits on a screen of so many columns and rows, written over what was there.
fn screen(text: &str, (columns, rows): (u16, u16)) -> String {
    let mut screen = "\x1b[H".to_owned();
    let lines = text.lines().take(rows.into());
    for (at, line) in lines.enumerate() {
        if at > 0 {
            screen += "\r\n";
        }
        screen.extend(line.chars().filter(|c| !c.is_control()).take(columns.into()));
        screen += "\x1b[K";
    }
    screen + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_fits_and_does_nothing_to_the_terminal() {
        let shown = screen("1234567\n\x1b[31m\n3\n4", (5, 3));
        assert_eq!(shown, "\x1b[H12345\x1b[K\r\n[31m\x1b[K\r\n3\x1b[K\x1b[J");
    }
}
