//! Running a plan: set-up once, then offline what needs no input, then online inference by
//! inference, each step held to its price.

mod budget;
mod converse;
mod holdings;
mod offline;
mod online;
mod report;
mod request;
mod setup;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Reason;
use crate::plan::{Load, Plan};
use crate::weights::Weights;
use crate::{Error, Role, Session};
use budget::Budgets;
use offline::Stock;
use setup::Ready;

pub use converse::{Randomness, converse};
pub use holdings::Holdings;
pub use report::{Event, Measured, Report, StepReport};
pub use request::{Request, request_cost};

/// What this party brings to a run.
#[derive(Clone, Copy)]
pub enum Side<'a> {
    /// The server's weights.
    Server(&'a Arc<Weights>),
    /// The client's inputs, one inference after the other, each
    /// `[channels][images][rows][columns]`, within the input wire's width.
    Client(&'a [i64]),
}

/// The client's result: logits `[classes][images]`, or labels `[images]`, one inference after the
/// other; the server has none.
pub type Logits = Option<Vec<i64>>;

/// Hears of the progress of a run.
pub type Observe<'a> = dyn FnMut(Event<'_>) + Send + 'a;

/// Runs a whole session, from set-up to logits: whenever nothing is prepared any more, the client
/// requests as many inferences as the load says, and has them run.
///
/// # Errors
/// Where the peer is lost or violates the protocol, where the input, the weights or the load do not
/// fit, or where a step does not cost what was predicted.
pub async fn execute(
    plan: &Arc<Plan>,
    session: Session,
    side: Side<'_>,
    load: Load,
    observe: &mut Observe<'_>,
) -> Result<(Logits, Report), Error> {
    let plan = Arc::clone(plan);
    let inputs = match side {
        Side::Client(inputs) => inputs,
        Side::Server(weights) => {
            let own = Some(Arc::clone(weights));
            let run = PartySession::open(plan, session, own, load, observe).await?;
            return Ok((None, run.serve(observe).await?));
        }
    };
    let (mut logits, elements) = (Vec::new(), plan.input_wire().elements());
    let mut run = PartySession::open(plan, session, None, load, observe).await?;
    for inference in 0..load.inferences {
        let start = elements * load.images * inference;
        let input = inputs.get(start..start + elements * load.images_of(inference));
        let input = input.ok_or_else(|| {
            let expected = format!("{} elements", elements * load.total());
            Error::invalid("input", expected, inputs.len())
        })?;
        logits.extend(run.request_inference(input, observe).await?.into_iter().flatten());
    }
    Ok((Some(logits), run.request_end().await?))
}

/// One party's end of a session that serves a plan: set up once, then prepared and run inference by
/// inference.
///
/// Between two calls the other party waits, as long as the grace of a step:
/// [`Limits::silence`](crate::Limits::silence).
pub struct PartySession {
    plan: Arc<Plan>,
    session: Session,
    /// The server's; the client has none.
    weights: Option<Arc<Weights>>,
    load: Load,
    ready: Ready,
    budgets: Budgets,
    /// What is prepared, in the order in which it will be used, each once.
    stock: VecDeque<Stock>,
    /// Inferences whose preparation has begun.
    begun: usize,
    report: Report,
}

impl PartySession {
    /// Sets a session up. The load is what the report predicts.
    ///
    /// # Errors
    /// Where the peer is lost or violates the protocol, or the weights, the hints or the batch do
    /// not fit.
    pub async fn open(
        plan: Arc<Plan>,
        mut session: Session,
        holdings: impl Into<Holdings>,
        load: Load,
        observe: &mut Observe<'_>,
    ) -> Result<Self, Error> {
        load.check()?;
        check_batch(&plan, load.images)?;
        let holdings = holdings.into();
        let hints = holdings.delivery(&plan, load)?;
        let weights = holdings.weights;
        if let Some(weights) = &weights {
            weights.check_shapes(&plan)?;
        }
        let mut report = Report::new(&plan, load);
        let own = (weights.as_deref(), hints);
        let ready = setup::set_up(&plan, &mut session, own, &mut report, observe).await;
        let ready = told(&mut session, ready).await?;
        let budgets = Budgets::new(&plan, load.images);
        let stock = VecDeque::new();
        Ok(Self { plan, session, weights, load, ready, budgets, stock, begun: 0, report })
    }

    /// Does all that does not need the input, for the next `inferences`, at least one.
    ///
    /// # Errors
    /// Where the peer is lost or violates the protocol.
    pub async fn prepare(
        &mut self,
        inferences: usize,
        observe: &mut Observe<'_>,
    ) -> Result<(), Error> {
        let asked = self.load.preparation(self.begun, inferences);
        self.report.predict_offline(&self.plan, asked);
        let prepared = offline::prepare(self, inferences, observe).await;
        self.stock.extend(told(&mut self.session, prepared).await?);
        Ok(())
    }

    /// Runs the next inference of the load, where both parties know that it is next. Where nothing
    /// is prepared any more, it first prepares as many as the load says. The client gives its
    /// input.
    ///
    /// # Errors
    /// Those of [`PartySession::prepare`] and of [`PartySession::infer`].
    pub async fn next(
        &mut self,
        input: &[i64],
        observe: &mut Observe<'_>,
    ) -> Result<Logits, Error> {
        let due = self.due();
        if due > 0 {
            self.prepare(due, observe).await?;
        }
        self.infer(input, observe).await
    }

    /// How many inferences are to be prepared before the next one is run.
    fn due(&self) -> usize {
        if self.stock.is_empty() { self.load.group(self.begun).inferences } else { 0 }
    }

    /// Inferences that were run.
    fn run(&self) -> usize {
        self.begun - self.stock.len()
    }

    /// What was prepared and run so far, and what of it was predicted.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The ledger of a session that might end here, without its end.
    pub fn so_far(&self) -> Report {
        let keep_alive_bytes = self.session.channel.keep_alive_bytes();
        let load = self.load.up_to(self.begun, self.run());
        Report { load, keep_alive_bytes, ..self.report.clone() }
    }

    /// The images of the inference that is run next, 0 where none is prepared.
    pub fn next_images(&self) -> usize {
        self.stock.front().map_or(0, |next| next.images)
    }

    /// Runs one inference: its result is confirmed, by what both parties say of the conversation up
    /// to it. Uses up what was prepared for it, whether it succeeds or not. The client gives its
    /// input.
    ///
    /// # Errors
    /// [`Error::Unprepared`] where nothing is left; where the input does not fit; where the peer is
    /// lost or violates the protocol.
    pub async fn infer(
        &mut self,
        input: &[i64],
        observe: &mut Observe<'_>,
    ) -> Result<Logits, Error> {
        let unprepared = Error::Unprepared { prepared: self.begun };
        if let (None, Some(next)) = (&self.weights, self.stock.front()) {
            check_input(&self.plan, input, next.images)?;
        }
        let stock = self.stock.pop_front().ok_or(unprepared)?;
        self.report.predict_online(&self.plan, stock.images);
        let found = online::infer(self, input, stock, observe).await;
        told(&mut self.session, found).await
    }

    /// The server's: does what the client requests, to the end.
    ///
    /// # Errors
    /// Those of [`PartySession::requested`], of what is requested and of [`PartySession::close`].
    pub async fn serve(mut self, observe: &mut Observe<'_>) -> Result<Report, Error> {
        loop {
            match self.requested().await? {
                Request::Prepare(count) => self.prepare(count, observe).await?,
                Request::Infer => drop(self.infer(&[], observe).await?),
                Request::Bye => return self.close().await,
            }
        }
    }

    /// Ends the session in good order: the client says what it has seen of the conversation, and
    /// the server compares.
    ///
    /// # Errors
    /// The server's: [`Error::Altered`] where the client has seen something else, and where the
    /// client is lost before it has said so. The client has its results by then, and confirmed.
    pub async fn close(mut self) -> Result<Report, Error> {
        match self.compare().await {
            Ok(measured) => self.report.setup += measured,
            // Nothing depends on it any more at the client.
            Err(Error::PeerLost { .. }) if self.session.role() == Role::Client => {}
            Err(error) => return told(&mut self.session, Err(error)).await,
        }
        self.session.channel.finish().await;
        Ok(self.so_far())
    }

    async fn compare(&mut self) -> Result<Measured, Error> {
        let cost = Plan::end_cost();
        budget::enter(&mut self.session, 20, END, (cost, 0.0));
        let ((), measured) =
            report::timed(&mut self.session, END, cost, async |session| match session.role() {
                Role::Client => session.channel.send_statement(),
                Role::Server => session.channel.check_statement().await,
            })
            .await?;
        Ok(measured)
    }
}

/// The step that ends a session.
const END: &str = "end";

/// Tells the peer of an error that is its business; the conversation is over then.
async fn told<T>(session: &mut Session, outcome: Result<T, Error>) -> Result<T, Error> {
    if let Some(error) = outcome.as_ref().err().filter(|error| Reason::of(error).is_some()) {
        session.channel.farewell(error).await;
    }
    outcome
}

/// Local steps number the elements of a wire, over the whole batch, with 32 bits.
fn check_batch(plan: &Plan, images: usize) -> Result<(), Error> {
    let largest = plan.wires.iter().map(|wire| wire.elements()).max().unwrap_or(1).max(1);
    let most = u32::MAX as usize / largest;
    if (1..=most).contains(&images) {
        return Ok(());
    }
    Err(Error::invalid("batch", format!("1 to {most} images"), images))
}

fn check_input(plan: &Plan, input: &[i64], images: usize) -> Result<(), Error> {
    let wire = plan.input_wire();
    let expected = wire.elements() * images;
    if input.len() != expected {
        return Err(Error::invalid("input", format!("{expected} elements"), input.len()));
    }
    let (low, high) = wire.range();
    match input.iter().find(|v| !(low..=high).contains(*v)) {
        Some(_) => {
            Err(Error::invalid("input", format!("values within {low}..={high}"), "a value outside"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server gives its sessions to threads: that compiles is the test.
    #[test]
    fn a_session_may_move_between_threads() {
        fn sent<T: Send>(_: impl FnOnce() -> T) {}
        fn never<T>() -> T {
            unreachable!("never called")
        }
        sent(never::<PartySession>);
        sent(|| execute(never(), never(), never(), never(), never()));
    }
}
