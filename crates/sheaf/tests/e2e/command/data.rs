//! What is ingested: the real data where it is at hand, else generated invoices of the same shape.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rust_decimal::Decimal;

use crate::api::Sums;

const REAL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/data/online-retail.ndjson.gz"
);

/// An NDJSON file for the platform's bulk endpoint, and what is known about it.
pub struct Data {
    pub gzip: PathBuf,
    pub text: String,
    pub tenants: usize,
    pub invoices: u64,
    /// Those that tiering moves.
    pub settled: u64,
    pub sums: Sums,
}

impl Data {
    /// The real data, or the generated stand-in, which is written into `dir`.
    pub fn find(dir: &Path) -> Self {
        if Path::new(REAL).is_file() {
            Self::real()
        } else {
            Self::generated(dir)
        }
    }

    fn real() -> Self {
        let mut text = String::new();
        GzDecoder::new(File::open(REAL).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        Self {
            gzip: REAL.into(),
            text,
            tenants: 10,
            invoices: 1_742,
            settled: 1_276,
            sums: Sums {
                invoices: Decimal::new(129_493_938, 2),
                credit_notes: Decimal::new(6_324_031, 2),
            },
        }
    }

    /// 2,400 invoices of six tenants over 23 months: more than one chunk of an upload.
    pub fn generated(dir: &Path) -> Self {
        let mut data = Self {
            gzip: dir.join("generated.ndjson.gz"),
            text: String::new(),
            tenants: 6,
            invoices: 2_400,
            settled: 0,
            sums: Sums::default(),
        };
        for number in 0..data.invoices {
            let tenant = number % 6;
            let (year, month, day) = (2010 + number / 12 % 2, 1 + number % 12, 1 + number % 28);
            let (quantity, pence) = (1 + number % 7, 99 + 13 * number);
            let total = Decimal::new((quantity * pence).try_into().unwrap(), 2);
            let price = Decimal::new(pence.try_into().unwrap(), 2);
            let credit_note = number % 9 == 4;
            let paid = !credit_note && number % 4 != 1;
            let kind = if credit_note {
                "credit_note"
            } else {
                "invoice"
            };
            write!(
                data.text,
                "{{\"tenant_external_id\":\"Tenant {tenant}\",\"external_id\":\"{number}\",\
                 \"kind\":\"{kind}\",\"currency\":\"GBP\",\"customer\":{{\"external_id\":\"c{}\",\
                 \"name\":\"Customer\"}},\"issue_date\":\"{year}-{month:02}-{day:02}\",\
                 \"lines\":[{{\"sku\":\"s\",\"description\":\"Mug {number} é\",\
                 \"quantity\":\"{quantity}\",\"unit_price\":\"{price}\"}}],\
                 \"metadata\":{{\"n\":{number}}}",
                number % 40
            )
            .unwrap();
            if paid {
                let payment = r#"{"reference":"p","amount":"#;
                write!(
                    data.text,
                    ",\"payments\":[{payment}\"{total}\",\
                     \"paid_on\":\"{year}-{month:02}-{day:02}\",\"method\":\"card\"}}]"
                )
                .unwrap();
                data.settled += 1;
            }
            data.text.push_str("}\n");
            *(if credit_note {
                &mut data.sums.credit_notes
            } else {
                &mut data.sums.invoices
            }) += total;
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(data.text.as_bytes()).unwrap();
        fs::write(&data.gzip, gzip.finish().unwrap()).unwrap();
        data
    }
}
