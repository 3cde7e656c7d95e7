//! Readers of single values: they accept every value of the right JSON type, and keep what is wrong
//! with it.

use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::money::decimal;
use crate::{Currency, FieldError, Kind, Metadata, PaymentKind, Status, TaxRounding, plain_value};

/// A value, or what is wrong with it. Boxed: errors are rare, and lines are many.
#[derive(Clone, Debug)]
pub(crate) struct Field<T>(pub(super) Result<T, Box<FieldError>>);

/// A value written as a JSON string.
trait FromText: Sized {
    fn from_text(text: &str) -> Result<Self, FieldError>;
}

impl FromText for Uuid {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        plain_value::uuid(text)
    }
}

impl FromText for NaiveDate {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        plain_value::date(text)
    }
}

impl FromText for Kind {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl FromText for Status {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl FromText for PaymentKind {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl FromText for DateTime<Utc> {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        plain_value::time(text)
    }
}

impl FromText for TaxRounding {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        text.parse()
    }
}

impl FromText for Currency {
    fn from_text(text: &str) -> Result<Self, FieldError> {
        Self::parse(text)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field(T::from_text(text).map_err(Box::new)))
    }
}

/// One implementation a type: decimals and metadata are not read from text, so a blanket one would
/// overlap.
macro_rules! read_from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for Field<$type> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }
    )*};
}

read_from_text!(
    Uuid,
    NaiveDate,
    DateTime<Utc>,
    Kind,
    PaymentKind,
    Status,
    TaxRounding,
    Currency
);

impl<'de> Deserialize<'de> for Field<Decimal> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(decimal::read_exact(raw.get()).map_err(Box::new)))
    }
}

impl<'de> Deserialize<'de> for Field<Metadata> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(Metadata::parse(raw.get()).map_err(Box::new)))
    }
}

/// A struct read from a JSON object only: serde's derive would also take an array, field by field.
#[derive(Clone, Debug)]
pub(super) struct Object<T>(pub(super) T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}
