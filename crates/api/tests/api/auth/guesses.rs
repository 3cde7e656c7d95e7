//! Guesses at credentials, by client address.

use std::num::NonZeroU32;

use futures_util::future::join_all;
use reqwest::Method;
use sheaf_web::RateLimit;

use crate::support::{ADMIN_KEY, Answer, TestApp, send};

/// With so many guesses at once, and none that comes back while the test runs.
async fn app(burst: u32, proxies: usize) -> TestApp {
    TestApp::start_with(|config| {
        config.web.proxies = proxies;
        config.web.guess_limit = Some(RateLimit {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(burst).unwrap(),
        });
    })
    .await
}

/// A key of the form of ours that is nobody's.
fn wrong(n: usize) -> String {
    format!("sheaf_00000000_{n:A>43}")
}

/// Guesses until one is not looked at; how many were, and what was answered then.
async fn exhaust(guess: impl AsyncFn(usize) -> Answer) -> (usize, Answer) {
    for n in 0..2_000 {
        let answer = guess(n).await;
        if answer.status != 401 {
            return (n, answer);
        }
        answer.is_problem(401, "invalid_credential");
    }
    panic!("nobody stops guesses");
}

#[tokio::test]
async fn guesses_end_and_what_was_right_before_goes_on() {
    let app = app(40, 0).await;
    let tenant = app.tenant().await;
    app.read("/v1/invoices", &tenant.key).await.is(200);
    let unseen = app.api_key(tenant.id, "viewer").await.0;
    let (looked_at, refused) = exhaust(async |n| app.read("/v1/invoices", &wrong(n)).await).await;
    // One comes back each second.
    assert!((40..60).contains(&looked_at), "{looked_at}");
    refused.is_problem(429, "too_many_wrong_credentials");
    let seconds: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    // The tenant's key and the admin key have opened something from here: they are not slowed.
    for _ in 0..30 {
        app.read("/v1/invoices", &tenant.key).await.is(200);
        app.read("/v1/tenants", ADMIN_KEY).await.is(200);
    }
    let exhausted = async |key: &str, path: &str| {
        exhaust(async |n| app.read("/v1/invoices", &wrong(10_000 + n)).await).await;
        app.read(path, key).await
    };
    // Nor is a key that was never sent from here: nobody guesses 256 bits.
    exhausted(&unseen, "/v1/invoices").await.is(200);
    // Told as too many are guesses at the admin key, in either header, and for what is no key of
    // ours at all.
    exhausted("admin-guess", "/v1/tenants")
        .await
        .is_problem(429, "too_many_wrong_credentials");
    let basic = app
        .request(Method::GET, "/v1/invoices")
        .header("authorization", "Basic eDp5");
    exhausted("x", "/v1/invoices").await;
    send(basic)
        .await
        .is_problem(429, "too_many_wrong_credentials");
    // Without a credential there is nothing to guess, and probes ask for none.
    send(app.request(Method::GET, "/v1/invoices"))
        .await
        .is_problem(401, "missing_credential");
    assert_eq!(send(app.request(Method::GET, "/healthz")).await.status, 200);
    let text = app.metrics_text().await;
    assert!(
        text.contains("sheaf_credentials_turned_away_total "),
        "{text}"
    );
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_guesses() {
    let app = app(20, 1).await;
    let tenant = app.tenant().await;
    let ask = async |from: &str, key: &str| {
        let request = app.get("/v1/invoices", key);
        send(request.header("x-forwarded-for", from)).await
    };
    // What the client itself writes there changes nothing.
    let spoofed = async |n: usize| ask(&format!("10.0.0.{}, 192.0.2.1", n % 250), &wrong(n)).await;
    let (looked_at, refused) = exhaust(spoofed).await;
    assert!((20..40).contains(&looked_at), "{looked_at}");
    refused.is_problem(429, "too_many_wrong_credentials");
    ask("192.0.2.2", &wrong(0))
        .await
        .is_problem(401, "invalid_credential");
    ask("192.0.2.2", &tenant.key).await.is(200);
}

#[tokio::test]
async fn keys_that_were_good_once_are_no_guesses() {
    let app = app(20, 0).await;
    let tenant = app.tenant().await;
    let (revoked, id) = app.api_key(tenant.id, "viewer").await;
    app.revoke(tenant.id, id).await;
    for _ in 0..60 {
        app.read("/v1/invoices", &revoked)
            .await
            .is_problem(401, "revoked_credential");
    }
    app.read("/v1/invoices", &wrong(1))
        .await
        .is_problem(401, "invalid_credential");
}

#[tokio::test]
async fn a_neighbour_who_guesses_shuts_nobody_out() {
    let app = app(5, 0).await;
    let mut tenants = Vec::new();
    for _ in 0..5 {
        let tenant = app.tenant().await;
        tenants.push((app.api_key(tenant.id, "viewer").await.0, tenant));
    }
    // As many at a time as a guesser can have under way, for as long as the others come in.
    let guessing = async |lane: usize| {
        for n in 0.. {
            let key = wrong(1_000_000 * (lane + 1) + n);
            let answer = app.read("/v1/invoices", &key).await;
            assert!(matches!(answer.status.as_u16(), 401 | 429), "{answer}");
        }
    };
    let coming = async {
        exhaust(async |n| app.read("/v1/invoices", &wrong(n)).await).await;
        for (fresh, tenant) in &tenants {
            app.read("/v1/invoices", fresh).await.is(200);
            app.read("/v1/invoices", &tenant.key).await.is(200);
            app.read("/v1/invoices", fresh).await.is(200);
        }
    };
    tokio::select! {
        () = coming => {}
        _ = join_all((0..50).map(guessing)) => unreachable!("guessers go on"),
    }
}

#[tokio::test]
async fn an_admin_key_that_could_be_guessed_waits_and_a_long_one_does_not() {
    let short = "short-admin-key-1";
    let long = "a-longer-admin-key-of-32-letters";
    for (key, status) in [(short, 429), (long, 200)] {
        let app = TestApp::start_with(|config| {
            config.web.admin_key = key.into();
            config.web.guess_limit = Some(RateLimit {
                per_second: NonZeroU32::MIN,
                burst: NonZeroU32::MIN,
            });
        })
        .await;
        exhaust(async |n| app.read("/v1/invoices", &wrong(n)).await).await;
        let answer = app.read("/v1/tenants", key).await;
        assert_eq!(answer.status.as_u16(), status, "{key}");
    }
}

#[tokio::test]
async fn a_short_admin_key_that_its_owner_uses_is_no_easier_to_guess_elsewhere() {
    let short = "short-admin-key-1";
    let long = "a-longer-admin-key-of-32-letters";
    let (owner, guesser) = ("192.0.2.1", "192.0.2.2");
    for (key, elsewhere) in [(short, 429), (long, 200)] {
        let app = TestApp::start_with(|config| {
            config.web.admin_key = key.into();
            config.web.proxies = 1;
            config.web.guess_limit = Some(RateLimit {
                per_second: NonZeroU32::MIN,
                burst: NonZeroU32::MIN,
            });
        })
        .await;
        let ask = async |from: &str, key: &str| {
            let request = app.get("/v1/tenants", key);
            send(request.header("x-forwarded-for", from)).await
        };
        ask(owner, key).await.is(200);
        exhaust(async |n| ask(guesser, &format!("guess-{n}")).await).await;
        let found = ask(guesser, key).await;
        assert_eq!(found.status.as_u16(), elsewhere, "{key}");
        // Whoever guesses beside its owner does not shut the owner out.
        exhaust(async |n| ask(owner, &format!("guess-{n}")).await).await;
        ask(owner, key).await.is(200);
    }
}
