#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use super::*;

fn step(phase: Phase, rate: f64, met: bool) -> Step {
    Step {
        phase,
        rate,
        accepted: rate,
        drained: rate,
        drain_s: 0.0,
        p50_ms: 1.0,
        p99_ms: 1.0,
        p999_ms: 1.0,
        errors: 0.0,
        lag_p99_ms: 0.1,
        missed: if met {
            Vec::new()
        } else {
            vec!["p99<1ms".to_owned()]
        },
        generator_late: false,
        stolen: Some(0.001),
    }
}

fn sweep(steps: Vec<Step>, knee: Knee) -> Sweep {
    let settings = Settings {
        server: "127.0.0.1:1".to_owned(),
        rate: 100.0,
        arrivals: crate::load::arrivals::Arrivals::Poisson,
        warmup_s: 2.0,
        duration_s: 8.0,
        connections: 256,
        threads: 1,
        tenants: 100,
        timeout_s: 10.0,
        mix: crate::load::mix::Mix::default(),
        seed: 1,
    };
    Sweep {
        format: 1,
        started_at: None,
        objective: "p99<1ms".to_owned(),
        settings,
        steps,
        knee,
    }
}

fn search(
    start: f64,
    most: f64,
    mut meets: impl FnMut(Phase, f64, usize) -> bool,
) -> (Vec<Step>, Knee) {
    let mut count = 0;
    let one = |phase, rate| {
        count += 1;
        Ok::<_, Infallible>(step(phase, rate, meets(phase, rate, count)))
    };
    Search {
        start,
        most,
        tolerance: 0.05,
    }
    .run(one)
    .unwrap()
}

#[test]
fn the_knee_is_bracketed_and_confirmed_from_below_and_from_above() {
    for start in [10.0, 5_000.0] {
        let (steps, knee) = search(start, 1e6, |_, rate, _| rate <= 1_234.0);
        let (rate, missed) = (knee.rate.unwrap(), knee.missed_at.unwrap());
        assert!(rate <= 1_234.0 && missed > 1_234.0 && missed / rate <= 1.05);
        assert!(knee.confirmed && steps.last().unwrap().phase == Phase::Confirm);
        assert!(steps.len() < 30, "{}", steps.len());
    }
}

#[test]
fn neither_one_hiccup_nor_one_lucky_step_moves_the_knee() {
    let (steps, knee) = search(100.0, 1e6, |_, rate, count| {
        (rate <= 1_234.0) != (count % 3 == 2)
    });
    let (rate, missed) = (knee.rate.unwrap(), knee.missed_at.unwrap());
    assert!(rate <= 1_234.0 && missed > 1_234.0 && missed / rate <= 1.05);
    assert!(knee.confirmed);
    // It is told, though, how far they went.
    let sweep = sweep(steps, knee);
    assert_eq!(sweep.blur(), Some((100.0, 1_600.0)), "{}", sweep.sentence());
    assert!(
        sweep
            .sentence()
            .contains("missed from 100/s on, others met up to 1,600/s")
    );
    // Its objective is a line in the plot.
    assert!(sweep.html().contains("class=\"limit\""));
}

#[test]
fn a_late_generator_or_a_busy_host_does_not_move_the_knee() {
    let mut count = 0;
    let search = Search {
        start: 100.0,
        most: 1e6,
        tolerance: 0.05,
    };
    let (_, knee) = search
        .run(|phase, rate| {
            count += 1;
            let late = count % 3 != 0;
            Ok::<_, Infallible>(Step {
                generator_late: late && count % 2 == 0,
                stolen: Some(if late { 0.1 } else { 0.0 }),
                ..step(phase, rate, rate <= 1_234.0 && !late)
            })
        })
        .unwrap();
    assert!(knee.rate.unwrap() > 1_170.0, "{knee:?}");
}

#[test]
fn a_knee_that_a_longer_run_refutes_goes_down() {
    let (_, knee) = search(100.0, 1e6, |phase, rate, _| {
        rate <= if phase == Phase::Confirm {
            1_150.0
        } else {
            1_234.0
        }
    });
    assert!(knee.confirmed && (1_050.0..=1_150.0).contains(&knee.rate.unwrap()));
}

#[test]
fn bounds_are_said() {
    let (_, knee) = search(100.0, 300.0, |_, _, _| true);
    assert_eq!(knee.rate, Some(300.0));
    assert!(knee.note.unwrap().contains("above it"));
    let (steps, knee) = search(100.0, 300.0, |_, _, _| false);
    assert!(knee.rate.is_none() && !knee.confirmed && steps.len() < MAX_STEPS);
}
