//! Numbers that do not fit are errors, and a query has one clock.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use sheaf_archive::{Format, QueryError, QueryOptions};

use super::answers::archived;
use crate::support::query::{ask, bytes, rows};

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_does_not_fit_is_an_error() {
    let (world, _) = archived("overflow", 5).await;
    let failing = [
        "select 9223372036854775807 + 1",
        "select -9223372036854775808 - 1",
        "select 9223372036854775807 * 2",
        "select 10000000000 * 10000000000",
        "select -(-9223372036854775808)",
        "select abs(-9223372036854775808)",
        "select (-9223372036854775808) / -1",
        "select cast(2147483647 as int) + cast(1 as int)",
        "select cast(32767 as smallint) * cast(2 as smallint)",
        "select cast(-128 as tinyint) - cast(1 as tinyint)",
        "select -cast(-2147483648 as int)",
        "select cast(2147483648 as int)",
        "select cast(300 as tinyint)",
        "select cast(-1 as bigint unsigned)",
        "select cast(12345.678 as decimal(5, 2))",
        "select cast('9223372036854775808' as bigint)",
        "select 9223372036854775807 + version from invoices",
        "select version * 9223372036854775807 * 2 from invoices",
        "select id from invoices where version + 9223372036854775807 > 0",
        "select sum(x) from (values (9223372036854775807), (1)) v(x)",
        "select sum(distinct x) from (values (-9223372036854775808), (-1), (-1)) v(x)",
        "select sum(version + 9223372036854775806 - version) from invoices",
        "select year, sum(x) from (select year, 9223372036854775807 - version as x from invoices) \
        q group by 1",
        "select sum(x) over () from (values (9223372036854775807), (1)) v(x)",
        "select sum(x) over (order by x) from (values (9223372036854775806), \
        (9223372036854775807)) v(x)",
        "select sum(x) over (order by x rows between 1 preceding and current row) \
         from (values (9223372036854775806), (9223372036854775807)) v(x)",
        "select sum(cast(x as decimal(38, 0))) from (values \
         (99999999999999999999999999999999999999), (99999999999999999999999999999999999999)) v(x)",
        "select 99999999999999999999999999999999999999 + 99999999999999999999999999999999999999",
        "select 99999999999999999999999999999999999999 + 1",
        "select cast(99999999999999999999999999999999999999 as decimal(38, 0)) * 10",
        "select factorial(30)",
        "select lcm(9223372036854775807, 2)",
        "select gcd(-9223372036854775808, -9223372036854775808)",
        "select to_timestamp_seconds(9223372036854775807)",
        "select array_position([1], 1, -9223372036854775808)",
        "select 1 << 64",
        "select 1 << 63",
        "select 3 << 62",
        "select 1 << -1",
        "select -1 << 64",
        "select 1 >> 64",
        "select 1 >> -1",
        "select cast(1 as int) << cast(31 as int)",
        "select cast(255 as tinyint unsigned) << cast(1 as tinyint unsigned)",
        "select version << 64 from invoices",
        "select 1 << (version + 63) from invoices",
        "select id from invoices where version >> 64 = 1",
        "select cast(power(10, 300) as bigint)",
        "select cast(power(10, 300) as decimal(38, 0))",
        "select cast(cast('nan' as double) as bigint)",
        "select cast(cast('-inf' as double) as int)",
        "select date '2020-01-01' + interval '999999' year",
        "select date '2020-01-01' - interval '999999' year",
        "select abs(cast(-128 as tinyint))",
        "select abs(cast(-2147483648 as int))",
    ];
    for sql in failing {
        let told = ask(&world.archive, world.tenant, sql, QueryOptions::default()).await;
        let error = told.expect_err(sql);
        assert_eq!(error.code(), "query_failed", "{sql}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_fits_is_the_one_it_ought_to_be() {
    let (world, documents) = archived("fits", 5).await;
    let versions = documents.len().to_string();
    for (sql, want) in [
        ("select 9223372036854775806 + 1", "9223372036854775807"),
        ("select -9223372036854775807 - 1", "-9223372036854775808"),
        ("select -(9223372036854775807)", "-9223372036854775807"),
        ("select 3 - 5", "-2"),
        ("select 1 << 62", "4611686018427387904"),
        ("select -1 << 63", "-9223372036854775808"),
        (
            "select cast(1 as bigint unsigned) << cast(63 as bigint unsigned)",
            "9223372036854775808",
        ),
        ("select 5 >> 1", "2"),
        ("select -5 >> 1", "-3"),
        ("select -9223372036854775808 >> 63", "-1"),
        ("select max(version << 4) from invoices", "16"),
        ("select max(32 >> version) from invoices", "16"),
        ("select max(null << version) from invoices", "null"),
        ("select -9223372036854775808 % -1", "0"),
        (
            "select cast(2147483647 as int) + cast(1 as bigint)",
            "2147483648",
        ),
        (
            "select sum(x) from (values (9223372036854775807), (1), (-1)) v(x)",
            "9223372036854775807",
        ),
        ("select sum(version) from invoices", versions.as_str()),
        (
            "select sum(version) filter (where version > 5) from invoices",
            "null",
        ),
        (
            "select max(s) from (select sum(version) over () as s from invoices) q",
            versions.as_str(),
        ),
        (
            "select count(*) from invoices where version + 1 = 2",
            versions.as_str(),
        ),
        (
            "select max(n) from (select a.version + (select sum(b.version) from invoices b where \
            b.id = a.id) as n from invoices a) q",
            "2",
        ),
        (
            "select sum(cast(x as decimal(38, 0))) from (values (1), (2)) v(x)",
            "3",
        ),
        ("select 1.5 * 2.25", "3.375"),
        ("select avg(x) from (values (1.0), (2.0)) v(x)", "1.50000"),
        (
            "select sum(x) from (values (interval '1 day'), (interval '2 days')) v(x)",
            "3 days",
        ),
    ] {
        let answer = ask(&world.archive, world.tenant, sql, QueryOptions::default()).await;
        let answer = answer.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(rows(&answer), [[want]], "{sql}");
    }
    // Columns are called as they always were, and have their types.
    let sql = "select year + 1, sum(version), sum(version) over (partition by year), -year, \
        sum(version + 1) \
               from invoices group by year, version";
    let answer = ask(&world.archive, world.tenant, sql, QueryOptions::default()).await;
    let columns = answer.unwrap()["columns"].clone();
    let told: Vec<_> = columns
        .as_array()
        .unwrap()
        .iter()
        .map(|column| {
            (
                column["name"].as_str().unwrap(),
                column["type"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("invoices.year + Int64(1)", "Int64"),
            ("sum(invoices.version)", "Int64"),
            (
                "sum(invoices.version) PARTITION BY [invoices.year] ROWS BETWEEN UNBOUNDED \
                PRECEDING AND UNBOUNDED FOLLOWING",
                "Int64"
            ),
            ("(- invoices.year)", "Int32"),
            ("sum(invoices.version + Int64(1))", "Int64"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_has_one_clock() {
    let (world, documents) = archived("clock", 20).await;
    let before = Utc::now();
    let sql = "select now(), current_timestamp, current_date, today(), current_time, \
               now() = current_timestamp, current_date = today(), count(distinct now()), \
               count(*) filter (where created_at <= now()), \
               count(*) filter (where issue_date < current_date - interval '1 month'), \
               min(now() - interval '1 day' < now()) from lines join invoices on id = invoice_id"
        .replace(
            "from lines join invoices on id = invoice_id",
            "from invoices",
        );
    let answer = ask(&world.archive, world.tenant, &sql, QueryOptions::default()).await;
    let answer = answer.unwrap_or_else(|e| panic!("{e:?}"));
    let row = rows(&answer).remove(0);
    let moment = |text: &str| -> DateTime<Utc> {
        let text = text.trim_end_matches('Z');
        let parsed = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
        parsed.unwrap_or_else(|e| panic!("{text}: {e}")).and_utc()
    };
    for text in [&row[0], &row[1]] {
        let told = moment(text);
        assert!(told >= before && told <= Utc::now(), "{told} {before}");
    }
    for text in [&row[2], &row[3]] {
        let told: NaiveDate = text.parse().unwrap();
        assert!(told >= before.date_naive() && told <= Utc::now().date_naive());
    }
    assert_eq!(row[5..8], ["true", "true", "1"]);
    let count = documents.len().to_string();
    assert_eq!(row[8..], [count.as_str(), count.as_str(), "true"]);
    // It goes on from one query to the next.
    let asked = async || {
        let sql = "select now()";
        let answer = ask(&world.archive, world.tenant, sql, QueryOptions::default()).await;
        moment(&rows(&answer.unwrap())[0][0])
    };
    assert!(asked().await < asked().await);
}

/// Values at the edge of what the engine can think of, and beyond: from its bug reports.
const ODD: &[&str] = &[
    "select lag(version, -9223372036854775808) over (order by id) from invoices",
    "select lead(version, 9223372036854775807) over (order by id) from invoices",
    "select nth_value(version, -9223372036854775808) over (order by id) from invoices",
    "select nth_value(version, -9223372036854775808 order by id) from invoices",
    "select nth_value(version, 0 order by id) from invoices",
    "select ntile(9223372036854775807) over (order by id) from invoices",
    "select ntile(-1) over (order by id) from invoices",
    "select sum(version) over (order by id rows between 18446744073709551615 preceding and current \
    row) from invoices",
    "select sum(version) over (order by id rows between 18446744073709551615 following and \
     18446744073709551615 following) from invoices",
    "select sum(version) over (order by issue_date range between interval '9999999' year preceding \
    and current row) \
     from invoices",
    "select date '2020-01-01' + interval '999999' year",
    "select created_at + interval '999999' year from invoices",
    "select cast(date '9999-12-31' as timestamp)",
    "select date_bin('1637426858', to_timestamp_millis(1040292460), timestamp '1984-01-07 \
    00:00:00')",
    "select date_bin(interval '0 second', created_at) from invoices",
    "select sum(version) from invoices group by grouping sets (())",
    "select min(1, 2)",
    "select ('0.54321543215432154321543215432154321'::decimal(35, 35) + 10000)::varchar",
    "select id from invoices limit 9223372036854775807 offset 9223372036854775807",
    "select id from invoices limit 18446744073709551615",
    "select id from (select id from invoices limit 9223372036854775807 offset 5) q \
     limit 9223372036854775807 offset 9223372036854775807",
    "select approx_percentile_cont(0.5, 1000000000000) within group (order by version) from \
    invoices",
    "select approx_percentile_cont(version, 0.5, 100000 * 100000) from invoices",
    "select approx_percentile_cont_with_weight(version, version, 0.5, 1000000000000) from invoices",
    "select percentile_cont(-1) within group (order by version) from invoices",
    "select array_position([1], 1, -9223372036854775808)",
    "select array_slice([1, 2, 3], -9223372036854775808, 9223372036854775807, 9223372036854775807)",
    "select [1, 2, 3][-9223372036854775808]",
    "select to_timestamp_seconds(9223372036854775807)",
    "select [to_timestamp_seconds(9223372036854775807)]",
    "select interval '99999999999999999999 years'",
    "select interval '9223372036854775807 nanoseconds' + interval '1 nanosecond'",
    "select chr(9223372036854775807)",
    "select substr('abc', -9223372036854775808, 9223372036854775807)",
    "select split_part('a,b', ',', -9223372036854775808)",
    "select overlay('abc' placing 'x' from -9223372036854775808 for 9223372036854775807)",
    "select 1.0 / 0",
    "select 5 % 0",
    "select cast('nan' as double), cast('inf' as double)",
    "select cast(1 as decimal(5, -5))",
    "select now() - timestamp '0001-01-01'",
    "select id from invoices where 1 / (version - 1) > 0",
];

#[tokio::test(flavor = "multi_thread")]
async fn odd_values_are_the_querys_fault() {
    let (world, _) = archived("odd", 3).await;
    for sql in ODD {
        let told = loop {
            let told = ask(&world.archive, world.tenant, sql, QueryOptions::default()).await;
            // On a busy machine the threads of the query before may still be ending.
            if !matches!(told, Err(QueryError::TooManyQueries { .. })) {
                break told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        match told {
            // No error stands where a value ought to be.
            Ok(answer) => assert!(!answer.to_string().contains("ERROR"), "{sql}: {answer}"),
            Err(error) => assert!(
                matches!(error.code().as_str(), "query_failed" | "invalid_sql"),
                "{sql}: {error:?}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_float_that_is_no_number_is_told_as_such() {
    let (world, _) = archived("floats", 3).await;
    let sql = "select cast('nan' as double) as a, cast('inf' as double) as b, cast('-inf' as \
        double) as c, \
               cast('nan' as float) as d, power(10, 400) as e, [cast('nan' as double), cast(2.5 as \
               double)] as f, \
               cast(0.1 as double) as g, cast(1 as double) as h, cast(null as double) as i";
    let told = async |format| {
        let options = QueryOptions::default();
        let told = bytes(&world.archive, world.tenant, sql, options, format).await;
        String::from_utf8(told.unwrap()).unwrap()
    };
    let answer: Value = serde_json::from_str(&told(Format::Json).await).unwrap();
    assert_eq!(
        answer["rows"],
        json!([[
            "NaN",
            "Infinity",
            "-Infinity",
            "NaN",
            "Infinity",
            ["NaN", 2.5],
            0.1,
            1.0,
            null
        ]])
    );
    assert_eq!(
        told(Format::Csv).await,
        "a,b,c,d,e,f,g,h,i\r\nNaN,inf,-inf,NaN,inf,\"[\"\"NaN\"\",2.5]\",0.1,1.0,\r\n"
    );
}
