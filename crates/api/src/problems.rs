//! The problems that a route answers with, for the OpenAPI document: codes by status, each with
//! what is to be said of it.

use std::collections::BTreeMap;

use sheaf_model::Code;
use utoipa::PartialSchema as _;
use utoipa::openapi::{Header, HeaderBuilder, RefOr, Response};

/// A piece of a description.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// A code, quoted. Codes that follow one another are a list.
    Code(Code),
    /// Words.
    Text(&'static str),
}

/// Makes a type that stands for the problems of one route among its `responses`: for each status
/// its codes, and words between them.
macro_rules! problems {
    ($name:ident { $($status:literal: $($part:tt),+;)+ }) => {
        /// What the route below answers when it does not do what was asked.
        pub(crate) struct $name;

        impl $name {
            const BY_STATUS: &[(u16, &[crate::problems::Part])] =
                &[$(($status, &[$(crate::problems::part!($part)),+])),+];
        }

        impl utoipa::IntoResponses for $name {
            fn responses() -> crate::problems::Responses {
                crate::problems::responses(Self::BY_STATUS)
            }
        }
    };
}

macro_rules! part {
    ($text:literal) => {
        crate::problems::Part::Text($text)
    };
    ($code:ident) => {
        crate::problems::Part::Code(sheaf_model::Code::$code)
    };
}

pub(crate) use {part, problems};

/// Answers by status.
pub(crate) type Responses = BTreeMap<String, RefOr<Response>>;

/// The answers with these descriptions.
pub(crate) fn responses(by_status: &[(u16, &[Part])]) -> Responses {
    let response = |(status, parts): &(u16, &[Part])| {
        let mut response = Response::new(description(parts));
        // Where there is a version, it is told.
        let told = !response.description.contains("no ETag");
        if *status == Code::VersionMismatch.status() && told {
            let etag = header("The version, quoted");
            response.headers.insert("ETag".to_owned(), etag);
        }
        (status.to_string(), RefOr::T(response))
    };
    by_status.iter().map(response).collect()
}

fn description(parts: &[Part]) -> String {
    let mut text = String::new();
    let mut follows_code = false;
    for part in parts {
        match part {
            Part::Code(code) => {
                let comma = if follows_code { ", " } else { "" };
                text.extend([comma, "`", code.as_str(), "`"]);
                follows_code = true;
            }
            Part::Text(words) => {
                text.push_str(words);
                follows_code = false;
            }
        }
    }
    text
}

/// Adds a code to the answer of its status, where it is not named there yet.
pub(crate) fn add(responses: &mut Responses, code: Code) {
    let known = responses.entry(code.status().to_string());
    let RefOr::T(response) = known.or_insert_with(|| RefOr::T(Response::new(""))) else {
        return;
    };
    let (description, code) = (&mut response.description, format!("`{code}`"));
    if !description.contains(&code) {
        let comma = if description.is_empty() { "" } else { ", " };
        description.extend([comma, &code]);
    }
}

/// A header of text.
pub(crate) fn header(description: &str) -> RefOr<Header> {
    let header = HeaderBuilder::new()
        .schema(Some(String::schema()))
        .description(Some(description));
    RefOr::T(header.build())
}
