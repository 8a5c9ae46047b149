//! Questions servers ask of clients: as a request, or as an error that is a question too.

/// Asks a user something, by a form or on a page.
pub const ELICITATION: &str = "elicitation/create";

/// What servers ask of clients, with the members that only its answers have.
pub const ASKED_OF_CLIENTS: [(&str, &[&str]); 3] =
    [(ELICITATION, &["action"]), ("roots/list", &["roots"]), ("sampling/createMessage", &["model", "role"])];

/// Code of an error that asks for web pages to be opened first (2025-11-25, "URL Elicitation Required Error").
pub const WANTS_PAGES: i64 = -32_042;

/// The request that an error with that code stands for; `None` where it is an error and no more.
pub fn asked_by_error(code: i64) -> Option<&'static str> {
    (code == WANTS_PAGES).then_some(ELICITATION)
}
