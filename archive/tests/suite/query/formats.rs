//! The formats of answers: JSON, CSV and Arrow hold the same rows.

use serde_json::Value;
use sheaf_archive::{Format, QueryOptions};

use super::answers::archived;
use crate::support::query::{bytes, stat};

#[tokio::test(flavor = "multi_thread")]
async fn the_three_formats_say_the_same() {
    let (world, documents) = archived("formats", 4).await;
    let sql = "select number, total, issue_date, description, array_agg(net) as nets from lines
               join invoices using (number, issue_date) group by all order by 1, 2, 3, 4";
    let options = QueryOptions::default();
    let ask_in = async |format| {
        bytes(&world.archive, world.tenant, sql, options, format)
            .await
            .unwrap()
    };
    let json: Value = serde_json::from_slice(&ask_in(Format::Json).await).unwrap();
    let names: Vec<&str> = json["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["number", "total", "issue_date", "description", "nets"]
    );
    let count = json["rows"].as_array().unwrap().len();
    assert!(count > documents.len() / 2);
    assert_eq!(stat(&json, "rows"), count as u64);
    assert!(json["as_of"].is_string() && json["tier"] == "cold");

    let csv = String::from_utf8(ask_in(Format::Csv).await).unwrap();
    assert!(csv.starts_with("number,total,issue_date,description,nets\r\n"));
    assert_eq!(csv.matches('\n').count(), csv.matches("\r\n").count());
    assert_eq!(csv.lines().count(), count + 1);
    let first = &json["rows"][0];
    let line = csv.lines().nth(1).unwrap();
    let quoted = first[4].to_string().replace('"', "\"\"");
    let want = format!(
        "{},{},{},{},\"{quoted}\"",
        first[0].as_str().unwrap(),
        first[1].as_str().unwrap(),
        first[2].as_str().unwrap(),
        first[3].as_str().unwrap(),
    );
    assert_eq!(line, want);

    let arrow = ask_in(Format::Arrow).await;
    let reader = arrow::ipc::reader::StreamReader::try_new(arrow.as_slice(), None).unwrap();
    let types: Vec<_> = reader
        .schema()
        .fields()
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    assert_eq!(types[..3], ["LargeUtf8", "Decimal128(18, 4)", "Date32"]);
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, count);
}
