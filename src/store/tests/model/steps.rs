//! What may happen to the store, as plain values: a number that chooses among what there is at that moment is taken modulo
//! how many there are.

use proptest::{collection::vec, option, prelude::*, sample::select};

pub(super) const SOURCES: [&str; 2] = ["one", "two"];
pub(super) const SINKS: [&str; 2] = ["slack", "forward"];

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The door accepts a request; without an id it is one of a provider that has none.
    Accept {
        source: usize,
        id: Option<u8>,
        body: u8,
        repeats: usize,
        window_s: u64,
    },
    /// What did not come by itself.
    Pull {
        source: usize,
        id: u8,
        body: u8,
        is_proven: bool,
        ago_s: u64,
    },
    /// A router claims.
    TakeUp {
        count: usize,
    },
    /// It decides about so many of what it holds.
    Route {
        count: usize,
        decisions: Vec<Shape>,
    },
    /// A sender claims.
    Claim {
        sink: usize,
        want: Want,
    },
    /// Some of all that senders hold, from here on, are settled in one transaction.
    Settle {
        from: usize,
        count: usize,
        outcomes: Vec<Outcome>,
        took_ms: u64,
    },
    /// One that was settled, or taken away, is settled once more; 0 is the latest.
    SettleAgain {
        which: usize,
        outcome: Outcome,
    },
    Requeue {
        which: Vec<usize>,
    },
    Replay {
        which: Vec<usize>,
    },
    Begin,
    /// Who still holds something settles it too late.
    End {
        late: Outcome,
    },
    /// The process ends at once; what it has written is there.
    Kill,
    /// The process ends after all is written.
    Restart,
    /// The power is cut: of what was not synced so much is there, and after that nothing, zeros or old bytes.
    Cut {
        share: f64,
        tail: Tail,
        clock: Set,
    },
    /// The log is moved into the file.
    Checkpoint,
    Pass {
        seconds: u64,
    },
    Set(Set),
    Prune {
        keep_days: Option<u64>,
        is_large: bool,
    },
}

/// How a sender wants what is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) count: usize,
    pub(super) bundle_over: Option<usize>,
    pub(super) by_subject: bool,
    pub(super) is_probe: bool,
}

/// What becomes of a claim; delays are milliseconds.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done(Option<String>),
    Skipped(String),
    Retry(String, i64),
    Dead(String),
    Released(i64),
}

/// A decision of the router.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Routed(Vec<Told>),
    Skipped(Vec<Told>),
    Dead,
}

/// An event: its subject, the sender's own id of it, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) subject: Option<u8>,
    pub(super) own_id: Option<u8>,
    pub(super) to: Vec<Way>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) sink: usize,
    pub(super) is_elsewhere: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    BySubject,
    AllInOrder,
    NoOrder,
    Digest { window_s: i64 },
}

/// What the log's file holds after what was saved of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tail {
    Nothing,
    Zeros,
    Noise,
}

/// What somebody, or nobody, sets the wall clock to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Set {
    /// So much beside what it is.
    Beside { seconds: i64 },
    /// A Pi without a battery.
    Of1970,
}

/// In one sequence.
const PASSAGES_MAX: usize = 40;
const DELAYS_MS: &[i64] = &[0, 0, 1_000, 60_000, 7_200_000];

fn outcome() -> impl Strategy<Value = Outcome> {
    let text = |text: &'static str| Just(text.to_owned());
    prop_oneof![
        4 => Just(Outcome::Done(Some("ok".to_owned()))),
        1 => Just(Outcome::Done(None)),
        1 => text("the queue is full").prop_map(Outcome::Skipped),
        4 => (prop_oneof![text("503"), text("429")], select(DELAYS_MS)).prop_map(|(why, ms)| Outcome::Retry(why, ms)),
        2 => text("400").prop_map(Outcome::Dead),
        2 => select(DELAYS_MS).prop_map(Outcome::Released),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    let kind = prop_oneof![
        6 => Just(Kind::BySubject),
        1 => Just(Kind::AllInOrder),
        1 => Just(Kind::NoOrder),
        1 => select(&[600, 86_400][..]).prop_map(|window_s| Kind::Digest { window_s }),
    ];
    (prop_oneof![3 => Just(0_usize), 1 => Just(1)], prop::bool::weighted(0.2), kind)
        .prop_map(|(sink, is_elsewhere, kind)| Way { sink, is_elsewhere, kind })
}

fn told(ways: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Told>> {
    let one = (option::weighted(0.8, 0..3_u8), option::weighted(0.2, 0..3_u8), vec(way(), ways));
    vec(one.prop_map(|(subject, own_id, to)| Told { subject, own_id, to }), 1..4)
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        8 => told(1..4).prop_map(Shape::Routed),
        1 => told(0..1).prop_map(Shape::Skipped),
        1 => Just(Shape::Dead),
    ]
}

fn want() -> impl Strategy<Value = Want> {
    (1..5_usize, option::weighted(0.4, 0..6_usize), any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(count, bundle_over, by_subject, is_probe)| Want { count, bundle_over, by_subject, is_probe })
}

fn set() -> impl Strategy<Value = Set> {
    let beside = select(&[0, 0, 10, -50, 90, 10_000, -86_400, 86_400][..]);
    prop_oneof![4 => beside.prop_map(|seconds| Set::Beside { seconds }), 1 => Just(Set::Of1970)]
}

fn step() -> impl Strategy<Value = Step> {
    let accept = (0..2_usize, option::weighted(0.8, 0..5_u8), 0..5_u8, 0..3_usize, select(&[60_u64, 3600][..]));
    let pull = (0..2_usize, 0..5_u8, 0..5_u8, any::<bool>(), select(&[0_u64, 60, 7200][..]));
    let cut = (0.0..=1.0_f64, select(&[Tail::Nothing, Tail::Zeros, Tail::Noise][..]), set());
    let prune = (option::of(select(&[0_u64, 1, 30][..])), prop::bool::weighted(0.3));
    let settle = (any::<usize>(), 1..6_usize, vec(outcome(), 1..3), select(&[0_u64, 250][..]));
    let some = || vec(any::<usize>(), 1..3);
    prop_oneof![
        16 => accept.prop_map(|(source, id, body, repeats, window_s)| Step::Accept { source, id, body, repeats, window_s }),
        4 => pull.prop_map(|(source, id, body, is_proven, ago_s)| Step::Pull { source, id, body, is_proven, ago_s }),
        10 => (1..6_usize).prop_map(|count| Step::TakeUp { count }),
        14 => (1..6_usize, vec(shape(), 1..4)).prop_map(|(count, decisions)| Step::Route { count, decisions }),
        20 => (prop_oneof![3 => Just(0_usize), 1 => Just(1)], want()).prop_map(|(sink, want)| Step::Claim { sink, want }),
        20 => settle.prop_map(|(from, count, outcomes, took_ms)| Step::Settle { from, count, outcomes, took_ms }),
        4 => (any::<usize>(), outcome()).prop_map(|(which, outcome)| Step::SettleAgain { which, outcome }),
        3 => some().prop_map(|which| Step::Requeue { which }),
        3 => some().prop_map(|which| Step::Replay { which }),
        3 => Just(Step::Begin),
        2 => outcome().prop_map(|late| Step::End { late }),
        3 => Just(Step::Kill),
        1 => Just(Step::Restart),
        3 => cut.prop_map(|(share, tail, clock)| Step::Cut { share, tail, clock }),
        1 => Just(Step::Checkpoint),
        6 => select(&[1_u64, 30, 60, 600, 3600, 86_400 * 10][..]).prop_map(|seconds| Step::Pass { seconds }),
        3 => set().prop_map(Step::Set),
        3 => prune.prop_map(|(keep_days, is_large)| Step::Prune { keep_days, is_large }),
    ]
}

/// A few steps that belong together, or one.
fn passage() -> impl Strategy<Value = Vec<Step>> {
    let sink = || prop_oneof![3 => Just(0_usize), 1 => Just(1)];
    let begin_again = || prop_oneof![3 => Just(Step::Kill), 1 => Just(Step::Restart)];
    let claim = move || (sink(), want()).prop_map(|(sink, want)| Step::Claim { sink, want });
    let settle = |outcome| Step::Settle { from: 0, count: 1, outcomes: vec![outcome], took_ms: 0 };
    let now = || Outcome::Retry("503".to_owned(), 0);
    let accept = |(source, id, body)| Step::Accept { source, id, body, repeats: 1, window_s: 60 };
    let accepted = (0..2_usize, option::weighted(0.5, 0..9_u8), 0..9_u8).prop_map(accept);
    let routed = (vec(accepted.clone(), 1..3), vec(shape(), 1..3)).prop_map(|(mut steps, decisions)| {
        steps.extend([Step::TakeUp { count: 9 }, Step::Route { count: 9, decisions }]);
        steps
    });
    prop_oneof![
        12 => step().prop_map(|step| vec![step]),
        3 => routed,
        1 => (accepted, 0..60_u64).prop_map(|(accept, seconds)| vec![accept.clone(), Step::Pass { seconds }, accept]),
        // Again and again: what is tried is the cause.
        1 => (claim(), begin_again(), 1..6_usize).prop_map(|(claim, end, times)| vec![vec![claim, end, Step::Begin]; times].concat()),
        1 => (1..3_usize, begin_again(), 1..6_usize)
            .prop_map(|(count, end, times)| vec![vec![Step::TakeUp { count }, end, Step::Begin]; times].concat()),
        // Late, while another tries.
        1 => (claim(), outcome()).prop_map(move |(claim, outcome)| {
            let late = Step::SettleAgain { which: 0, outcome };
            vec![claim.clone(), settle(now()), claim, late]
        }),
        1 => (claim(), any::<usize>()).prop_map(move |(claim, which)| {
            let dead = settle(Outcome::Dead("400".to_owned()));
            vec![claim.clone(), dead, claim.clone(), Step::Requeue { which: vec![which] }, claim]
        }),
    ]
}

/// What is tried in one go.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(passage(), 1..PASSAGES_MAX).prop_map(|passages| passages.concat())
}
