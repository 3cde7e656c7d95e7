//! `sheaf`: the binary.

mod archive;
mod bar;
mod cli;
mod client;
mod cluster;
mod config;
#[cfg(feature = "local")]
mod demo;
mod doctor;
#[cfg(feature = "local")]
mod envfile;
mod error;
mod export;
mod ingest;
mod log;
mod migrate;
mod output;
mod pages;
mod pause;
mod query;
mod serve;
mod settings;
mod signals;
mod table;
mod tenant;
mod tier;
mod traces;
mod units;
#[cfg(feature = "local")]
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::cli::{ArchiveCommand, Cli, Command, TenantCommand, TierCommand};
use crate::config::Config;
use crate::error::{Doing, Result};

/// Arguments or settings that make no sense: clap's own code for it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (command, arguments) = (Cli::command(), std::env::args_os().collect::<Vec<_>>());
    let config = match Config::of(&command, &arguments) {
        Ok(config) => config,
        Err(error) => {
            output::note(&error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    let cli = Cli::parse_from(config.complete(&command, arguments));
    match start(cli, &config) {
        Ok(code) => code,
        Err(error) => {
            output::note(&error.to_string());
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
    traces::end();
    code
}

async fn run(command: Command, config: &Config) -> Result<ExitCode> {
    let filter = config.get("SHEAF_LOG");
    match &command {
        Command::Serve(settings) => log::start(&settings.log, settings.log_format)?,
        #[cfg(feature = "local")]
        Command::Up(_) => log::start_or(filter, up::LOG)?,
        _ => log::start_or(filter, log::QUIET)?,
    }
    let done = |()| ExitCode::SUCCESS;
    match command {
        #[cfg(feature = "local")]
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
        Command::Doctor(args) => Box::pin(doctor::run(&args)).await,
        Command::Completions(args) => pages::completions(&args).map(done),
        Command::Man(args) => pages::man(&args).map(done),
    }
}
