//! Number series, as sent and as answered.

use utoipa::ToSchema;

/// What a series' numbers look like.
#[derive(Debug, ToSchema)]
pub struct NumberSeriesIn {
    /// Before the number; `{year}` is the year of issue, and makes the numbers start again every
    /// year.
    #[schema(max_length = 40, example = "INV-{year}-")]
    pub prefix: String,
    /// Digits at least, filled up with zeros.
    #[schema(minimum = 0, maximum = 12, example = 6)]
    pub padding: i16,
    /// The next number; only forward.
    #[schema(minimum = 1, maximum = 999_999_999_999_i64)]
    pub next: Option<i64>,
    /// The year that `next` is of, where numbers start again every year; this year, if not sent.
    #[schema(minimum = 1970, maximum = 2199)]
    pub year: Option<i16>,
}

/// A number series.
#[derive(Debug, ToSchema)]
#[schema(as = NumberSeries)]
pub struct NumberSeriesOut {
    /// `invoice` or `credit_note`.
    pub series: String,
    /// Before the number.
    pub prefix: String,
    /// Digits at least.
    pub padding: i16,
    /// Where it goes on, by year.
    pub counts: Vec<NumberCount>,
}

/// Where a series goes on.
#[derive(Debug, ToSchema)]
pub struct NumberCount {
    /// The year of issue; `null` where numbers run through the years.
    #[schema(required)]
    pub year: Option<i16>,
    /// The next number.
    pub next: i64,
}

/// All number series of a tenant.
#[derive(Debug, ToSchema)]
pub struct NumberSeriesList {
    /// By name.
    pub data: Vec<NumberSeriesOut>,
    /// Always false.
    pub has_more: bool,
    /// Always `null`.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
