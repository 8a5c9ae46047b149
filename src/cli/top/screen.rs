//! The terminal while the live view has it: its second screen, keys one by one, and everything back as it was afterwards.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};

use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};
use terminal_size::{Height, Width, terminal_size};
use tokio::sync::mpsc;

use super::table::Line;

/// The terminal's other screen, cleared, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What no key is bound to.
const DISABLED: u8 = 0;

/// The terminal, which is restored when this is dropped: also where a panic unwinds.
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal over. Errs if standard input is none.
    pub(super) fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        // Ctrl-Z would leave the shell with this screen. Ctrl-C stays a signal.
        if let Some(suspend) = keys.control_chars.get_mut(SpecialCharacterIndices::VSUSP as usize) {
            *suspend = DISABLED;
        }
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &keys)?;
        let screen = Self { before };
        screen.write(ENTER)?;
        Ok(screen)
    }

    /// Draws all lines that fit, and `footer` below them.
    pub(super) fn draw(&self, lines: &[Line], footer: &str, color: bool) -> io::Result<()> {
        let (Width(width), Height(height)) = terminal_size().unwrap_or((Width(80), Height(24)));
        let (width, room) = (usize::from(width), usize::from(height).saturating_sub(1));
        let mut text = String::from("\x1b[H");
        let is_cut = lines.len() > room;
        let shown = if is_cut { room.saturating_sub(1) } else { lines.len() };
        for line in lines.iter().take(shown) {
            let (start, end) = if color { (line.look.start(), "\x1b[0m") } else { ("", "") };
            text.extend([start, &cut(&line.text, width), end, "\x1b[K\r\n"]);
        }
        if is_cut {
            let more = format!("… {} more lines", lines.len() - shown);
            text.extend([&*cut(&more, width), "\x1b[K\r\n"]);
        }
        let footer = cut(footer, width.saturating_sub(1));
        let _ = write!(text, "\x1b[J\x1b[{height};1H{footer}\x1b[K");
        self.write(&text)
    }

    #[expect(clippy::unused_self, reason = "only who has the screen writes to it")]
    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.write(LEAVE);
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Backspace,
    Char(char),
    Enter,
    Escape,
}

/// Keys as they are pressed, until the process ends. Arrows and other keys of several bytes are left out.
pub(super) fn keys() -> mpsc::UnboundedReceiver<Key> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 32];
        while let Ok(count @ 1..) = io::stdin().lock().read(&mut bytes) {
            for key in read_keys(bytes.get(..count).unwrap_or_default()) {
                if sender.send(key).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// The keys in what was read at once.
pub(super) fn read_keys(bytes: &[u8]) -> Vec<Key> {
    if bytes.len() > 1 && bytes.first() == Some(&0x1b) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(bytes);
    let key = |char: char| match char {
        '\u{1b}' => Some(Key::Escape),
        '\r' | '\n' => Some(Key::Enter),
        '\u{7f}' | '\u{8}' => Some(Key::Backspace),
        char if char.is_control() => None,
        char => Some(Key::Char(char)),
    };
    text.chars().filter_map(key).collect()
}
