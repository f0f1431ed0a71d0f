//! What a small cell counts: the same in every run of one binary, whatever the machine does.
//!
//! | counter | is the same |
//! |---|---|
//! | parameters, FLOPs | everywhere, to the last digit |
//! | allocations | on one thread and one type of CPU; fewer than one more a step are let pass |
//! | peak of the live heap | on one thread and one type of CPU, but for [`HEAP`] |
//! | loss | to the last digit on one type of CPU, within [`LOSS`] on others |

use super::baseline::Entry;
use super::finding::{Finding, Verdict, percent};
use crate::attention::Registry;
use crate::bench::{Cell, Worker};
use crate::config::{Card, Request, resolve};
use crate::error::Result;
use crate::tasks;
use crate::train::plan;

/// Steps that are counted, after those that warm up.
pub const STEPS: u64 = 8;

/// Bytes. The thread pool takes a block of 5,016 for its queue a little earlier or later; in 60
/// checks of 12 models nothing else differed, and no allocation.
pub const HEAP: f64 = 8192.0;

/// Relative. f32 rounds differently where vectors are wider or products are fused; the same
/// steps in f64 end within a tenth of this, for all attentions (`tests/check`): Reformer within
/// 2.3e-4, since rounding decides a few of its buckets, the others within 1.2e-7.
pub const LOSS: f64 = 3e-3;

/// Small enough for a second, with everything in it that a model has: several blocks of every
/// pattern, two layers, dropout.
const SMALL: [&str; 4] =
    ["model.length=128", "train.batch=4", "model.dropout=0.1", "model.attention_dropout=0.1"];

/// The cell of a model, on one thread.
pub fn cells(registry: &Registry, models: &[String]) -> Result<Vec<Cell>> {
    let card = Card::of(tasks::find("listops")?)?;
    let sets = SMALL.map(str::to_owned);
    let cell = |name: &str| {
        let variant = registry.get(name)?;
        let config = resolve(&card, &Request { sets: &sets, ..variant.request("quick") })?;
        Ok(Cell { config, sizes: card.sizes(), threads: 1, profile: false })
    };
    models.iter().map(|name| cell(name)).collect()
}

/// Runs a cell in a process of its own and keeps what it counted.
pub fn count(cell: &Cell, steps: u64, registry: &Registry) -> Result<Entry> {
    // A baseline may have been edited.
    cell.config.check()?;
    let plan = plan(&cell.config, registry.get(&cell.config.run.model)?, cell.sizes)?;
    let mut worker = Worker::own(cell)?;
    let parameters = worker.ready.parameters;
    let counted = worker.steps(steps)?;
    worker.end()?;
    let flops = 3.0 * plan.forward * cell.config.train.batch as f64;
    Ok(Entry { cell: cell.clone(), steps, parameters, flops, counted, paces: Vec::new() })
}

/// What each counter was and is. `elsewhere`: why the type of CPU is not the same, where so.
pub fn judge(before: &Entry, now: &Entry, elsewhere: Option<&str>) -> Vec<Finding> {
    let (was, is) = (&before.counted, &now.counted);
    let subject = before.model();
    let mut findings = vec![
        exact(subject, "parameters", before.parameters as f64, now.parameters as f64),
        exact(subject, "FLOPs of a step", before.flops, now.flops),
    ];
    // Another version of a library may take a few blocks more in all, but not at each step.
    let blocks = before.steps as f64 / 2.0;
    for (measure, allowed, was, is) in [
        ("peak live bytes", HEAP, was.peak_live, is.peak_live),
        ("allocations", blocks, was.allocations, is.allocations),
    ] {
        findings.push(match (elsewhere, was, is) {
            // The blocks a product is cut into, and what it packs, follow the caches.
            (Some(why), ..) => Finding::untold(subject, measure, why),
            (_, Some(was), Some(is)) => heap(subject, measure, allowed, was as f64, is as f64),
            _ => Finding::untold(subject, measure, "a binary without the counting allocator"),
        });
    }
    findings.push(loss(subject, before.steps, (was.loss, is.loss), elsewhere.is_none()));
    findings
}

fn exact(subject: &str, measure: &str, was: f64, is: f64) -> Finding {
    let verdict = if was == is { Verdict::Same } else { Verdict::Regression };
    let certainty = "exact: any difference is a change of the model".to_owned();
    finding(subject, measure, verdict, (was, is), certainty)
}

fn heap(subject: &str, measure: &str, allowed: f64, was: f64, is: f64) -> Finding {
    let verdict = match is - was {
        more if more > allowed => Verdict::Regression,
        more if more < -allowed => Verdict::Better,
        _ => Verdict::Same,
    };
    finding(subject, measure, verdict, (was, is), format!("repeats within {allowed}"))
}

fn loss(subject: &str, steps: u64, (was, is): (f64, f64), same_cpu: bool) -> Finding {
    let allowed = if same_cpu { 0.0 } else { LOSS };
    let close = (is - was).abs() <= allowed * was.abs();
    let verdict = if close { Verdict::Same } else { Verdict::Regression };
    let certainty = match same_cpu {
        true => "exact: the same type of CPU".to_owned(),
        false => format!("another type of CPU: within {} %", 100.0 * LOSS),
    };
    let measure = format!("loss after {steps} steps");
    let found = finding(subject, &measure, verdict, (was, is), certainty);
    // The last digits are what a bit is about.
    Finding { change: format!("{:+.1e}", is - was), ..found }
}

fn finding(
    subject: &str,
    measure: &str,
    verdict: Verdict,
    (was, is): (f64, f64),
    certainty: String,
) -> Finding {
    Finding {
        subject: subject.to_owned(),
        measure: measure.to_owned(),
        verdict,
        before: was.to_string(),
        now: is.to_string(),
        change: percent(is / was),
        certainty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_tolerance() {
        let verdict = |found: Finding| found.verdict;
        assert_eq!(verdict(exact("m", "x", 10.0, 10.0)), Verdict::Same);
        assert_eq!(verdict(exact("m", "x", 10.0, 9.0)), Verdict::Regression);
        let heap = |more: f64| verdict(heap("m", "x", 8192.0, 1e6, 1e6 + more));
        assert_eq!((heap(5016.0), heap(-5016.0)), (Verdict::Same, Verdict::Same));
        assert_eq!((heap(8193.0), heap(-8193.0)), (Verdict::Regression, Verdict::Better));
        let (a, b) = (2.3, 2.3 + f64::EPSILON * 2.0);
        assert_eq!(verdict(loss("m", 8, (a, b), true)), Verdict::Regression);
        assert_eq!(verdict(loss("m", 8, (a, b), false)), Verdict::Same);
        assert_eq!(verdict(loss("m", 8, (2.0, 2.01), false)), Verdict::Regression);
        assert_eq!(verdict(loss("m", 8, (2.0, f64::NAN), false)), Verdict::Regression);
    }
}
