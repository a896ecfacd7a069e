//! The store against a model of it, under any order of what happens to it: deliveries come, and come again; routers and
//! senders claim, settle and are late; people replay and requeue; things are pruned; clocks step; the process is killed and
//! the power is cut, which takes with it what was not synced. After each step the store has to show what the model holds.
//!
//! `HOOKBELL_CASES` says how many sequences are tried. One that fails is made small and printed, and what it was belongs
//! in [`known`], so that it is tried each time.

mod bench;
mod owed;
mod shown;
mod state;
mod steps;

use std::env;

use proptest::{prelude::*, test_runner::Config};

use self::{
    bench::Bench,
    steps::{Kind, Outcome, Set, Shape, Step, Tail, Told, Want, Way, steps},
};

/// A claim's name: a dispatch and which of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    dispatch: i64,
    attempt: i64,
}

/// In an ordinary run.
const CASES: u32 = 24;
/// Making one small that has failed takes no longer, milliseconds.
const SHRINK_MS_MAX: u32 = 120_000;

fn config() -> Config {
    let cases = env::var("HOOKBELL_CASES").map_or(CASES, |text| text.parse().expect("HOOKBELL_CASES is a number"));
    // Nothing is written beside the sources.
    Config { cases, failure_persistence: None, max_shrink_time: SHRINK_MS_MAX, ..Config::default() }
}

/// Does all of it, and looks after each step.
fn run(steps: &[Step]) {
    let mut bench = Bench::new();
    for step in steps {
        bench.take(step);
    }
    bench.finish();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_store_is_what_the_model_says(steps in steps()) {
        run(&steps);
    }
}

/// Sequences in which the store once failed, or would by a small mistake that chance seldom finds.
fn known() -> Vec<Vec<Step>> {
    let slack = |kind| Way { sink: 0, is_elsewhere: false, kind };
    let told = |to| Told { subject: Some(0), own_id: None, to };
    let routed = |count, events| {
        let accept = |id| Step::Accept { source: 0, id: Some(id), body: id, repeats: 0, window_s: 60 };
        let route = Step::Route { count: 9, decisions: vec![Shape::Routed(events)] };
        (0..count).map(accept).chain([Step::TakeUp { count: 9 }, route]).collect::<Vec<_>>()
    };
    let one = Want { count: 1, bundle_over: None, by_subject: false, is_probe: false };
    let bundle = Want { bundle_over: Some(0), ..one };
    let claim = |want| Step::Claim { sink: 0, want };
    let settle = |outcome| Step::Settle { from: 0, count: 1, outcomes: vec![outcome], took_ms: 0 };
    let retry = || Outcome::Retry("503".to_owned(), 0);
    let settle_again = |outcome| Step::SettleAgain { which: 0, outcome };
    // What is tried while the clock steps back is due as before when it is given back.
    let back = Step::Set(Set::Beside { seconds: -86_400 });
    let stepped = [claim(one), back, Step::Kill, Step::Begin];
    // A part of a bundle that somebody still holds is nobody else's.
    let shared = [claim(bundle), settle(retry()), claim(bundle)];
    // Who settles too late changes nothing of what the router has said since.
    let late = [
        claim(one),
        settle(retry()),
        claim(one),
        settle(Outcome::Done(None)),
        Step::Replay { which: vec![0] },
        Step::TakeUp { count: 1 },
        Step::Route { count: 1, decisions: vec![Shape::Dead] },
        settle_again(retry()),
    ];
    // While another tries, too.
    let mut beside = vec![claim(one), settle(retry()), claim(one), settle_again(Outcome::Dead("400".to_owned()))];
    beside.extend([settle(Outcome::Done(None)), settle_again(retry())]);
    // What was given up comes back behind what is under way, and stays there while that waits.
    let requeued = [
        claim(one),
        settle(Outcome::Dead("400".to_owned())),
        claim(one),
        Step::Requeue { which: vec![0] },
        claim(one),
        settle(Outcome::Retry("503".to_owned(), 60_000)),
        claim(one),
        Step::Pass { seconds: 60 },
        claim(one),
        settle(Outcome::Done(None)),
        claim(one),
    ];
    // What crashes us is buried, whoever holds it.
    let crashing = vec![vec![claim(one), Step::Kill, Step::Begin]; 6].concat();
    let routing = vec![vec![Step::TakeUp { count: 2 }, Step::Kill, Step::Begin]; 6].concat();
    let nameless = |seconds| {
        let again = Step::Accept { source: 0, id: None, body: 0, repeats: 0, window_s: 60 };
        vec![again.clone(), Step::Pass { seconds }, again]
    };
    // What is not synced may go, in part, and is done again.
    let cut = |share, tail| {
        vec![claim(one), settle(Outcome::Done(None)), Step::Cut { share, tail, clock: Set::Of1970 }, Step::Begin]
    };
    let by_subject = |count| routed(count, vec![told(vec![slack(Kind::BySubject)])]);
    vec![
        [by_subject(1), stepped.to_vec()].concat(),
        [by_subject(2), shared.to_vec()].concat(),
        [by_subject(1), late.to_vec()].concat(),
        [by_subject(1), beside].concat(),
        [by_subject(2), requeued.to_vec()].concat(),
        [by_subject(2), crashing].concat(),
        [nameless(1), routing].concat(),
        nameless(59),
        nameless(60),
        [by_subject(2), cut(0.0, Tail::Nothing)].concat(),
        [by_subject(2), cut(0.5, Tail::Noise)].concat(),
        [by_subject(2), cut(1.0, Tail::Zeros)].concat(),
    ]
}

#[test]
fn what_once_failed_holds() {
    known().iter().for_each(|steps| run(steps));
}
