//! Decides a call again whose arguments a mask has changed: what is sent is what was decided on.

use super::permit::Asker;
use super::tools::{Tool, Tools};
use super::{Arguments, Context, Policy};
use crate::json::{Document, Limits, Value};
use crate::mask::Masked;
use crate::reject::Reject;

/// Checks a call again after masking. Rules and the input schema were applied to the arguments as received; if masks have
/// changed them, the arguments to be sent must be allowed and valid too. Errs if they are not.
pub(crate) fn still_fits(
    policy: &Policy,
    tools: &Tools,
    tool: Option<&Tool>,
    masked: &Masked,
    context: &Context<'_>,
) -> Result<(), Reject> {
    let Some(message) = masked.ask().message().filter(|message| message.document().bytes() != masked.bytes()) else {
        return Ok(());
    };
    // INVARIANT: masks write valid JSON. If not, the call is refused.
    let Ok(document) = Document::parse(masked.bytes().clone(), &Limits::ANSWER) else {
        return Err(Reject::Definition(super::tools::Refused::Definition));
    };
    let rewritten = document.root().get("params").and_then(|params| params.get("arguments"));
    if message.arguments().map(|arguments| arguments.raw()) == rewritten.map(|arguments: Value<'_>| arguments.raw()) {
        return Ok(());
    }
    let Some(method) = message.method() else { return Ok(()) };
    let asker = Asker { policy, caller: masked.caller(), context, enforced: false };
    asker.with_arguments(method, message.subject(), Arguments::Known(rewritten))?;
    tool.map_or(Ok(()), |tool| tools.check(tool, rewritten).map_err(Reject::Definition))
}
