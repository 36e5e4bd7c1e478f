//! Crash points, for the simulation alone: a process that dies right before or right after any of its commits.
//!
//! Outside of [`with_crash_points`] nothing of this is ever looked at but whether it is on. Inside, commits are counted, and at
//! the one that was chosen the work stops for ever: whoever began it is told, drops it, and opens bursar anew on the same data,
//! as after a kill.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

tokio::task_local! {
    static POINTS: CrashPoints;
}

/// Where a process dies, and whether it did. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct CrashPoints(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    commits: AtomicU64,
    /// Twice the commit's number, plus one where it dies behind it; 0 is never.
    dies_at: AtomicU64,
    dead: AtomicBool,
    died: Notify,
}

impl CrashPoints {
    /// Dies before the commit of this number (counted from 1).
    pub fn before_commit(number: u64) -> Self {
        Self::at(number.saturating_mul(2))
    }

    /// Dies after it.
    pub fn after_commit(number: u64) -> Self {
        Self::at(number.saturating_mul(2).saturating_add(1))
    }

    fn at(place: u64) -> Self {
        let points = Self::default();
        points.0.dies_at.store(place, Ordering::SeqCst);
        points
    }

    /// How many commits were made or tried so far.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::SeqCst)
    }

    /// Dies here and now: for what else a process may die between. Never comes back.
    pub async fn die(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
        self.0.died.notify_one();
        std::future::pending::<()>().await;
    }

    /// Comes back once the process is dead.
    pub async fn death(&self) {
        while !self.0.dead.load(Ordering::SeqCst) {
            self.0.died.notified().await;
        }
    }

    async fn stop_at(&self, place: u64) {
        // The dead commit nothing any more, whichever of their tasks comes by.
        if self.0.dead.load(Ordering::SeqCst) || place == self.0.dies_at.load(Ordering::SeqCst) {
            self.die().await;
        }
    }
}

/// Runs the work with crash points. None: it died.
pub async fn with_crash_points<T>(points: &CrashPoints, work: impl Future<Output = T>) -> Option<T> {
    let scoped = POINTS.scope(points.clone(), work);
    tokio::select! {
        biased;
        () = points.death() => None,
        done = scoped => Some(done),
    }
}

/// Whether crash points are on: then things are done one after the other, so that the same commit has the same number each time.
pub fn is_on() -> bool {
    POINTS.try_with(|_| ()).is_ok()
}

/// Takes the crash points along to another thread or task.
pub fn taken_along<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let points = POINTS.try_with(Clone::clone).ok();
    async move {
        match points {
            Some(points) => POINTS.scope(points, work).await,
            None => work.await,
        }
    }
}

/// The number of the commit that is about to be made; the process may die instead.
pub(super) async fn before_commit() -> Option<(CrashPoints, u64)> {
    let points = POINTS.try_with(Clone::clone).ok()?;
    let number = points.0.commits.fetch_add(1, Ordering::SeqCst).saturating_add(1);
    points.stop_at(number.saturating_mul(2)).await;
    Some((points, number))
}

/// That it was made.
pub(super) async fn after_commit(counted: Option<(CrashPoints, u64)>) {
    if let Some((points, number)) = counted {
        points.stop_at(number.saturating_mul(2).saturating_add(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secrets::Secret,
        store::{Store, StoreSettings, runs},
        time::Timestamp,
    };

    async fn put(store: &Store, key: &str) {
        let mut tx = store.begin().await.unwrap();
        runs::put_setting(&mut tx, key, "1", Timestamp::from_ms(0)).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn is_there(store: &Store, key: &str) -> bool {
        let mut tx = store.read().await.unwrap();
        let found = runs::find_setting(&mut tx, key).await.unwrap();
        tx.commit().await.unwrap();
        found.is_some()
    }

    #[tokio::test]
    async fn a_process_dies_right_before_or_right_after_the_chosen_commit_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { data_dir: folder.path().to_owned(), url: Secret::new(""), max_connections: 2 };
        let store = Store::open(&settings).await.unwrap();
        for (points, second) in [(CrashPoints::before_commit(2), false), (CrashPoints::after_commit(2), true)] {
            let name = |which: u32| format!("{second}-{which}");
            let work = async {
                for which in 1..=3 {
                    put(&store, &name(which)).await;
                }
            };
            assert_eq!(with_crash_points(&points, work).await, None);
            assert_eq!(points.commits(), 2);
            let there =
                [is_there(&store, &name(1)).await, is_there(&store, &name(2)).await, is_there(&store, &name(3)).await];
            assert_eq!(there, [true, second, false]);
        }
        let alive = CrashPoints::default();
        assert_eq!(with_crash_points(&alive, put(&store, "alive")).await, Some(()));
        assert_eq!(alive.commits(), 1);
    }

    #[tokio::test]
    async fn who_dies_elsewhere_does_not_come_back_either() {
        let points = CrashPoints::default();
        let done = with_crash_points(&points, async { points.die().await }).await;
        assert_eq!(done, None);
    }
}
