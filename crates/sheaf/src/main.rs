//! `sheaf`: the binary.

mod operate;
mod terminal;

mod cli;
mod client;
mod doctor;
mod error;
mod serve;
mod settings;
#[cfg(feature = "local")]
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::cli::{ArchiveCommand, Cli, Command, TenantCommand, TierCommand};
use crate::error::{Doing, Result};
use crate::settings::config::Config;

/// Arguments or settings that make no sense: clap's own code for it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (command, arguments) = (Cli::command(), std::env::args_os().collect::<Vec<_>>());
    let config = match Config::of(&command, &arguments) {
        Ok(config) => config,
        Err(error) => {
            terminal::output::note(&error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    let cli = Cli::parse_from(config.complete(&command, arguments));
    match start(cli, &config) {
        Ok(code) => code,
        Err(error) => {
            terminal::output::note(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli, config: &Config) -> Result<ExitCode> {
    // Fails only where a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .doing(|| "start the runtime".to_owned())?;
    let code = runtime.block_on(Box::pin(run(cli.command, config)));
    // A blocked read of stdin must not hold up the exit.
    runtime.shutdown_background();
    serve::traces::end();
    code
}

async fn run(command: Command, config: &Config) -> Result<ExitCode> {
    let filter = config.get("SHEAF_LOG");
    match &command {
        Command::Serve(settings) => terminal::log::start(&settings.log, settings.log_format)?,
        #[cfg(feature = "local")]
        Command::Up(_) => terminal::log::start_or(filter, up::LOG)?,
        _ => terminal::log::start_or(filter, terminal::log::QUIET)?,
    }
    let done = |()| ExitCode::SUCCESS;
    match command {
        #[cfg(feature = "local")]
        Command::Up(args) => Box::pin(up::run(&args)).await.map(done),
        Command::Serve(settings) => Box::pin(serve::run(&settings)).await.map(done),
        Command::Migrate(args) => Box::pin(operate::migrate::run(&args)).await.map(done),
        Command::Tenant(TenantCommand::Create(args)) => {
            Box::pin(client::tenant::create(&args)).await.map(done)
        }
        Command::Ingest(args) => Box::pin(client::ingest::run(&args)).await,
        Command::Tier(TierCommand::Run(args)) => Box::pin(operate::tier::run(&args)).await,
        Command::Archive(ArchiveCommand::Ls(args)) => Box::pin(operate::archive::ls(&args)).await,
        Command::Archive(ArchiveCommand::Verify(args)) => {
            Box::pin(operate::archive::verify(&args)).await
        }
        Command::Archive(ArchiveCommand::Compact(args)) => {
            Box::pin(operate::archive::compact(&args)).await
        }
        Command::Archive(ArchiveCommand::Erase(args)) => {
            Box::pin(operate::archive::erase(&args)).await
        }
        Command::Archive(ArchiveCommand::Gc(args)) => Box::pin(operate::archive::gc(&args)).await,
        Command::Archive(ArchiveCommand::Query(args)) => {
            Box::pin(client::query::run(&args)).await.map(done)
        }
        Command::Archive(ArchiveCommand::Export(args)) => {
            Box::pin(client::export::run(&args)).await.map(done)
        }
        Command::Numbers(args) => Box::pin(operate::archive::numbers(&args)).await,
        Command::Cluster(command) => Box::pin(operate::cluster::run(command)).await,
        Command::Doctor(args) => Box::pin(doctor::run(&args)).await,
        Command::Completions(args) => cli::pages::completions(&args).map(done),
        Command::Man(args) => cli::pages::man(&args).map(done),
    }
}
