//! How many reads are under way at once: fewer as soon as CloudStack (or something in front of it) says that it is too many,
//! more again while it goes well.
//!
//! Promises: never more than configured, never less than one. Half at the first sign of trouble, and one more after each round
//! of answers without any: trouble that was asked for before the last change says nothing about the number in use now, so a
//! burst of refusals halves once. Knows no time: pauses are the client's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many reads may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPace {
    /// Now.
    pub at_once: usize,
    /// The fewest since the client was made.
    pub fewest: usize,
    /// As configured.
    pub most: usize,
    /// How often it was halved.
    pub halved: u64,
}

/// Lets reads through, shared by all that use one client.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Debug)]
struct State {
    pace: ReadPace,
    under_way: usize,
    /// Answers since the last change.
    good: usize,
}

/// A read that is under way; dropping it makes room.
pub(crate) struct Passage {
    pace: Arc<Pace>,
    /// How often had been halved when it began.
    began: u64,
}

impl Pace {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let pace = ReadPace { at_once: most, fewest: most, most, halved: 0 };
        Self { state: Mutex::new(State { pace, under_way: 0, good: 0 }), room: Notify::new() }
    }

    pub(crate) fn now(&self) -> ReadPace {
        self.lock().pace
    }

    /// Waits until there is room.
    pub(crate) async fn pass(self: &Arc<Self>) -> Passage {
        loop {
            // Whoever makes room between the look and the wait leaves a note behind, so it is not missed.
            if let Some(passage) = self.try_pass() {
                return passage;
            }
            self.room.notified().await;
        }
    }

    fn try_pass(self: &Arc<Self>) -> Option<Passage> {
        let mut state = self.lock();
        if state.under_way >= state.pace.at_once {
            return None;
        }
        state.under_way += 1;
        let began = state.pace.halved;
        if state.under_way < state.pace.at_once {
            // One note stands for any number of places.
            self.room.notify_one();
        }
        Some(Passage { pace: Arc::clone(self), began })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// The server answered.
    pub(crate) fn went_well(self) {
        let mut state = self.pace.lock();
        if self.began < state.pace.halved || state.pace.at_once >= state.pace.most {
            return;
        }
        state.good += 1;
        if state.good >= state.pace.at_once {
            state.good = 0;
            state.pace.at_once += 1;
        }
    }

    /// Too busy, or no answer in time.
    pub(crate) fn went_badly(self) {
        let mut state = self.pace.lock();
        state.good = 0;
        if self.began == state.pace.halved {
            state.pace.halved += 1;
            state.pace.at_once = (state.pace.at_once / 2).max(1);
            state.pace.fewest = state.pace.fewest.min(state.pace.at_once);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut state = self.pace.lock();
        state.under_way = state.under_way.saturating_sub(1);
        drop(state);
        self.pace.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pace: &Arc<Pace>, count: usize) -> Vec<Passage> {
        (0..count).map(|_| pace.try_pass().unwrap()).collect()
    }

    #[test]
    fn a_burst_of_refusals_halves_once_and_answers_restore_step_by_step() {
        let pace = Arc::new(Pace::new(8));
        let burst = take(&pace, 8);
        assert!(pace.try_pass().is_none(), "never more than configured");
        burst.into_iter().for_each(Passage::went_badly);
        assert_eq!(pace.now(), ReadPace { at_once: 4, fewest: 4, most: 8, halved: 1 });
        take(&pace, 4).into_iter().for_each(Passage::went_badly);
        take(&pace, 2).into_iter().for_each(Passage::went_badly);
        take(&pace, 1).into_iter().for_each(Passage::went_badly);
        assert_eq!(pace.now(), ReadPace { at_once: 1, fewest: 1, most: 8, halved: 4 }, "never less than one");
        let mut steps = Vec::new();
        for _ in 0..40 {
            take(&pace, 1).into_iter().for_each(Passage::went_well);
            steps.push(pace.now().at_once);
        }
        steps.dedup();
        assert_eq!(steps, [2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn an_answer_from_before_the_trouble_does_not_count() {
        let pace = Arc::new(Pace::new(2));
        let mut both = take(&pace, 2);
        both.pop().unwrap().went_badly();
        both.pop().unwrap().went_well();
        assert_eq!(pace.now().at_once, 1);
    }

    #[tokio::test]
    async fn who_waits_is_let_through_as_soon_as_there_is_room() {
        let pace = Arc::new(Pace::new(1));
        let first = pace.pass().await;
        let waiting = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { pace.pass().await.went_well() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // One that gives up while it waits takes no place.
        let given_up = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { pace.pass().await.went_well() }
        });
        tokio::task::yield_now().await;
        given_up.abort();
        drop(first);
        waiting.await.unwrap();
        assert_eq!(pace.lock().under_way, 0);
    }
}
