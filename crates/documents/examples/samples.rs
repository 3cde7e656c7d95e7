//! Writes the sample invoices as PDF and UBL, to look at and to validate: `samples DIRECTORY
//! [LINES]`. With LINES, only times one PDF of that many lines.
#![allow(clippy::print_stdout, missing_docs)]

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    if let Some(lines) = arguments.next() {
        let (invoice, profile) = (samples::long(lines.parse()?), samples::seller("en"));
        let start = Instant::now();
        let pdf = sheaf_documents::pdf(&invoice, &profile, None)?;
        println!("{lines} lines: {:?}, {} bytes", start.elapsed(), pdf.len());
        fs::write(directory.join(format!("lines_{lines}.pdf")), pdf)?;
        return Ok(());
    }
    let credited = samples::corrected();
    for (name, invoice, profile) in samples::all() {
        let corrected = (name == "credit_note").then_some(&credited);
        let start = Instant::now();
        let pdf = sheaf_documents::pdf(&invoice, &profile, corrected)?;
        let took = start.elapsed();
        let again = Instant::now();
        sheaf_documents::pdf(&invoice, &profile, corrected)?;
        println!(
            "{name}: {took:?}, again {:?}, {} bytes",
            again.elapsed(),
            pdf.len()
        );
        fs::write(directory.join(format!("{name}.pdf")), pdf)?;
        match sheaf_documents::ubl(&invoice, &profile, corrected) {
            Ok(xml) => fs::write(directory.join(format!("{name}.xml")), xml)?,
            Err(error) => println!("  no e-invoice: {error}"),
        }
    }
    Ok(())
}
