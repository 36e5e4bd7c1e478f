//! Downloads spans of usage, several pages at once and across the edges of spans, and stores them one after the other.
//!
//! A pipeline: while a span is judged and written, the pages of the next one come in, and are read where they arrive. Spans are
//! stored in order, each with its cursor in one transaction, so that a failure or a cut anywhere loses and doubles nothing.
//! Memory is bounded: one span is being stored, one waits or is being put together, and behind it come at most as many pages as
//! are downloaded at once. Must not: decide which spans are wanted, or judge what is in them.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    ingest::{Downloaded, SpanReader, Spans, Stored},
    sync::{Error, SyncSettings, Window},
};
use crate::{
    cloudstack::{self, Client, UsageQuery, UsageRow},
    ids::RunId,
    store::{Store, crash},
    time::{Clock, Period},
};

/// How often a span is fetched again because its count changed while it was fetched.
const SPAN_TRIES: u32 = 4;
/// Where windows may cross the edges of a span, so many of the usage job's ranges before and behind it are asked for too.
const RANGES_BEFORE: i64 = 2;
const RANGES_BEHIND: i64 = 3;
/// Spans counted ahead of the download.
const COUNTED_AHEAD: usize = 2;

/// Where usage comes from, and in which pieces.
#[derive(Clone)]
pub(super) struct Source {
    client: Client,
    window: Window,
    page_size: u32,
    concurrency: usize,
    span_rows: u64,
    tags: bool,
}

/// A span that is small enough, or can not be cut.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// What is stored of it.
    span: Period,
    /// What is asked for: wider where windows may cross the edges (design 7.4).
    asked: Period,
    count: u64,
}

/// A span that comes in: what was read of its pages, and how many raw rows they had.
struct Arriving {
    piece: Piece,
    reader: SpanReader,
    rows: u64,
    /// Whether every page told the same count.
    steady: bool,
}

/// How arrived spans are stored.
pub(super) struct Target<'a> {
    pub store: &'a Store,
    pub clock: &'a dyn Clock,
    pub settings: &'a SyncSettings,
    pub run: RunId,
    /// The cursor moves to the end of each span.
    pub advance: bool,
}

impl Target<'_> {
    async fn begin(&self, piece: Piece) -> Result<Arriving, Error> {
        let spans = Spans { span: piece.span, zone: self.settings.zone, advance: self.advance };
        Ok(Arriving { piece, reader: SpanReader::begin(self.store, spans).await?, rows: 0, steady: true })
    }
}

impl Source {
    pub(super) fn new(client: &Client, window: Window, page_size: u32, settings: &SyncSettings) -> Self {
        Self {
            client: client.clone(),
            window,
            page_size,
            concurrency: settings.concurrency.max(1),
            span_rows: settings.span_rows.max(1),
            tags: settings.tags,
        }
    }

    /// Fetches and stores spans, in their order; `stored` hears of each. What was stored before an error stays stored.
    pub(super) async fn store_all(
        &self,
        spans: Vec<Period>,
        target: &Target<'_>,
        mut stored: impl FnMut(u64, Stored),
    ) -> Result<(), Error> {
        let mut arriving = std::pin::pin!(self.arriving(spans, target));
        let mut storing: Option<(u64, Storing)> = None;
        loop {
            let arrived = arriving.next().await;
            // The span before comes first, also where this one failed: it is whole.
            if let Some((rows, before)) = storing.take() {
                stored(rows, before.done().await?);
            }
            match arrived {
                None => return Ok(()),
                Some(arrived) => {
                    let arrived = arrived?;
                    let (rows, before) = (arrived.rows, Storing::start(target, arrived.reader));
                    if crash::is_on() {
                        stored(rows, before.done().await?);
                    } else {
                        storing = Some((rows, before));
                    }
                }
            }
        }
    }

    /// The spans in order, whole. Pages of the next ones are asked for while the last ones of a span are under way.
    fn arriving<'a>(
        &'a self,
        spans: Vec<Period>,
        target: &'a Target<'_>,
    ) -> impl Stream<Item = Result<Arriving, Error>> + 'a {
        let pages = stream::iter(spans)
            .map(move |span| {
                let source = self.clone();
                own_task(async move { source.pieces(span).await })
            })
            .buffered(COUNTED_AHEAD)
            .map_ok(move |pieces| {
                stream::iter(pieces.into_iter().flat_map(|piece| self.numbers(piece)).map(Ok::<_, Error>))
            })
            .try_flatten()
            .map(move |job: Result<(Piece, u32), Error>| async move {
                let (piece, number) = job?;
                if piece.count == 0 {
                    return Ok::<_, Error>((piece, number, None));
                }
                Ok((piece, number, Some(self.page(piece.asked, number).await?)))
            })
            .buffered(self.concurrency);
        stream::try_unfold(Box::pin(pages), async move |mut pages| {
            let mut arriving = None;
            while let Some((piece, number, page)) = pages.try_next().await? {
                let mut span = match arriving.take() {
                    Some(span) => span,
                    None => target.begin(piece).await?,
                };
                if let Some(page) = page {
                    Self::take(&mut span, page);
                }
                if u64::from(number) >= self.page_count(piece.count) {
                    return Ok(Some((self.whole(span, target).await?, pages)));
                }
                arriving = Some(span);
            }
            Ok(None)
        })
    }

    fn page_count(&self, rows: u64) -> u64 {
        rows.div_ceil(u64::from(self.page_size))
    }

    /// The pages of a piece; one without rows has a single one, which is not asked for.
    fn numbers(&self, piece: Piece) -> impl Iterator<Item = (Piece, u32)> + use<> {
        let last = u32::try_from(self.page_count(piece.count)).unwrap_or(u32::MAX).max(1);
        (1..=last).map(move |number| (piece, number))
    }

    /// A page, read on a task of its own: the rows of one are made while others arrive.
    async fn page(&self, asked: Period, number: u32) -> Result<cloudstack::Page<UsageRow>, Error> {
        let (client, page_size) = (self.client.clone(), self.page_size);
        let query = UsageQuery { tags: self.tags, ..UsageQuery::all(asked) };
        own_task(async move { Ok(client.usage_page_for(&query, number, page_size).await?) }).await
    }

    /// A span in pieces that are small enough.
    async fn pieces(&self, span: Period) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        let mut todo = vec![span];
        while let Some(span) = todo.pop() {
            let asked = self.window.asked(span);
            let count = self.client.usage_count(asked).await?;
            match self.window.halves(span).filter(|_| count > self.span_rows) {
                Some((first, second)) => todo.extend([second, first]),
                None => pieces.push(Piece { span, asked, count }),
            }
        }
        Ok(pieces)
    }

    fn take(span: &mut Arriving, page: cloudstack::Page<UsageRow>) {
        span.steady &= page.count.unwrap_or(0) == span.piece.count;
        span.rows += page.rows() as u64;
        span.reader.push(Downloaded { rows: page.items, unreadable: page.unreadable as u64 });
    }

    /// A span with all its pages; fetched again where the count moved meanwhile.
    async fn whole(&self, first: Arriving, target: &Target<'_>) -> Result<Arriving, Error> {
        let mut span = first;
        for _ in 1..SPAN_TRIES {
            if span.steady && span.rows == span.piece.count {
                return Ok(span);
            }
            let mut piece = span.piece;
            drop(span);
            piece.count = self.client.usage_count(piece.asked).await?;
            let numbers = 1..=u32::try_from(self.page_count(piece.count)).unwrap_or(u32::MAX);
            let mut pages =
                stream::iter(numbers).map(|number| self.page(piece.asked, number)).buffered(self.concurrency);
            span = target.begin(piece).await?;
            while let Some(page) = pages.try_next().await? {
                Self::take(&mut span, page);
            }
        }
        if span.steady && span.rows == span.piece.count {
            return Ok(span);
        }
        Err(Error::Unsteady(span.piece.span.start().to_string()))
    }
}

impl Window {
    /// What is asked for to judge a span: wider where windows may cross its edges (design 7.4). A record that begins in the span
    /// ends within a range behind it; what overlaps it, within two; and what overlaps that, which decides whether it counts, within
    /// three. So each of two neighbouring spans sees all that the other one judges by. CloudStack lists what lies wholly inside
    /// (facts 3.1).
    fn asked(&self, span: Period) -> Period {
        if self.aligned {
            return span;
        }
        let ranges =
            |count: i64| Duration::from_secs(u64::try_from(self.range_minutes.saturating_mul(60 * count)).unwrap_or(0));
        let end = span.end().plus(ranges(RANGES_BEHIND)).min(self.closed_until).max(span.end());
        Period::new(span.start().minus(ranges(RANGES_BEFORE)), end).unwrap_or(span)
    }

    /// Two halves, neither shorter than a window: on a window's edge where edges are known, anywhere else where they are not.
    /// Below a window's length the margins would be most of what is asked for.
    fn halves(&self, span: Period) -> Option<(Period, Period)> {
        let range_ms = self.range_minutes.checked_mul(60_000).filter(|range| *range > 0)?;
        let length = span.end().as_ms() - span.start().as_ms();
        let windows = length / range_ms;
        if windows < 2 {
            return None;
        }
        // Ranges that divide a day end on whole multiples counted from the day's end, whatever the first one is.
        let second = if self.aligned { (windows / 2) * range_ms } else { length / 2 / 1_000 * 1_000 };
        let middle = span.end().minus(Duration::from_millis(u64::try_from(second).ok()?));
        Some((Period::new(span.start(), middle)?, Period::new(middle, span.end())?))
    }
}

/// A span on its way into the store, off the threads that serve everything else: judging a span keeps one busy for long. Dropping
/// it rolls its transaction back.
struct Storing {
    task: tokio::task::JoinHandle<Option<Result<Stored, crate::store::StoreError>>>,
    cut: CancellationToken,
}

impl Storing {
    fn start(target: &Target<'_>, reader: SpanReader) -> Self {
        let (store, run, now) = (target.store.clone(), target.run, target.clock.now());
        let (cut, runtime) = (CancellationToken::new(), tokio::runtime::Handle::current());
        let cancelled = cut.clone();
        let work = crash::taken_along(async move { reader.store(&store, run, now).await });
        let task = tokio::task::spawn_blocking(move || runtime.block_on(cancelled.run_until_cancelled(work)));
        Self { task, cut }
    }

    async fn done(mut self) -> Result<Stored, Error> {
        match (&mut self.task).await {
            Ok(Some(stored)) => Ok(stored?),
            Ok(None) => Err(Error::CutOff("it was cancelled".to_owned())),
            Err(error) => Err(Error::CutOff(error.to_string())),
        }
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

/// Runs on a task of its own, which ends with whoever waits for it.
async fn own_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    if crash::is_on() {
        return work.await;
    }
    AbortOnDropHandle::new(tokio::spawn(work)).await.map_err(|error| Error::CutOff(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::time::Timestamp;

    fn minute(number: i64) -> Timestamp {
        Timestamp::from_seconds(1_793_491_200 + number * 60)
    }

    fn span(from: i64, until: i64) -> Period {
        Period::new(minute(from), minute(until)).unwrap()
    }

    fn window(range_minutes: i64, aligned: bool) -> Window {
        Window { closed_until: minute(100_000), range_minutes, aggregation_zone: Tz::UTC, aligned }
    }

    #[test]
    fn a_span_is_halved_on_the_edge_of_a_window_where_edges_are_known() {
        let hourly = window(60, true);
        assert_eq!(hourly.asked(span(0, 1_440)), span(0, 1_440));
        assert_eq!(hourly.halves(span(0, 300)), Some((span(0, 180), span(180, 300))));
        // A day that begins in the middle of a window is cut where windows end.
        assert_eq!(hourly.halves(span(20, 180)), Some((span(20, 120), span(120, 180))));
        assert_eq!(hourly.halves(span(0, 60)), None, "a window is never cut");
        assert_eq!(window(1_440, true).halves(span(0, 1_440)), None);
    }

    #[test]
    fn a_span_is_halved_anywhere_where_edges_are_not_known_but_not_below_a_window() {
        let odd = window(35, false);
        assert_eq!(odd.asked(span(100, 200)), span(30, 305));
        assert_eq!(odd.halves(span(0, 142)), Some((span(0, 71), span(71, 142))));
        assert_eq!(odd.halves(span(0, 69)), None);
        let mut todo = vec![span(0, 1_440)];
        let mut pieces = Vec::new();
        while let Some(span) = todo.pop() {
            match odd.halves(span) {
                Some((first, second)) => todo.extend([second, first]),
                None => pieces.push(span),
            }
        }
        assert!(pieces.windows(2).all(|pair| pair[0].end() == pair[1].start()), "nothing lies between pieces");
        assert!(pieces.iter().all(|piece| piece.seconds() >= 35 * 60 && piece.seconds() < 70 * 60));
    }
}
