//! `bursar bench`: how fast and in how much memory, each measure on a database of its own, beside its aim.
//!
//! Promises: what is measured is the code that the product runs; making the records is not timed. Figures are data
//! (`--json`), tables only a view of them. docs/benchmarks.md tells how to read them.

mod cloud;
mod enforce;
mod figure;
mod ingest;
mod memory;
mod pages;
mod place;
mod rating;
mod rows;
mod standing;
mod sync;

use std::process::ExitCode;

use figure::Figure;
use place::Place;

use super::{Context, args::BenchArgs, output};

/// What can be measured, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// A sync from a stand-in for CloudStack that answers as fast as it can.
    SyncFast,
    /// A sync from a stand-in as slow as CloudStack: 430 records a second and core.
    SyncReal,
    /// Records at hand become stored ones.
    Ingest,
    /// Stored records are rated and posted.
    Rate,
    /// A month that was rated and posted is rated again.
    ReRate,
    /// Standing and decision of 10,000 accounts.
    Standing,
    /// A run of enforcement, a look for mail, and payments, with a month behind 10,000 accounts.
    Enforce,
    /// Pages opened by tenants, fifty a second, with 10,000 accounts and 13 months of charges.
    Pages,
}

const ALL: [Measure; 8] = [
    Measure::SyncFast,
    Measure::SyncReal,
    Measure::Ingest,
    Measure::Rate,
    Measure::ReRate,
    Measure::Standing,
    Measure::Enforce,
    Measure::Pages,
];
/// The most records of `sync-real`: ten seconds a download.
const MOST_AT_REAL_SPEED: u64 = 8_600;

impl Measure {
    const fn records(self, asked: Option<u64>) -> u64 {
        match (self, asked) {
            (Self::SyncReal, Some(asked)) if asked < MOST_AT_REAL_SPEED => asked,
            (Self::SyncReal, _) => MOST_AT_REAL_SPEED,
            (_, Some(asked)) => asked,
            (Self::ReRate, None) => 1_000_000,
            (Self::SyncFast | Self::Ingest | Self::Rate, None) => 100_000,
            (Self::Standing | Self::Enforce | Self::Pages, None) => 10_000,
        }
    }

    async fn take(self, place: &Place, records: u64) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::SyncFast => sync::fast(place, records).await,
            Self::SyncReal => sync::real(place, records).await,
            Self::Ingest => ingest::ingest(place, records).await,
            Self::Rate => rating::rate(place, records).await,
            Self::ReRate => rating::rate_again(place, records).await,
            Self::Standing => standing::standing(place, standing::ACCOUNTS).await,
            Self::Enforce => enforce::enforce(place, standing::ACCOUNTS, enforce::DAYS).await,
            Self::Pages => pages::pages(place, pages::PAGES, standing::ACCOUNTS, pages::DAYS).await,
        }
    }
}

/// `bursar bench`
pub async fn bench(context: &Context, args: BenchArgs) -> anyhow::Result<ExitCode> {
    let mut figures: Vec<Figure> = Vec::new();
    for measure in ALL.into_iter().filter(|measure| args.only.is_none_or(|only| only == *measure)) {
        let records = measure.records(args.records).max(1);
        for server in [None, args.postgres.as_deref()].into_iter().take(1 + usize::from(args.postgres.is_some())) {
            figures.extend(place::in_place(server, async |place| measure.take(place, records).await).await?);
        }
    }
    context.show(&figures, |figures| {
        let rows = figures.iter().map(Figure::row).collect();
        format!(
            "{}\nOn {} processors. Machines are noisy: read the figures as ratios (docs/benchmarks.md).{}",
            output::table(["measure", "database", "of", "seconds", "a second", "ratio", "memory", "aim", ""], rows),
            std::thread::available_parallelism().map_or(0, usize::from),
            memory::excuse().map(|excuse| format!("\n{excuse}")).unwrap_or_default(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_measure_gives_its_figures() {
        let mut names = Vec::new();
        for measure in ALL {
            let figures = place::in_place(None, async |place| match measure {
                Measure::Standing => standing::standing(place, 20).await,
                Measure::Enforce => enforce::enforce(place, 20, enforce::DAYS).await,
                Measure::Pages => pages::pages(place, 20, 20, standing::DAYS).await,
                _ => measure.take(place, 1_100).await,
            });
            names.extend(figures.await.unwrap().iter().map(|figure| figure.row()[0].clone()));
        }
        let expected =
            "sync-fast sync-real ingest rate post ingest + rate + post insert in bulk re-rate standing enforce \
             look for mail pay pages"
                .to_owned();
        assert_eq!(names.join(" "), expected);
    }
}
