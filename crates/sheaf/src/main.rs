//! `sheaf`: the binary.

mod archive;
mod bar;
mod cli;
mod client;
mod cluster;
mod demo;
mod envfile;
mod error;
mod export;
mod ingest;
mod log;
mod migrate;
mod output;
mod pause;
mod query;
mod serve;
mod settings;
mod signals;
mod tenant;
mod tier;
mod traces;
mod units;
mod up;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{ArchiveCommand, Cli, Command, TenantCommand, TierCommand};
use crate::error::{Doing, Result};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            output::note(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode> {
    // Fails only where a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .doing(|| "start the runtime".to_owned())?;
    let code = runtime.block_on(Box::pin(run(cli.command)));
    // A blocked read of stdin must not hold up the exit.
    runtime.shutdown_background();
    traces::end();
    code
}

async fn run(command: Command) -> Result<ExitCode> {
    match &command {
        Command::Serve(settings) => log::start(&settings.log, settings.log_format)?,
        Command::Up(_) => log::start_or(up::LOG)?,
        _ => log::start_or(log::QUIET)?,
    }
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Up(args) => Box::pin(up::run(&args)).await.map(done),
        Command::Serve(settings) => Box::pin(serve::run(&settings)).await.map(done),
        Command::Migrate(args) => Box::pin(migrate::run(&args)).await.map(done),
        Command::Tenant(TenantCommand::Create(args)) => {
            Box::pin(tenant::create(&args)).await.map(done)
        }
        Command::Ingest(args) => Box::pin(ingest::run(&args)).await,
        Command::Tier(TierCommand::Run(args)) => Box::pin(tier::run(&args)).await,
        Command::Archive(ArchiveCommand::Ls(args)) => Box::pin(archive::ls(&args)).await,
        Command::Archive(ArchiveCommand::Verify(args)) => Box::pin(archive::verify(&args)).await,
        Command::Archive(ArchiveCommand::Compact(args)) => Box::pin(archive::compact(&args)).await,
        Command::Archive(ArchiveCommand::Erase(args)) => Box::pin(archive::erase(&args)).await,
        Command::Archive(ArchiveCommand::Gc(args)) => Box::pin(archive::gc(&args)).await,
        Command::Archive(ArchiveCommand::Query(args)) => {
            Box::pin(query::run(&args)).await.map(done)
        }
        Command::Archive(ArchiveCommand::Export(args)) => {
            Box::pin(export::run(&args)).await.map(done)
        }
        Command::Numbers(args) => Box::pin(archive::numbers(&args)).await,
        Command::Cluster(command) => Box::pin(cluster::run(command)).await,
    }
}
