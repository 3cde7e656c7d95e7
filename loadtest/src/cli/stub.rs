//! `stub`.

use std::time::Duration;

use clap::Args;
use sheaf_loadtest::load::stub;
use sheaf_loadtest::load::stub::{Behaviour, Stall};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::{Failure, seconds};

#[derive(Args)]
pub(crate) struct StubArguments {
    /// The port on the loopback address.
    #[arg(long, default_value_t = 9311)]
    port: u16,
    /// Every answer takes this long.
    #[arg(long, value_parser = seconds)]
    delay: Option<Duration>,
    /// At the start of every period nothing is answered for this long.
    #[arg(long, value_parser = seconds, requires = "every")]
    stall: Option<Duration>,
    /// The period of stalls.
    #[arg(long, value_parser = seconds)]
    every: Option<Duration>,
    /// Each n-th request is refused with 503; 0: none.
    #[arg(long, default_value_t = 0)]
    refuse_every: u64,
    /// Requests worked on at one time; the others wait. 0: all. With a delay, capacity is this
    /// divided by it.
    #[arg(long, default_value_t = 0)]
    parallel: usize,
}

pub(crate) fn serve(arguments: &StubArguments) -> Result<(), Failure> {
    let behaviour = Behaviour {
        delay: arguments.delay.unwrap_or_default(),
        stall: arguments
            .stall
            .zip(arguments.every)
            .map(|(lasting, every)| Stall { every, lasting }),
        refuse_every: arguments.refuse_every,
        parallel: arguments.parallel,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
        eprintln!("sheaf-loadtest stub: http://{}", listener.local_addr()?);
        Ok(stub::serve(listener, behaviour).await?)
    })
}
