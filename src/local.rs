//! Both parties in one process, each on a thread of its own, over a loopback connection.

use std::sync::Arc;
use std::thread::{self, Builder};

use protocols::execute::{Observe, Report};
use protocols::plan::{Hints, Load};
use protocols::{Error as ProtocolError, Limits};
use tokio::runtime::Handle;

use crate::party::Introduction;
use crate::server::serve;
use crate::{Client, ClientOptions, Error, Images, Inference, Network, ServerOptions, transport};

/// How both parties run in one process.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// The images of an inference, how many inferences are prepared and run, and whether the client
    /// knows the hints that the plan names.
    pub load: Load,
    /// How long a party waits for the other.
    pub limits: Limits,
}

impl Default for LocalOptions {
    /// One inference of one image.
    fn default() -> Self {
        Self { load: Load::one(1), limits: Limits::default() }
    }
}

impl Network {
    /// Runs both parties in this process, over a loopback connection. All images are one inference.
    ///
    /// # Errors
    /// The images are not the network's, or the system refuses sockets or threads.
    pub fn infer_locally(&self, images: &Images) -> Result<Inference, Error> {
        let input = self.plan().encode(&images.tensor()?.data)?;
        let options = LocalOptions { load: Load::one(images.len()), ..LocalOptions::default() };
        let (found, report) = self.run_locally(&input, &options, &mut |_| ())?;
        Ok(Inference { answers: self.plan().decode(&found, images.len()), report })
    }

    /// Runs both parties in this process, as [`Network::infer_locally`] does, on integers that
    /// [`Plan::encode`](crate::Plan::encode) has made, one inference after the other; `observe`
    /// hears of the client's progress. The result is the client's: see
    /// [`Plan::decode`](crate::Plan::decode).
    ///
    /// # Errors
    /// The input does not fit the load, or the system refuses sockets or threads; where the plan
    /// names hints, those of [`Network::hints`].
    pub fn run_locally(
        &self,
        input: &[i64],
        options: &LocalOptions,
        observe: &mut Observe<'_>,
    ) -> Result<(Vec<i64>, Report), Error> {
        if Handle::try_current().is_err() {
            return run(self, input, options, observe);
        }
        // A thread that drives tasks must not wait for others: one of its own does.
        thread::scope(|scope| {
            let apart = Builder::new()
                .spawn_scoped(scope, move || run(self, input, options, observe))
                .map_err(|source| Error::System { what: "a thread for the client", source })?;
            apart.join().map_err(|_| Error::Internal("the client's thread ended in a panic"))?
        })
    }
}

fn run(
    network: &Network,
    input: &[i64],
    options: &LocalOptions,
    observe: &mut Observe<'_>,
) -> Result<(Vec<i64>, Report), Error> {
    let (plan, holdings) = (Arc::clone(network.plan()), network.holdings()?);
    let (load, limits) = (options.load, options.limits);
    let known = network.hints()?.filter(|_| load.hints == Hints::Known);
    let hints = known.map(|hints| Arc::clone(hints.public()));
    let runtime = transport::runtime()?;
    let (server_stream, client_stream) = runtime.block_on(transport::loopback())?;
    let granted = ServerOptions {
        images: load.at_a_time(),
        memory: u64::MAX,
        limits,
        ..ServerOptions::default()
    };
    let server = Introduction::of_server(Arc::clone(&plan), holdings, &granted);
    let asked = ClientOptions { load, hints, limits, ..ClientOptions::default() };
    let (served, received) = thread::scope(|scope| -> Result<_, Error> {
        let handle = runtime.handle();
        let serving = async { serve(server.meet(server_stream).await?, &mut |_| ()).await };
        let serving = Builder::new().spawn_scoped(scope, || handle.block_on(serving));
        let serving =
            serving.map_err(|source| Error::System { what: "a thread for the server", source })?;
        let asking =
            async { Client::over(client_stream, plan, &asked).await?.run(input, observe).await };
        let received = handle.block_on(asking);
        Ok((serving.join(), received))
    })?;
    let served = served.map_err(|_| Error::Internal("the server's thread ended in a panic"))?;
    match (served, received) {
        (Ok(_), Ok(received)) => Ok(received),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        // The party whose peer was lost is not the one at fault.
        (Err(Error::Protocol(ProtocolError::PeerLost { .. })), Err(client)) => Err(client),
        (Err(server), Err(_)) => Err(server),
    }
}
