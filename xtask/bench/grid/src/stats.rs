//! Figures about figures.

/// A median and the bounds within which that of all runs lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The value below which this part of the sorted values lies.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    match sorted.len() {
        0 => 0.0,
        len => {
            let at = part * (len - 1) as f64;
            let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            below + (above - below) * at.fract()
        }
    }
}

/// The median, with an interval by order statistics, which assumes nothing of how the values are distributed. Of fewer than six
/// values it is their range.
pub(crate) fn estimate(values: &[f64]) -> Estimate {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = rank(sorted.len());
    let last = sorted.len().saturating_sub(1);
    Estimate {
        median: quantile(&sorted, 0.5),
        low: sorted.get(rank).copied().unwrap_or(0.0),
        high: sorted.get(last - rank.min(last)).copied().unwrap_or(0.0),
    }
}

/// How many values may be left out at each end: as long as the median lies among the others with 95 %.
fn rank(len: usize) -> usize {
    let (mut probability, mut tail, mut rank) = (0.5f64.powi(len as i32), 0.0, 0);
    // The number of values below the median follows a binomial distribution.
    for below in 0..len / 2 {
        tail += probability;
        if tail > 0.025 {
            break;
        }
        rank = below;
        probability *= (len - below) as f64 / (below + 1) as f64;
    }
    rank
}

/// Jain's index of fairness: 1 if all have the same, 1/n if one has all.
pub(crate) fn jain(values: &[f64]) -> f64 {
    let (sum, squares): (f64, f64) = (values.iter().sum(), values.iter().map(|value| value * value).sum());
    if squares == 0.0 { 0.0 } else { sum * sum / (values.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // David and Nagaraja, Order Statistics, §7.1: of 20 values the 6th to the 15th.
        assert_eq!(rank(20), 5);
        let estimate = estimate(&(1..=20).map(f64::from).collect::<Vec<_>>());
        assert_eq!(estimate, Estimate { median: 10.5, low: 6.0, high: 15.0 });
        assert_eq!((rank(1), rank(5), rank(6)), (0, 0, 0));
    }

    #[test]
    fn fairness_is_between_one_part_and_one() {
        assert_eq!(jain(&[3.0, 3.0, 3.0]), 1.0);
        assert_eq!(jain(&[3.0, 0.0, 0.0, 0.0]), 0.25);
    }
}
