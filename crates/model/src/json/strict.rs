//! Reading JSON into structs by their derived `Deserialize`, without what the derive takes beside
//! an object: a struct can also be read from an array of its members, and a plain enum from an
//! object. Both are mistakes of a client.
//!
//! One wrapper around serde_json's deserializer, which passes itself on to everything that stands
//! inside, so that nested structs need no care of their own.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer,
    MapAccess, SeqAccess, Visitor,
};

use crate::invoice::input::{ParseError, place, syntax};

/// Reads one JSON object, and nothing behind it.
///
/// # Errors
/// [`ParseError::Syntax`] when the bytes are no JSON document in UTF-8; [`ParseError::Invalid`]
/// with `invalid_type`, `unknown_field`, `missing_field`, `duplicate_field`, `date_out_of_range` or
/// `time_out_of_range`, and the field's path.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    let text = syntax::text(bytes)?;
    // The first mistake of a field would hide that the rest is no JSON.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| syntax::error(text, &error))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(Strict(&mut reader)).map_err(|error| {
        let path = error.path().to_string();
        place(if path == "." { "" } else { &path }, &error.into_inner())
    })
}

/// A deserializer, or what reads on in its place.
struct Strict<T>(T);

macro_rules! forward {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$name(Strict(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_unit deserialize_seq deserialize_map deserialize_identifier
        deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Strict(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Strict(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Strict(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Strict(visitor))
    }

    /// An object only.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    /// Its name only: no body of ours has an enum with values in it.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_str(Name(visitor))
    }
}

/// Gives an enum's visitor the name of a variant.
struct Name<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Name<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        let name: StrDeserializer<'_, E> = name.into_deserializer();
        self.0.visit_enum(name)
    }
}

macro_rules! forward_visits {
    ($($name:ident($type:ty))*) => {$(
        fn $name<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$name(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    forward_visits! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_i128(i128) visit_u128(u128) visit_f64(f64)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(members))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        name: Option<String>,
        inner: Option<Inner>,
        many: Vec<Inner>,
        named: BTreeMap<String, Inner>,
        kind: Option<Kind>,
        numbers: Vec<i64>,
        #[serde(deserialize_with = "crate::plain_value::optional_date")]
        day: Option<chrono::NaiveDate>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        n: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Some,
    }

    fn refused(json: &str) -> String {
        match from_json::<Outer>(json.as_bytes()).unwrap_err() {
            ParseError::Syntax(_) => "syntax".to_owned(),
            ParseError::Invalid(invalid) => {
                let error = &invalid.errors()[0];
                format!("{} {}", error.field, error.code)
            }
        }
    }

    #[test]
    fn objects_are_read_and_nothing_else_is() {
        let read: Outer = from_json(
            br#" {"name": "a\u0041", "inner": {"n": 1}, "many": [{"n": 2}], "named": {"x": {"n": 3}},
                "kind": "some", "numbers": [-1, 2], "day": "2026-01-05"} "#,
        )
        .unwrap();
        assert_eq!(read.name.as_deref(), Some("aA"));
        assert_eq!(
            (read.inner, read.many),
            (Some(Inner { n: 1 }), vec![Inner { n: 2 }])
        );
        assert_eq!((read.named["x"].n, read.kind), (3, Some(Kind::Some)));
        assert_eq!((read.numbers, read.day.is_some()), (vec![-1, 2], true));
        assert_eq!(
            from_json::<Outer>(b"{\"name\": null}").unwrap(),
            Outer::default()
        );
        for (json, expected) in [
            ("[]", " invalid_type"),
            (r#"["x", null, [], {}, null, [], null]"#, " invalid_type"),
            ("5", " invalid_type"),
            ("null", " invalid_type"),
            (r#"{"inner": [1]}"#, "inner invalid_type"),
            (r#"{"many": [[1]]}"#, "many[0] invalid_type"),
            (r#"{"named": {"x": [1]}}"#, "named.x invalid_type"),
            (r#"{"kind": {"some": null}}"#, "kind invalid_type"),
            (r#"{"kind": "none"}"#, "kind invalid_type"),
            (r#"{"inner": {}}"#, "inner.n missing_field"),
            (r#"{"inner": {"n": 256}}"#, "inner.n invalid_type"),
            (r#"{"nmae": 1}"#, "nmae unknown_field"),
            (r#"{"name": "a", "name": "b"}"#, "name duplicate_field"),
            (r#"{"day": "2026-1-5"}"#, "day invalid_type"),
            (r#"{"day": "9999-01-05"}"#, "day date_out_of_range"),
            ("{} {}", "syntax"),
            (r#"{"name": 1"#, "syntax"),
            ("", "syntax"),
        ] {
            assert_eq!(refused(json), expected, "{json}");
        }
    }
}
