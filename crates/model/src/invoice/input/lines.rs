//! The rules of an invoice's lines.

use crate::Code;
use rust_decimal::Decimal;

use super::bounds::fine;
use super::check::{At, Bounds, Mistakes};
use super::discount::{Discount, Taken};
use super::document::LineInput;
use super::read::Object;
use crate::invoice::totals;
use crate::invoice::totals::{LineFault, earlier};
use crate::{Currency, Line, TaxRounding, bounds};

/// A line that gives back has a negative quantity; its price is not negative (EN 16931, BR-27).
const QUANTITY: Bounds = fine((
    |value| !value.is_zero(),
    Code::QuantityZero,
    "must not be 0",
));
const UNIT_PRICE: Bounds = fine((
    |value| value >= Decimal::ZERO,
    Code::UnitPriceNegative,
    "must not be negative",
));
const TAX_RATE: Bounds = fine((
    |value| value >= Decimal::ZERO && value <= Decimal::ONE,
    Code::TaxRateOutOfRange,
    "a fraction from 0 to 1: 0.2 is 20 %",
));
/// The lines with their nets, before a discount on the document and, but for the earlier rules,
/// without their taxes.
pub(super) fn check_lines(
    input: Option<Vec<Object<LineInput>>>,
    currency: Option<Currency>,
    rounding: Option<TaxRounding>,
    mistakes: &mut Mistakes,
) -> Vec<Line> {
    let Some(input) = input else {
        mistakes.missing(At::Root, "lines");
        return Vec::new();
    };
    if input.is_empty() {
        mistakes.note(
            At::Root,
            "lines",
            Code::NoLines,
            "an invoice has at least one line",
        );
    }
    if input.len() > bounds::MAX_LINES {
        mistakes.note(
            At::Root,
            "lines",
            Code::TooManyLines,
            "an invoice has at most 10,000 lines",
        );
        return Vec::new();
    }
    let check =
        |(index, Object(line))| check_line(At::Line(index), line, (currency, rounding), mistakes);
    input.into_iter().enumerate().filter_map(check).collect()
}

fn check_line(
    at: At,
    input: LineInput,
    (currency, rounding): (Option<Currency>, Option<TaxRounding>),
    mistakes: &mut Mistakes,
) -> Option<Line> {
    let sku = mistakes.text(at, "sku", input.sku, bounds::MAX_SKU);
    let description = mistakes.required_text(
        at,
        "description",
        input.description,
        bounds::MAX_DESCRIPTION,
    );
    let quantity = mistakes.required_number(at, "quantity", input.quantity, QUANTITY);
    let unit_price = mistakes.required_number(at, "unit_price", input.unit_price, UNIT_PRICE);
    let discount = Discount::check(
        at,
        input.discount,
        input.discount_percent,
        currency,
        mistakes,
    );
    let tax_rate = mistakes.number_or_zero(at, "tax_rate", input.tax_rate, TAX_RATE);
    let tax_rate = tax_rate?;
    let (description, quantity, unit_price) = (description?, quantity?, unit_price?);
    let exponent = currency?.exponent();
    let gross = quantity.saturating_mul(unit_price);
    let discount = discount.of(at, gross, (exponent, rounding), mistakes)?;
    let amounts = match rounding {
        None => earlier::line_amounts(quantity, unit_price, discount.amount, tax_rate, exponent)
            .map(|amounts| (amounts.net, amounts.tax)),
        Some(_) => totals::line_net(quantity, unit_price, discount.of_line(), exponent)
            .map(|net| (net, Decimal::ZERO)),
    };
    match amounts {
        Ok((net, tax)) => Some(Line {
            sku,
            description,
            quantity,
            unit_price,
            discount: discount.amount,
            discount_percent: discount.percent,
            document_discount: Decimal::ZERO,
            tax_rate,
            net,
            tax,
        }),
        Err(LineFault::OutOfRange) => {
            out_of_range(
                mistakes,
                at,
                "unit_price",
                "quantity x unit_price is too large",
            );
            None
        }
        Err(LineFault::DiscountExceedsLine) => {
            mistakes.note(
                at,
                "discount",
                Code::DiscountExceedsLine,
                "larger than quantity x unit_price",
            );
            None
        }
    }
}

pub(super) fn out_of_range(mistakes: &mut Mistakes, at: At, name: &str, detail: &str) {
    mistakes.note(at, name, Code::AmountOutOfRange, detail);
}

/// Takes the document's discount off the lines, and gives them their taxes.
pub(super) fn put_amounts(
    discount: Discount,
    lines: &mut [Line],
    (currency, rounding): (Currency, Option<TaxRounding>),
    mistakes: &mut Mistakes,
) -> Option<Taken> {
    let taken = discount.spread(lines, (currency, rounding), mistakes)?;
    if let Some(rounding) = rounding
        && totals::tax_lines(lines, rounding, currency.exponent()).is_none()
    {
        out_of_range(mistakes, At::Root, "lines", "the total is too large");
        return None;
    }
    Some(taken)
}
