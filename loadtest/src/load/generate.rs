//! Realistic invoices as JSON.
//!
//! Line counts are log-normal (many short invoices, few long ones), tenants are equally large or
//! follow Zipf's law, most invoices are paid, and some are credit notes. Money is counted in minor
//! units, as integers: floating point decides about counts and choices only.

pub(crate) mod dated;

use std::io::Write as _;

use chrono::{Days, NaiveDate};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, LogNormal, Zipf};

pub use dated::{Dated, minor};
use sheaf_model::bounds;

/// A tenant's currency; all of them have two decimals.
const CURRENCIES: [&str; 3] = ["GBP", "EUR", "USD"];
/// Tax rates in basis points, and as they are sent.
const TAX_RATES: [(u64, &str); 3] = [(2_000, "0.2"), (500, "0.05"), (0, "0")];
const ARTICLES: [&str; 12] = [
    "Storage, standard, per month",
    "Compute, 4 vCPU, per hour",
    "Support, business hours",
    "Outbound traffic, per GB",
    "Seat, professional plan",
    "Seat, enterprise plan",
    "API requests, per thousand",
    "Onboarding workshop",
    "Retention of backups, 30 days",
    "Dedicated address",
    "Training, one day, on site",
    "Licence, annual",
];
const METHODS: [&str; 3] = ["bank_transfer", "card", "direct_debit"];

/// How invoices spread over tenants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skew {
    /// All tenants are equally large.
    Uniform,
    /// The n-th tenant has a share of n^-exponent; the exponent is positive, 1 is the classic.
    Zipf(f64),
}

/// What the invoices look like. [`Shape::import`] and [`Shape::single`] are the two usual ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The same seed and shape make the same bytes.
    pub seed: u64,
    /// Number of tenants, at least 1.
    pub tenants: u32,
    /// How invoices spread over them.
    pub skew: Skew,
    /// Mean number of lines, from 1.
    pub lines_mean: f64,
    /// Standard deviation of the logarithm of the number of lines after the first; 0 makes all
    /// counts equal.
    pub lines_sigma: f64,
    /// Customers of each tenant; 0 leaves the customer out.
    pub customers: u32,
    /// Imported invoices have keys, dates and payments; without, they are new ones.
    pub history: Option<History>,
}

/// Dates and payments of imported invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The last day on which invoices were issued.
    pub last_day: NaiveDate,
    /// Days before `last_day` over which they spread evenly.
    pub days: u32,
}

/// Why a shape makes no invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No tenants.
    #[error("there must be at least 1 tenant")]
    Tenants,
    /// A mean below 1 or above the most lines an invoice may have, or a deviation outside of 0 to
    /// 3.
    #[error("the mean number of lines is from 1 to 10,000, its deviation from 0 to 3")]
    Lines,
    /// An exponent outside of 0 to 10.
    #[error("the exponent of Zipf's law is above 0 and at most 10")]
    Zipf,
    /// The first day would be before 1970.
    #[error("invoices are dated from 1970-01-01")]
    Days,
}

impl Shape {
    /// Invoices to import: with `external_id`, `number`, customer, dates over `years` back from
    /// `last_day`, payments.
    #[must_use]
    pub fn import(seed: u64, tenants: u32, last_day: NaiveDate, years: u32) -> Self {
        let days = years.saturating_mul(365);
        Self {
            seed,
            tenants,
            skew: Skew::Uniform,
            lines_mean: 2.0,
            lines_sigma: 0.8,
            customers: 200,
            history: Some(History { last_day, days }),
        }
    }

    /// New invoices as an application makes them one by one: issued now, exactly 2 lines, no keys.
    #[must_use]
    pub fn single(seed: u64, tenants: u32) -> Self {
        Self {
            seed,
            tenants,
            skew: Skew::Uniform,
            lines_mean: 2.0,
            lines_sigma: 0.0,
            customers: 0,
            history: None,
        }
    }
}

/// How a generated invoice says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It does not: for the tenant's own routes.
    Tenant,
    /// By `tenant_external_id`, see [`tenant_external_id`]: for platform uploads.
    Platform,
}

/// The `external_id` of the tenant with this index.
#[must_use]
pub fn tenant_external_id(index: u32) -> String {
    format!("tenant-{index:05}")
}

/// Makes invoices, one after the other.
#[derive(Clone, Debug)]
pub struct Generator {
    shape: Shape,
    rng: ChaCha8Rng,
    zipf: Option<Zipf<f64>>,
    /// Of the number of lines after the first. `None` when there is exactly one.
    more_lines: Option<LogNormal<f64>>,
    made: u64,
}

/// Amounts of one invoice, in minor units.
struct Total(u64);

impl Generator {
    /// A generator at its first invoice.
    ///
    /// # Errors
    /// [`ShapeError`] names the bound that the shape breaks.
    pub fn new(shape: Shape) -> Result<Self, ShapeError> {
        if shape.tenants == 0 {
            return Err(ShapeError::Tenants);
        }
        let zipf = match shape.skew {
            Skew::Uniform => None,
            Skew::Zipf(exponent) if exponent > 0.0 && exponent <= 10.0 => {
                Some(Zipf::new(f64::from(shape.tenants), exponent).map_err(|_| ShapeError::Zipf)?)
            }
            Skew::Zipf(_) => return Err(ShapeError::Zipf),
        };
        if let Some(history) = shape.history {
            first_day(history).ok_or(ShapeError::Days)?;
        }
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(shape.seed),
            zipf,
            more_lines: more_lines(&shape)?,
            made: 0,
            shape,
        })
    }

    /// Appends the next invoice as one JSON document without a line break; answers the index of its
    /// tenant.
    pub fn write(&mut self, form: Form, out: &mut Vec<u8>) -> u32 {
        let tenant = self.pick_tenant();
        let number = self.made;
        self.made += 1;
        out.push(b'{');
        if form == Form::Platform {
            let key = tenant_external_id(tenant);
            put(out, format_args!("\"tenant_external_id\":\"{key}\","));
        }
        let credit_note = self.shape.history.is_some() && self.rng.random_ratio(3, 100);
        if self.shape.history.is_some() {
            let seed = self.shape.seed;
            put(out, format_args!("\"external_id\":\"g{seed}-{number}\","));
            put(out, format_args!("\"number\":\"R-{number:09}\","));
        }
        let kind = if credit_note {
            "credit_note"
        } else {
            "invoice"
        };
        let currency = CURRENCIES[tenant as usize % CURRENCIES.len()];
        put(
            out,
            format_args!("\"kind\":\"{kind}\",\"currency\":\"{currency}\""),
        );
        self.write_customer(out);
        let paid = self.shape.history.is_some();
        let total = self.write_lines(paid, out);
        match self.shape.history {
            Some(history) => self.write_history(history, number, &total, credit_note, out),
            None => put(out, format_args!(",\"status\":\"issued\"")),
        }
        let source = number % 7;
        put(
            out,
            format_args!(",\"metadata\":{{\"source\":\"loadtest\",\"batch\":{source}}}}}"),
        );
        tenant
    }

    fn pick_tenant(&mut self) -> u32 {
        match self.zipf {
            None => self.rng.random_range(0..self.shape.tenants),
            // Ranks are whole numbers from 1 to the number of tenants.
            Some(zipf) => to_count(zipf.sample(&mut self.rng)).clamp(1, self.shape.tenants) - 1,
        }
    }

    fn write_customer(&mut self, out: &mut Vec<u8>) {
        if self.shape.customers > 0 {
            let customer = self.rng.random_range(0..self.shape.customers);
            put(
                out,
                format_args!(
                    ",\"customer\":{{\"external_id\":\"C{customer:06}\",\"name\":\"Customer \
                    {customer}\","
                ),
            );
            put(
                out,
                format_args!(
                    "\"email\":\"billing@customer-{customer}.example\",\"country\":\"GB\"}}"
                ),
            );
        }
    }

    /// Where a document is paid as well, its prices are such that every tax is a whole cent: its
    /// total is the same however tax is rounded, also on servers that round it by line.
    fn write_lines(&mut self, paid: bool, out: &mut Vec<u8>) -> Total {
        let more = self
            .more_lines
            .map_or(0, |more| to_count(more.sample(&mut self.rng).round()));
        let most = u32::try_from(bounds::MAX_LINES).unwrap_or(u32::MAX);
        put(out, format_args!(",\"lines\":["));
        let mut total = 0;
        for line in 0..more.saturating_add(1).min(most) {
            let article = self.rng.random_range(0..ARTICLES.len());
            let quantity = self.rng.random_range(1_u64..=12);
            let price = self.rng.random_range(99_u64..=49_999);
            let price = if paid {
                price.next_multiple_of(20)
            } else {
                price
            };
            let (rate, rate_text) = TAX_RATES[self.rng.random_range(0..TAX_RATES.len())];
            let net = quantity * price;
            // The rate is in basis points.
            total += net + net * rate / 10_000;
            let comma = if line == 0 { "" } else { "," };
            let description = ARTICLES[article];
            put(
                out,
                format_args!(
                    "{comma}{{\"sku\":\"A-{article:04}\",\"description\":\"{description}\","
                ),
            );
            put(
                out,
                format_args!(
                    "\"quantity\":\"{quantity}\",\"unit_price\":\"{}\",\"tax_rate\":\"{rate_text}\
                    \"}}",
                    amount(price)
                ),
            );
        }
        out.push(b']');
        Total(total)
    }

    /// Dates, and for seven of ten a payment in full, for one of ten a payment of half.
    fn write_history(
        &mut self,
        history: History,
        number: u64,
        total: &Total,
        credit_note: bool,
        out: &mut Vec<u8>,
    ) {
        let back = self.rng.random_range(0..=history.days);
        let issued = history.last_day - Days::new(u64::from(back));
        let due = issued + Days::new(30);
        put(
            out,
            format_args!(",\"issue_date\":\"{issued}\",\"due_date\":\"{due}\""),
        );
        let paid = match self.rng.random_range(0..10) {
            0..7 => total.0,
            7 => total.0 / 2,
            _ => 0,
        };
        if paid > 0 && !credit_note {
            let paid_on = issued + Days::new(u64::from(self.rng.random_range(0..=back.min(40))));
            let method = METHODS[self.rng.random_range(0..METHODS.len())];
            put(
                out,
                format_args!(
                    ",\"payments\":[{{\"reference\":\"P-{number:09}\",\"amount\":\"{}\",",
                    amount(paid)
                ),
            );
            put(
                out,
                format_args!("\"paid_on\":\"{paid_on}\",\"method\":\"{method}\"}}]"),
            );
        }
    }
}

fn first_day(history: History) -> Option<NaiveDate> {
    let first = history
        .last_day
        .checked_sub_days(Days::new(u64::from(history.days)))?;
    (first >= bounds::min_date()).then_some(first)
}

/// The distribution of the number of lines after the first, with a mean of one less than the mean
/// of all.
// Counts are statistics, not money.
#[allow(clippy::float_arithmetic)]
fn more_lines(shape: &Shape) -> Result<Option<LogNormal<f64>>, ShapeError> {
    let (mean, sigma) = (shape.lines_mean, shape.lines_sigma);
    if !(1.0..=10_000.0).contains(&mean) || !(0.0..=3.0).contains(&sigma) {
        return Err(ShapeError::Lines);
    }
    if mean == 1.0 {
        return Ok(None);
    }
    // The mean of a log-normal distribution is exp(mu + sigma^2 / 2).
    let mu = (mean - 1.0).ln() - sigma * sigma / 2.0;
    LogNormal::new(mu, sigma)
        .map(Some)
        .map_err(|_| ShapeError::Lines)
}

/// A sampled count. Saturates; samples are whole and never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn to_count(sample: f64) -> u32 {
    sample as u32
}

/// Minor units as a decimal.
fn amount(minor: u64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests;
