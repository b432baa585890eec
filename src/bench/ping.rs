//! Whether a server answers, in one line.

use super::client::target::Target;
use super::error::BenchError;
use crate::sys::clock::monotonic_ns;

/// Asks once. The line, or why there is none.
pub fn ping(target: &Target) -> Result<String, BenchError> {
    let began = monotonic_ns();
    let mut session = target.open()?;
    let connected = monotonic_ns();
    let answer = session.demand(&["PING"])?;
    let answered = monotonic_ns();
    let text = answer.text().filter(|text| text == "PONG").ok_or_else(|| {
        BenchError::Malformed { address: target.address(), what: format!("{answer:?} to a PING") }
    })?;
    let ms = |from: u64, to: u64| (to - from) as f64 / 1e6;
    let (connect, reply) = (ms(began, connected), ms(connected, answered));
    Ok(format!("{}: {text} in {reply:.3} ms (connected in {connect:.3} ms)", target.address()))
}
