//! Exact decimals: reading, rounding, rendering, bounds. No float anywhere.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::Code;
use crate::{FieldError, bounds};

/// Significant digits that every [`Decimal`] can hold (96 bits hold 28 nines).
const MAX_DIGITS: usize = 28;

/// Why a text is no decimal that we can hold exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NotANumber,
    TooLarge,
    TooFine,
}

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        let (code, detail) = match fault {
            Fault::NotANumber => (
                Code::InvalidType,
                "must be a decimal, as a JSON string or number",
            ),
            Fault::TooLarge => (Code::AmountOutOfRange, "the number is too large"),
            Fault::TooFine => (Code::TooManyDecimals, "the number has too many decimals"),
        };
        Self::new("", code, detail)
    }
}

/// Reads a decimal from one JSON token: a number (`12.50`, `1e3`), or a string that holds a plain
/// decimal (`"12.50"`). The value is exact, and without trailing zeros.
///
/// # Errors
/// With an empty field: `invalid_type` when the token is no decimal, `amount_out_of_range` and
/// `too_many_decimals` when it has more than 28 significant digits.
pub fn read_exact(token: &str) -> Result<Decimal, FieldError> {
    let Some(quoted) = token.strip_prefix('"') else {
        return Ok(parse(token, true)?);
    };
    let text = quoted.strip_suffix('"').ok_or(Fault::NotANumber)?;
    if text.contains('\\') {
        let text: String = serde_json::from_str(token).map_err(|_| Fault::NotANumber)?;
        return Ok(parse(&text, false)?);
    }
    Ok(parse(text, false)?)
}

/// `-?\d+(\.\d+)?`, and with `exponent_allowed` also `[eE][+-]?\d+` behind it.
fn parse(text: &str, exponent_allowed: bool) -> Result<Decimal, Fault> {
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) if exponent_allowed => (text, parse_exponent(exponent)?),
        Some(_) => return Err(Fault::NotANumber),
        None => (text, 0),
    };
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(Fault::NotANumber),
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits.clone().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::NotANumber);
    }

    let length = whole.len() + fraction.len();
    let leading = digits.clone().take_while(|byte| *byte == b'0').count();
    if leading == length {
        return Ok(Decimal::ZERO);
    }
    let trailing = digits
        .clone()
        .rev()
        .take_while(|byte| *byte == b'0')
        .count();
    let significant = length - leading - trailing;
    // The value is mantissa x 10^-scale.
    let scale = as_i64(fraction.len()) - as_i64(trailing) - exponent;
    let whole_digits = as_i64(significant) - scale;
    if whole_digits > as_i64(MAX_DIGITS) {
        return Err(Fault::TooLarge);
    }
    if significant > MAX_DIGITS || scale > as_i64(MAX_DIGITS) {
        return Err(Fault::TooFine);
    }
    let mantissa = digits
        .skip(leading)
        .take(significant)
        .fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let mantissa = if negative { -mantissa } else { mantissa };
    let (mantissa, scale) = match u32::try_from(scale) {
        Ok(scale) => (mantissa, scale),
        // At most MAX_DIGITS digits in all, as checked above.
        Err(_) => (
            mantissa * 10_i128.pow(u32::try_from(-scale).unwrap_or(0)),
            0,
        ),
    };
    Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| Fault::TooLarge)
}

fn parse_exponent(text: &str) -> Result<i64, Fault> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::NotANumber);
    }
    // Far beyond any scale already: saturating there keeps the later sums small.
    let value = digits.bytes().fold(0_i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1 << 40)
    });
    Ok(if negative { -value } else { value })
}

fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX / 4)
}

/// Whether `value` is within the bounds of an amount: DECIMAL(18,4).
#[must_use]
pub fn is_amount(value: Decimal) -> bool {
    value < bounds::AMOUNT_BOUND && value > -bounds::AMOUNT_BOUND
}

/// Rounds half up (away from zero) to `exponent` decimals, as invoices do.
#[must_use]
pub fn round_half_up(value: Decimal, exponent: u32) -> Decimal {
    value.round_dp_with_strategy(exponent, RoundingStrategy::MidpointAwayFromZero)
}

/// An amount with exactly `exponent` decimals: `10.00`. The scale with which `value` came does not
/// matter.
#[must_use]
pub fn render_amount(value: Decimal, exponent: u32) -> String {
    let mut text = String::new();
    write_amount(&mut text, value, exponent);
    text
}

/// A decimal without trailing zeros, but with at least `min_decimals` decimals: `10`, `1.5`,
/// `0.85`, `15.00`.
#[must_use]
pub fn render_plain(value: Decimal, min_decimals: u32) -> String {
    let mut text = String::new();
    write_decimal(&mut text, value, min_decimals);
    text
}

/// Appends what [`render_amount`] returns.
pub(crate) fn write_amount(out: &mut impl PushText, value: Decimal, exponent: u32) {
    let value = if value.scale() > exponent {
        round_half_up(value, exponent)
    } else {
        value
    };
    write_decimal(out, value, exponent);
}

/// Appends what [`render_plain`] returns.
pub(crate) fn write_decimal(out: &mut impl PushText, value: Decimal, min_decimals: u32) {
    let mut mantissa = value.mantissa().unsigned_abs();
    let mut scale = value.scale();
    while scale > min_decimals && last_digit(mantissa) == 0 {
        mantissa = divide_by_10(mantissa);
        scale -= 1;
    }
    // Filled from the right: at most 29 digits, MAX_PAD decimals, point and sign.
    let mut buffer = [b'0'; 80];
    let mut at = buffer.len();
    let padding = min_decimals.min(MAX_PAD).saturating_sub(scale) as usize;
    at -= padding;
    let decimals = scale as usize + padding;
    let mut written = padding;
    while mantissa > 0 || written <= decimals {
        if written == decimals && decimals > 0 {
            at -= 1;
            buffer[at] = b'.';
        }
        at -= 1;
        buffer[at] = b'0' + last_digit(mantissa);
        mantissa = divide_by_10(mantissa);
        written += 1;
    }
    if value.is_sign_negative() && !value.is_zero() {
        at -= 1;
        buffer[at] = b'-';
    }
    out.push_ascii(&buffer[at..]);
}

/// 128-bit division is a function call; almost every mantissa fits into 64 bits.
fn divide_by_10(value: u128) -> u128 {
    u64::try_from(value).map_or_else(|_| value / 10, |value| u128::from(value / 10))
}

// Truncation safety: a remainder of 10.
#[allow(clippy::cast_possible_truncation)]
fn last_digit(value: u128) -> u8 {
    u64::try_from(value).map_or_else(|_| (value % 10) as u8, |value| (value % 10) as u8)
}

/// Most decimals that are filled up with zeros: more than any value has.
const MAX_PAD: u32 = 28;

/// Where ASCII text can be appended: a string, or the bytes of a body.
pub(crate) trait PushText {
    /// Appends ASCII bytes.
    fn push_ascii(&mut self, text: &[u8]);
}

impl PushText for Vec<u8> {
    fn push_ascii(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }
}

impl PushText for String {
    fn push_ascii(&mut self, text: &[u8]) {
        self.extend(text.iter().map(|byte| char::from(*byte)));
    }
}

#[cfg(test)]
mod tests;
