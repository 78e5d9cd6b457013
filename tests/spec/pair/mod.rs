//! Our server and the reference, asked the same.
//!
//! ```text
//!   Op ──┬──► Side(ours)      ──► Answer ─┐
//!        └──► Side(reference) ──► Answer ─┴─► equal, or the difference
//! ```

pub mod op;
mod side;
mod ties;

use self::op::{Op, shortened};
pub use self::side::{Answer, Side};
use crate::harness;

pub struct Pair {
    pub ours: Side,
    pub reference: Side,
    /// Differences that were collected rather than reported at once.
    pub differences: Vec<String>,
}

// === impl Pair ===

impl Pair {
    pub async fn start(flags: &[&str]) -> Pair {
        let (ours, reference) = (harness::ours(), harness::reference());
        let (ours, reference) = tokio::join!(Side::start(&ours, flags), Side::start(&reference, flags));
        Pair { ours, reference, differences: Vec::new() }
    }

    /// Asks both; the answer if it is the same, else what both said.
    pub async fn ask(&mut self, op: &Op) -> Result<Answer, (Answer, Answer)> {
        let (ours, reference) = tokio::join!(self.ours.perform(op), self.reference.perform(op));
        if ours == reference { Ok(reference) } else { Err((ours, reference)) }
    }

    /// Asks both and demands the same answer.
    pub async fn same(&mut self, op: Op) -> Answer {
        match self.ask(&op).await {
            Ok(answer) => answer,
            Err((ours, reference)) => panic!("{op:?}\n--- ours\n{}\n--- reference\n{}", ours.text, reference.text),
        }
    }

    /// Asks both and keeps a difference for later, so that one run shows all of them.
    pub async fn check(&mut self, what: &str, op: Op) {
        if let Err((ours, reference)) = self.ask(&op).await {
            self.compare(what, &ours.text, &reference.text);
        }
    }

    /// Keeps a difference for later, if there is one.
    pub fn compare(&mut self, what: &str, ours: &str, reference: &str) {
        // In some of its builds Go's protobuf writes a space that does not break, so that nobody relies on its words.
        let [ours, reference] = [ours, reference].map(|said| said.replace('\u{a0}', " "));
        if ours != reference {
            let (ours, reference) = (shortened(&ours, 1_000), shortened(&reference, 1_000));
            self.differences.push(format!("{what}\n    ours:      {ours}\n    reference: {reference}"));
        }
    }

    /// Fails with all differences that were kept.
    pub fn conclude(&mut self) {
        assert!(self.ours.server.is_alive(), "our server ended\n{}", self.ours.server.log_tail());
        assert!(self.reference.server.is_alive(), "the reference ended\n{}", self.reference.server.log_tail());
        let found = self.differences.len();
        assert!(found == 0, "{found} answers differ:\n{}", self.differences.join("\n"));
    }
}
