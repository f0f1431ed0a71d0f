//! What a sweep would take: time and memory of each cell, measured and counted here.

use super::SweepArgs;
use super::cell::Cell;
use crate::attention::Registry;
use crate::cli::{estimate, out, start_threads};
use crate::config::Card;
use crate::error::Result;
use crate::tasks;
use crate::train::{micro_batch, plan};
use candle_core::Device;

pub(super) fn dry_run(args: &SweepArgs, cells: &[Cell], registry: &Registry) -> Result<()> {
    start_threads(args.threads)?;
    let mut total = 0.0;
    let mut lines = Vec::new();
    for cell in cells {
        let card = Card::of(tasks::find(&cell.run.task)?)?;
        let variant = registry.get(&cell.run.model)?;
        let mut config = cell.config.clone();
        if args.micro_batch.is_none() {
            config.run.micro_batch = micro_batch(&config, variant, card.sizes(), &Device::Cpu)?;
        }
        let memory = plan(&config, variant, card.sizes())?.needed() / 1e9;
        lines.push(if cell.ended().is_some() {
            format!("{}: done", cell.name())
        } else {
            match estimate::seconds(&config, variant, &card, &Device::Cpu) {
                Ok(seconds) => {
                    total += seconds;
                    let time = estimate::duration(seconds);
                    format!("{}: about {time}, {memory:.2} GB", cell.name())
                }
                Err(error) => format!("{}: {error}", cell.name()),
            }
        });
    }
    let time = estimate::duration(total / args.jobs.max(1) as f64);
    lines.push(format!("about {time} of training in all, measured on one example of each"));
    out::print(|to| lines.iter().try_for_each(|line| writeln!(to, "{line}")))
}
