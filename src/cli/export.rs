//! CSV files for spreadsheets and other programs. The columns are a promise (docs/export.md): new ones are only added behind.
//!
//! Written a page at a time from one consistent state. Texts that people chose and a spreadsheet would take for a formula get an
//! apostrophe in front.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::OpenOptions,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use csv::{Terminator, WriterBuilder};
use rust_decimal::Decimal;

use super::{
    Context,
    args::{CsvArgs, Export, ExportCommand},
    payments::day,
};
use crate::{
    ids::PayerId,
    jobs::{App, work},
    ledger::{payers, rules::Share},
    money::Money,
    store::{
        Tx, cloud,
        export::{self as rows, UsageRow, Whose},
        payers::list_payer_rows,
    },
    time::{Day, Timestamp},
    usage::{
        compact,
        types::{Quantity, UsageType},
    },
};

const USAGE: [&str; 21] = [
    "record",
    "payer_id",
    "payer",
    "account_id",
    "domain",
    "account",
    "project",
    "usage_type",
    "usage_type_name",
    "resource_id",
    "resource",
    "offering_id",
    "start",
    "end",
    "billing_day",
    "quantity",
    "unit",
    "size_bytes",
    "raw_rows",
    "records",
    "summed_up",
];
const CHARGES: [&str; 15] = [
    "billing_day",
    "payer_id",
    "payer",
    "account_id",
    "domain",
    "account",
    "usage_type",
    "usage_type_name",
    "net_rated",
    "net",
    "tax",
    "gross",
    "currency",
    "postings",
    "settled",
];
const LEDGER: [&str; 19] = [
    "transfer",
    "line",
    "key",
    "kind",
    "at",
    "at_billing_day",
    "posted",
    "payer_id",
    "payer",
    "account_id",
    "domain",
    "account",
    "charged_day",
    "usage_type_name",
    "ledger_account",
    "amount",
    "currency",
    "author",
    "reason",
];
const STANDING: [&str; 18] = [
    "at",
    "billing_day",
    "payer_id",
    "payer",
    "kind",
    "accounts",
    "managed",
    "limit",
    "total",
    "used",
    "used_percent",
    "available",
    "grants_left",
    "money",
    "accrued",
    "per_day",
    "days_left",
    "currency",
];

/// `bursar export …`
pub async fn export(context: &Context, command: ExportCommand) -> anyhow::Result<ExitCode> {
    let ExportCommand::Csv(args) = command;
    let app = context.app().await?;
    let Some(target) = &args.out else {
        write(&app, &args, BufWriter::new(std::io::stdout())).await?;
        return Ok(ExitCode::SUCCESS);
    };
    // Beside the target first: half a file would be taken for a whole one.
    let part = part_of(target);
    let told = |error: std::io::Error| anyhow::anyhow!("{} can not be written: {error}", target.display());
    let file = private().open(&part).map_err(told)?;
    let written = write(&app, &args, BufWriter::new(file)).await;
    let done = written.and_then(|rows| std::fs::rename(&part, target).map(|()| rows).map_err(told));
    if done.is_err() {
        // That it can not be removed changes nothing about what went wrong.
        let _ = std::fs::remove_file(&part);
    }
    let rows = done?;
    let value = serde_json::json!({ "file": target, "rows": rows });
    context.show(&value, |_| format!("{}: {rows} rows.", target.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Names, usage and balances of tenants are in it: for its owner only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// What is written, and for whom.
struct Sheet<'a, W: Write> {
    app: &'a App,
    csv: csv::Writer<W>,
    whose: Whose,
    days: (Day, Day),
    rows: u64,
}

async fn write<W: Write>(app: &App, args: &CsvArgs, out: W) -> anyhow::Result<u64> {
    let mut tx = app.store.read().await?;
    let whose = Whose {
        payer: match &args.payer {
            Some(word) => Some(payers::resolve(&mut tx, word).await?.id),
            None => None,
        },
        account: match &args.account {
            Some(word) => Some(cloud::resolve_account(&mut tx, word).await?.id),
            None => None,
        },
    };
    let csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
    let none = Day::from_number(0);
    let days = match (args.what, &args.from, &args.to) {
        (Export::Standing, None, None) => (none, none),
        (Export::Standing, _, _) => bail!("the standing is of now: leave --from and --to out"),
        (_, Some(from), Some(to)) => (day(from)?, day(to)?),
        _ => bail!("say which days: --from DATE --to DATE (the second one no longer counts)"),
    };
    if args.what != Export::Standing && days.0 >= days.1 {
        bail!("the period from {} to {} has no day", days.0, days.1);
    }
    let mut sheet = Sheet { app, csv, whose, days, rows: 0 };
    match args.what {
        Export::Usage => sheet.usage(&mut tx).await?,
        Export::Charges => sheet.charges(&mut tx).await?,
        Export::Ledger => sheet.ledger(&mut tx).await?,
        Export::Standing => sheet.standing(&mut tx).await?,
    }
    sheet.csv.flush()?;
    Ok(sheet.rows)
}

impl<W: Write> Sheet<'_, W> {
    fn row<const N: usize>(&mut self, cells: &[Cow<'_, str>; N]) -> anyhow::Result<()> {
        self.rows += 1;
        Ok(self.csv.write_record(cells.iter().map(|cell| cell.as_bytes()))?)
    }

    fn instants(&self) -> anyhow::Result<(Timestamp, Timestamp)> {
        let zone = self.app.config.billing.zone;
        self.days.0.start(zone).zip(self.days.1.start(zone)).context("the period is in no calendar")
    }

    fn billing_day(&self, at: Timestamp) -> Cow<'static, str> {
        Day::of(at, self.app.config.billing.zone).map_or(Cow::Borrowed(""), |day| Cow::Owned(day.to_string()))
    }

    async fn usage(&mut self, tx: &mut Tx) -> anyhow::Result<()> {
        self.csv.write_record(USAGE)?;
        self.sums(tx).await?;
        let (from, until) = self.instants()?;
        for rest in rows::list_rests(tx, self.whose, from, until).await? {
            // What came before stands in the sums.
            let (row, begins) = (rest.record, Timestamp::from_ms(rest.until_ms));
            let before = compact::share_before(row.quantity, (row.start_ms, row.end_ms), begins);
            let rest = UsageRow { start_ms: rest.until_ms, quantity: row.quantity - before, ..row };
            self.record(&rest)?;
        }
        let mut last = None;
        loop {
            let page = rows::list_usage(tx, self.whose, from, until, last.as_ref()).await?;
            for row in &page {
                self.record(row)?;
            }
            match page.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => return Ok(()),
            }
        }
    }

    fn record(&mut self, row: &UsageRow) -> anyhow::Result<()> {
        let quantity = quantity_of(row.usage_type);
        let (start, end) = (Timestamp::from_ms(row.start_ms), Timestamp::from_ms(row.end_ms));
        self.row(&[
            hex(&row.key).into(),
            row.payer_id.to_string().into(),
            text(&row.payer),
            text(&row.account_id),
            text(&row.domain),
            text(&row.account),
            text(row.project.as_deref().unwrap_or_default()),
            row.usage_type.to_string().into(),
            work::slug_of(row.usage_type).into(),
            text(&row.resource_id),
            text(&row.resource),
            text(row.offering_id.as_deref().unwrap_or_default()),
            instant(start).into(),
            instant(end).into(),
            self.billing_day(start),
            amount_of(row.quantity, quantity).into(),
            quantity.map_or("", Quantity::word).into(),
            row.size_bytes.map_or_else(String::new, |bytes| bytes.to_string()).into(),
            row.seen.to_string().into(),
            "1".into(),
            yes(false),
        ])
    }

    /// The daily sums in place of records that are gone.
    async fn sums(&mut self, tx: &mut Tx) -> anyhow::Result<()> {
        let zone = self.app.config.billing.zone;
        let mut last = None;
        loop {
            let page = rows::list_sums(tx, self.whose, self.days.0, self.days.1, last.as_ref()).await?;
            for row in &page {
                let quantity = quantity_of(row.usage_type);
                let day = Day::from_number(row.day);
                let period = day.period(zone).context("the period is in no calendar")?;
                self.row(&[
                    format!("sum-{}-{day}-{}", row.account_row, row.line).into(),
                    row.payer_id.to_string().into(),
                    text(&row.payer),
                    text(&row.account_id),
                    text(&row.domain),
                    text(&row.account),
                    text(row.project.as_deref().unwrap_or_default()),
                    row.usage_type.to_string().into(),
                    work::slug_of(row.usage_type).into(),
                    text(&row.resource_id),
                    text(&row.resource),
                    text(row.offering_id.as_deref().unwrap_or_default()),
                    instant(period.start()).into(),
                    instant(period.end()).into(),
                    day.to_string().into(),
                    amount_of(row.quantity, quantity).into(),
                    quantity.map_or("", Quantity::word).into(),
                    row.size_bytes.map_or_else(String::new, |bytes| bytes.to_string()).into(),
                    "".into(),
                    row.records.to_string().into(),
                    yes(true),
                ])?;
            }
            match page.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => return Ok(()),
            }
        }
    }

    async fn charges(&mut self, tx: &mut Tx) -> anyhow::Result<()> {
        self.csv.write_record(CHARGES)?;
        let currency = self.app.config.billing.currency.code().to_owned();
        let mut last = None;
        loop {
            let page = rows::list_charges(tx, self.whose, self.days.0, self.days.1, last.as_ref()).await?;
            for row in &page {
                let (net, tax) = (Money::from_micros(row.posted_net_micros), Money::from_micros(row.posted_tax_micros));
                self.row(&[
                    Day::from_number(row.day).to_string().into(),
                    row.payer_id.to_string().into(),
                    text(&row.payer),
                    text(&row.account_id),
                    text(&row.domain),
                    text(&row.account),
                    row.usage_type.to_string().into(),
                    work::slug_of(row.usage_type).into(),
                    Decimal::new(row.net_nanos, 9).normalize().to_string().into(),
                    net.to_string().into(),
                    tax.to_string().into(),
                    net.plus(tax)?.to_string().into(),
                    currency.as_str().into(),
                    row.postings.to_string().into(),
                    yes(row.unsettled == 0),
                ])?;
            }
            match page.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => return Ok(()),
            }
        }
    }

    async fn ledger(&mut self, tx: &mut Tx) -> anyhow::Result<()> {
        self.csv.write_record(LEDGER)?;
        let (from, until) = self.instants()?;
        let currency = self.app.config.billing.currency.code().to_owned();
        let mut last = None;
        loop {
            let page = rows::list_entries(tx, self.whose, from, until, last.as_ref()).await?;
            for row in &page {
                let at = Timestamp::from_ms(row.at_ms);
                self.row(&[
                    row.transfer_id.to_string().into(),
                    row.line.to_string().into(),
                    text(&row.key),
                    row.kind.as_str().into(),
                    instant(at).into(),
                    self.billing_day(at),
                    instant(Timestamp::from_ms(row.posted_ms)).into(),
                    row.payer_id.to_string().into(),
                    text(&row.payer),
                    text(row.account_id.as_deref().unwrap_or_default()),
                    text(row.domain.as_deref().unwrap_or_default()),
                    text(row.account.as_deref().unwrap_or_default()),
                    row.day.map_or_else(String::new, |day| Day::from_number(day).to_string()).into(),
                    row.usage_type.map_or_else(String::new, work::slug_of).into(),
                    row.ledger_account.as_str().into(),
                    Money::from_micros(row.amount_micros).to_string().into(),
                    currency.as_str().into(),
                    text(&row.author),
                    text(&row.reason),
                ])?;
            }
            match page.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => return Ok(()),
            }
        }
    }

    async fn standing(&mut self, tx: &mut Tx) -> anyhow::Result<()> {
        self.csv.write_record(STANDING)?;
        let now = self.app.clock.now();
        let only = match (self.whose.payer, self.whose.account) {
            (Some(payer), _) => Some(payer),
            (None, Some(account)) => Some(cloud::get_account(tx, account).await?.payer_id),
            (None, None) => None,
        };
        let known: HashMap<PayerId, _> = list_payer_rows(tx).await?.into_iter().map(|row| (row.id, row)).collect();
        let currency = self.app.config.billing.currency.code().to_owned();
        for standing in self.app.standings(tx).await? {
            let Some(payer) = known.get(&standing.payer).filter(|payer| payer.joined_into.is_none()) else { continue };
            if only.is_some_and(|only| only != standing.payer) {
                continue;
            }
            let figures = &standing.figures;
            let percent = match figures.share() {
                Share::Percent(percent) => percent.to_string(),
                Share::NoCreditUnused | Share::NoCreditUsed => String::new(),
            };
            let limit = if standing.managed { figures.limit.to_string() } else { String::new() };
            self.row(&[
                instant(now).into(),
                self.billing_day(now),
                standing.payer.to_string().into(),
                text(&payer.name),
                payer.kind.as_str().into(),
                payer.accounts.to_string().into(),
                yes(standing.managed),
                limit.into(),
                figures.total.to_string().into(),
                figures.used.to_string().into(),
                percent.into(),
                figures.available.to_string().into(),
                figures.grants_left.to_string().into(),
                figures.money.to_string().into(),
                figures.accrued.to_string().into(),
                standing.per_day.to_string().into(),
                standing.days_left.map_or_else(String::new, |days| days.to_string()).into(),
                currency.as_str().into(),
            ])?;
        }
        Ok(())
    }
}

fn quantity_of(usage_type: i64) -> Option<Quantity> {
    i32::try_from(usage_type).ok().and_then(UsageType::from_id).map(|known| known.quantity)
}

fn yes(is: bool) -> Cow<'static, str> {
    Cow::Borrowed(if is { "yes" } else { "no" })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An instant in UTC by RFC 3339, with milliseconds only where there are some.
fn instant(at: Timestamp) -> String {
    at.to_utc().map_or_else(String::new, |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// Hours as decimals, everything else as it was counted.
fn amount_of(quantity: i64, kind: Option<Quantity>) -> String {
    match kind {
        Some(Quantity::Hours) => Decimal::new(quantity, 6).normalize().to_string(),
        _ => quantity.to_string(),
    }
}

/// A text that somebody chose. What a spreadsheet would take for a formula gets an apostrophe in front.
fn text(text: &str) -> Cow<'_, str> {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => {
            Cow::Owned(format!("'{text}"))
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_take_for_a_formula_is_text() {
        for formula in ["=1+1", "+1", "-2", "@sum(a1)", "\t=1", "\r=1", "＝1"] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        assert_eq!(text("ROOT/acme"), "ROOT/acme");
        assert_eq!(text(""), "");
    }

    #[test]
    fn instants_are_utc_and_quantities_plain_decimals() {
        assert_eq!(instant(Timestamp::from_seconds(0)), "1970-01-01T00:00:00Z");
        assert_eq!(instant(Timestamp::from_ms(1)), "1970-01-01T00:00:00.001Z");
        assert_eq!(amount_of(1_500_000, Some(Quantity::Hours)), "1.5");
        assert_eq!(amount_of(1_500_000, Some(Quantity::Bytes)), "1500000");
        assert_eq!(hex(&[0, 255]), "00ff");
    }

    #[test]
    fn cells_are_quoted_as_the_standard_says() {
        let mut csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        csv.write_record(["a,b", "say \"no\"", "two\nlines", "plain"]).unwrap();
        assert_eq!(csv.into_inner().unwrap(), b"\"a,b\",\"say \"\"no\"\"\",\"two\nlines\",plain\r\n");
    }
}
