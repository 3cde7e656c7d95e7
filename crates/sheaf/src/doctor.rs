//! `sheaf doctor`: looks at everything that the settings name, and says what is wrong and what to
//! do. Each question has a bound in time; nothing is changed, but for objects of its own in the
//! bucket, which it deletes again.

use std::process::ExitCode;

use crate::cli::{DoctorArgs, Output};
use crate::error::Result;
use crate::terminal::bar::Waiting;

mod database;
mod machine;
mod node;
mod report;
mod storage;

pub(crate) use node::{CLOCK_FAIL, CLOCK_WARN};
use report::{Report, Status};

/// Looks, prints, and fails when something does.
pub(crate) async fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let json = args.json || args.output == Some(Output::Json);
    let (settings, patience) = (&args.settings, args.timeout);
    let mut report = Report::default();
    let waiting = Waiting::new("looking at this machine");
    Box::pin(machine::look(settings, patience, &mut report)).await;
    tell(&mut report, json, waiting)?;
    let waiting = Waiting::new("asking PostgreSQL");
    Box::pin(database::look(settings, patience, &mut report)).await;
    tell(&mut report, json, waiting)?;
    let waiting = Waiting::new("trying S3");
    Box::pin(storage::look(settings, patience, &mut report)).await;
    tell(&mut report, json, waiting)?;
    match json {
        true => report.print_json()?,
        false => report.print_sum()?,
    }
    Ok(match report.count(Status::Fail) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn tell(report: &mut Report, json: bool, waiting: Waiting) -> Result<()> {
    drop(waiting);
    match json {
        true => Ok(()),
        false => report.print_news(),
    }
}
