//! Percentiles: by nearest rank, which is the canonical one here, and as Prometheus interpolates them.

/// The value at the 1-based rank ⌈q·n⌉ of `sorted` (ascending), `q` in thousandths; the first for `q` 0. `None` of
/// nothing. Of 720 values the 95th percentile is the 684th.
pub fn nearest_rank(sorted: &[f64], thousandths: u32) -> Option<f64> {
    sorted.get(rank(sorted.len(), thousandths)?).copied()
}

/// The 0-based index of the nearest rank. In whole numbers: 0.95 × 720 is not exactly 684 in binary fractions.
pub(crate) fn rank(len: usize, thousandths: u32) -> Option<usize> {
    let rank = (len * thousandths.min(1000) as usize).div_ceil(1000).max(1);
    (len > 0).then(|| rank - 1)
}

/// An interpolated percentile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interpolated {
    /// Its value.
    pub value: f64,
    /// How far it lies from the nearest rank's.
    pub bound: f64,
}

/// What Prometheus' `quantile` and `quantile_over_time` make of `sorted` (ascending): the 0-based rank is q·(n − 1),
/// and between two values it goes in a straight line. Of 720 values the 95th percentile is 0.95·v\[683\] +
/// 0.05·v\[684\], which is 5 % of a gap from the nearest rank. `None` of nothing.
pub fn interpolated(sorted: &[f64], thousandths: u32) -> Option<Interpolated> {
    let thousandths = thousandths.min(1000) as usize;
    let scaled = thousandths * sorted.len().checked_sub(1)?;
    let (below, part) = (scaled / 1000, (scaled % 1000) as f64 / 1000.0);
    let above = (below + 1).min(sorted.len() - 1);
    let gap = sorted[above] - sorted[below];
    let nearest = rank(sorted.len(), thousandths as u32)?;
    let bound = if nearest == below { part * gap } else { (1.0 - part) * gap };
    Some(Interpolated { value: sorted[below] * (1.0 - part) + sorted[above] * part, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_720_values_the_684th_is_the_95th_percentile() {
        let values: Vec<f64> = (1..=720).map(f64::from).collect();
        assert_eq!(nearest_rank(&values, 950), Some(684.0));
        assert_eq!(nearest_rank(&values, 0), Some(1.0));
        assert_eq!(nearest_rank(&values, 1000), Some(720.0));
        assert_eq!(nearest_rank(&[], 950), None);
    }

    #[test]
    fn prometheus_differs_by_a_twentieth_of_one_gap() {
        let mut values = vec![0.0; 684];
        values.resize(720, 1.0);
        let Interpolated { value, bound } = interpolated(&values, 950).unwrap();
        assert!((value - 0.05).abs() < 1e-9 && (bound - 0.05).abs() < 1e-9, "{value} {bound}");
        assert_eq!(interpolated(&[], 950), None);
        assert_eq!(interpolated(&[0.3], 950).unwrap().value, 0.3);
    }
}
