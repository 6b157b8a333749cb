//! What was counted of a pool so far, as plain numbers: two of these, taken at different times, tell what happened
//! between them.

use prometheus::Histogram;
use prometheus::core::Metric;

use super::{Outcome, PoolMetrics};

/// Everything counted of a pool since the process started, or between two moments.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Finished requests, by the place of their outcome in [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// How long they took.
    pub duration: Spread,
    /// How long their first byte took.
    pub first_byte: Spread,
    /// Tokens of text asked.
    pub prompt: u64,
    /// Tokens of text answered.
    pub completion: u64,
}

/// How times are spread over a histogram's buckets.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    /// Upper bounds (seconds), rising, and how many were at most so long.
    buckets: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

impl PoolMetrics {
    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        let count = |outcome: Outcome| {
            let by_code = self.requests.iter().filter_map(|code| code.get()?[outcome as usize].get());
            by_code.map(|counter| counter.get()).sum()
        };
        let (prompt, completion) = self.models.total();
        Totals {
            outcomes: Outcome::ALL.map(count),
            duration: Spread::of(&self.duration),
            first_byte: Spread::of(&self.first_byte),
            prompt,
            completion,
        }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }
}

impl Totals {
    /// Finished requests.
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Those that ended so.
    pub fn ended(&self, is_meant: impl Fn(Outcome) -> bool) -> u64 {
        let each = Outcome::ALL.into_iter().zip(self.outcomes);
        each.filter(|(outcome, _)| is_meant(*outcome)).map(|(_, count)| count).sum()
    }

    /// The share of requests that were served, of those that should have been; `None` if there were none.
    pub fn success_rate(&self) -> Option<f64> {
        let served = self.ended(|outcome| outcome == Outcome::Ok);
        let all = served + self.ended(Outcome::is_failure);
        (all > 0).then(|| served as f64 / all as f64)
    }

    /// What came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut outcomes = self.outcomes;
        outcomes.iter_mut().zip(before.outcomes).for_each(|(now, then)| *now = now.saturating_sub(then));
        Self {
            outcomes,
            duration: self.duration.since(&before.duration),
            first_byte: self.first_byte.since(&before.first_byte),
            prompt: self.prompt.saturating_sub(before.prompt),
            completion: self.completion.saturating_sub(before.completion),
        }
    }

    /// Adds another pool's.
    pub fn add(&mut self, other: &Self) {
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, more)| *sum += more);
        self.duration.add(&other.duration);
        self.first_byte.add(&other.first_byte);
        self.prompt += other.prompt;
        self.completion += other.completion;
    }
}

impl Spread {
    fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let told = metric.get_histogram();
        let buckets = told.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
        Self { buckets: buckets.collect(), count: told.get_sample_count(), sum: told.get_sample_sum() }
    }

    fn since(&self, before: &Self) -> Self {
        // A pool that came later had nothing before.
        let then = |place: usize| before.buckets.get(place).map_or(0, |(_, count)| *count);
        let buckets =
            self.buckets.iter().enumerate().map(|(place, (bound, now))| (*bound, now.saturating_sub(then(place))));
        Self {
            buckets: buckets.collect(),
            count: self.count.saturating_sub(before.count),
            sum: (self.sum - before.sum).max(0.0),
        }
    }

    fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            self.buckets.iter_mut().zip(&other.buckets).for_each(|((_, sum), (_, more))| *sum += more);
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// The mean (seconds); `None` if there is nothing.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The time (seconds) that this share of all did not exceed, as exactly as the buckets tell; `None` if there is
    /// nothing. Beyond the last bucket its bound is all that is known.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = share * self.count as f64;
        let (mut lower, mut below) = (0.0, 0);
        for (bound, count) in &self.buckets {
            if *count as f64 >= rank && *count > below {
                return Some(lower + (bound - lower) * (rank - below as f64) / (count - below) as f64);
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn finish(metrics: &PoolMetrics, outcome: Outcome, milliseconds: u64) {
        let duration = Duration::from_millis(milliseconds);
        metrics.request_finished(200, outcome, duration, Some(duration), None);
    }

    #[test]
    fn two_moments_tell_what_happened_between() {
        let metrics = PoolMetrics::for_pool("totals");
        finish(&metrics, Outcome::Exhausted, 50_000);
        let before = metrics.totals();
        (0..98).for_each(|_| finish(&metrics, Outcome::Ok, 150));
        finish(&metrics, Outcome::Broken, 3_000_000);
        finish(&metrics, Outcome::Rejected, 1);
        metrics.tokens_used(metrics.model("m", true), 3, 4);
        metrics.tokens_used(metrics.model("never", false), 1, 1);
        let between = metrics.totals().since(&before);
        assert_eq!((between.requests(), between.prompt, between.completion), (100, 4, 5));
        assert_eq!(between.success_rate(), Some(98.0 / 99.0), "who is turned away has not failed");
        let median = between.duration.quantile(0.5).unwrap();
        assert!((0.1..=0.25).contains(&median), "{median}");
        assert_eq!(between.first_byte.quantile(0.999), Some(80.0), "the last bound is all that is known");
        assert_eq!(Totals::default().success_rate(), None);
        assert_eq!(Spread::default().quantile(0.5), None);
    }
}
