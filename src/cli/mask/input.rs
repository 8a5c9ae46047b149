//! Detects what a file holds: a text, one JSON value, JSON lines, or an event stream.

use crate::json::{Document, Limits, Span};

/// A part of the input that is masked on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it stands in the input.
    pub(super) span: Span,
    /// Its line, counted from one, where lines are pieces.
    pub(super) line: Option<usize>,
    /// What it says; the lines of an event's data are put together.
    pub(super) text: String,
    /// Whether it is the data of an event.
    pub(super) is_event: bool,
}

impl Piece {
    fn new(text: &str, span: Span, line: Option<usize>) -> Self {
        Self { span, line, text: text.get(span.start..span.end).unwrap_or_default().to_owned(), is_event: false }
    }

    /// `text` as it stands in the input.
    pub(super) fn framed(&self, text: &str) -> String {
        if self.is_event { text.replace('\n', "\ndata: ") } else { text.to_owned() }
    }
}

/// The pieces of an input, in order.
pub(super) fn pieces(input: &str) -> Vec<Piece> {
    let trimmed = input.trim_end_matches(['\n', '\r']);
    let whole = Span { start: 0, end: trimmed.len() };
    let is_json = |text: &str| Document::parse(text.to_owned().into(), &Limits::ANSWER).is_ok();
    if trimmed.is_empty() || is_json(trimmed) {
        return vec![Piece::new(input, whole, None)];
    }
    let lines = lines(input);
    let filled =
        || lines.iter().filter(|(_, span)| !input.get(span.start..span.end).unwrap_or_default().trim().is_empty());
    if filled().count() > 1
        && filled().all(|(_, span)| {
            let line = input.get(span.start..span.end).unwrap_or_default();
            line.trim_start().starts_with(['{', '[']) && is_json(line)
        })
    {
        return filled().map(|(number, span)| Piece::new(input, *span, Some(*number))).collect();
    }
    let is_field = |line: &str| {
        line.is_empty() || ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| line.starts_with(field))
    };
    let texts = || lines.iter().map(|(_, span)| input.get(span.start..span.end).unwrap_or_default());
    if texts().any(|line| line.starts_with("data:")) && texts().all(is_field) {
        return events(input, &lines);
    }
    vec![Piece::new(input, whole, None)]
}

/// Every line by number, without its end.
fn lines(input: &str) -> Vec<(usize, Span)> {
    let mut start = 0;
    let mut lines = Vec::new();
    for (at, line) in input.split_inclusive('\n').enumerate() {
        let content = line.trim_end_matches(['\n', '\r']);
        lines.push((at + 1, Span { start, end: start + content.len() }));
        start += line.len();
    }
    lines
}

/// The data of each event (WHATWG HTML section 9.2.6): its lines are put together.
fn events(input: &str, lines: &[(usize, Span)]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut goes_on = false;
    for (number, span) in lines {
        let line = input.get(span.start..span.end).unwrap_or_default();
        let Some(data) = line.strip_prefix("data:") else {
            goes_on = false;
            continue;
        };
        let data = data.strip_prefix(' ').unwrap_or(data);
        let start = span.end - data.len();
        match pieces.last_mut().filter(|_| goes_on) {
            Some(piece) => {
                piece.text.push('\n');
                piece.text.push_str(data);
                piece.span.end = span.end;
            }
            None => pieces.push(Piece {
                span: Span { start, end: span.end },
                line: Some(*number),
                text: data.to_owned(),
                is_event: true,
            }),
        }
        goes_on = true;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::pieces;

    /// A line's number where there are several, and its text.
    type Piece = (Option<usize>, &'static str);

    #[test]
    fn knows_text_json_lines_and_events() {
        let cases: &[(&str, &[Piece])] = &[
            ("plain\ntext\n", &[(None, "plain\ntext")]),
            ("{\"a\":\n1}\n", &[(None, "{\"a\":\n1}")]),
            ("{\"a\":1}\n\n[2]\r\n", &[(Some(1), "{\"a\":1}"), (Some(3), "[2]")]),
            ("{\"a\":1}\nand text", &[(None, "{\"a\":1}\nand text")]),
            (
                "event: message\ndata: {\"a\":\ndata: 1}\n\n: keep\ndata:x\n\n",
                &[(Some(2), "{\"a\":\n1}"), (Some(6), "x")],
            ),
            ("data: x\nno field", &[(None, "data: x\nno field")]),
            ("", &[(None, "")]),
        ];
        for (input, wanted) in cases {
            let found: Vec<_> = pieces(input).into_iter().map(|piece| (piece.line, piece.text)).collect();
            let wanted: Vec<_> = wanted.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(found, wanted, "{input:?}");
        }
    }
}
