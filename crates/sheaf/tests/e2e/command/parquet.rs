//! The archive through somebody else's eyes: pyarrow reads the objects as they lie.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::api::sums;

const SCRIPT: &str = r#"
import decimal, glob, json, sys
import pyarrow.dataset as ds, pyarrow.types as pt
root = glob.glob(sys.argv[1] + "/**/v1/invoices", recursive=True)[0]
table = ds.dataset(root, format="parquet", partitioning="hive").to_table()
rows = table.to_pylist()
def total(rows): return str(sum((row["total"] for row in rows), decimal.Decimal(0)))
line = table.schema.field("lines").type.value_type
payment = table.schema.field("payments").type.value_type
sums = ("subtotal", "discount_total", "tax_total", "total", "amount_paid", "amount_due")
amounts = [table.schema.field(n).type for n in sums]
of_line = ("quantity", "unit_price", "discount", "tax_rate", "net", "tax")
amounts += [line.field(n).type for n in of_line]
amounts += [payment.field("amount").type]
print(json.dumps({
    "rows": len(rows),
    "decimals": all(pt.is_decimal(t) for t in amounts),
    "invoices": total(r for r in rows if r["kind"] == "invoice"),
    "credit_notes": total(r for r in rows if r["kind"] == "credit_note"),
    "lines": sum(len(r["lines"]) for r in rows),
    "payments": str(sum((p["amount"] for r in rows for p in r["payments"]), decimal.Decimal(0))),
    "tenants": len({r["tenant_id"] for r in rows}),
    "years": sorted({int(r["year"]) for r in rows}),
    "events": all(len(json.loads(r["events"])) > 0 for r in rows),
    "metadata": all(isinstance(json.loads(r["metadata"]), dict) for r in rows),
}))
"#;

/// Compares what pyarrow finds below `s3` with the documents that the API served. Skipped, with a
/// line that says so, where Python or pyarrow cannot be had.
pub fn assert_readable(s3: &Path, documents: &[Value]) {
    let Some(python) = python("pyarrow", "pyarrow.dataset") else {
        println!("SKIPPED: no Python with pyarrow, and none could be installed");
        return;
    };
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(s3)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();

    let expected = sums(documents);
    let decimal = |name: &str| {
        found[name]
            .as_str()
            .unwrap()
            .parse::<rust_decimal::Decimal>()
            .unwrap()
    };
    assert_eq!(found["rows"], documents.len(), "{found}");
    assert_eq!(found["decimals"], true, "{found}");
    assert_eq!(
        (decimal("invoices"), decimal("credit_notes")),
        (expected.invoices, expected.credit_notes)
    );
    assert_eq!(
        decimal("payments"),
        expected.invoices,
        "each settled invoice is paid in full: {found}"
    );
    let lines: usize = documents
        .iter()
        .map(|document| document["lines"].as_array().unwrap().len())
        .sum();
    assert_eq!(found["lines"], lines, "{found}");
    let tenants: std::collections::HashSet<_> = documents
        .iter()
        .map(|document| document["tenant_id"].as_str().unwrap())
        .collect();
    assert_eq!(found["tenants"], tenants.len(), "{found}");
    assert_eq!(
        (&found["events"], &found["metadata"]),
        (&true.into(), &true.into()),
        "{found}"
    );
    println!("pyarrow: {found}");
}

/// A Python that has a package with a module: the system's, or one that is set up once below
/// target/.
pub fn python(package: &str, module: &str) -> Option<PathBuf> {
    let has_it = |python: &Path| {
        Command::new(python)
            .args(["-c", &format!("import {module}")])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let system = PathBuf::from("python3");
    if has_it(&system) {
        return Some(system);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{package}-venv"));
    // Two tests may come here at once.
    let lock = std::fs::File::create(venv.with_extension("lock")).ok()?;
    lock.lock().ok()?;
    let python = venv.join("bin/python");
    if !has_it(&python) {
        Command::new(&system)
            .args(["-m", "venv"])
            .arg(&venv)
            .output()
            .ok()?;
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", package])
            .output()
            .ok()?;
    }
    has_it(&python).then_some(python)
}
