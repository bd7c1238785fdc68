//! Long series with fewer points and the same look: what stands out stays.

/// At most four points for each of `columns` equal stretches of x: the first, the least, the greatest and the last, in their
/// order. A series that is short enough comes back as it is.
pub(crate) fn thin(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let width = (last.0 - first.0) / columns.max(1) as f64;
    if points.len() <= columns.saturating_mul(2) || width <= 0.0 || !width.is_finite() {
        return points.to_vec();
    }
    let column = |point: &(f64, f64)| ((point.0 - first.0) / width) as usize;
    points.chunk_by(|a, b| column(a) == column(b)).flat_map(outline).collect()
}

fn outline(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let by_value = |index: &usize| points.get(*index).map_or(0.0, |(_, value)| *value);
    let indices = 0..points.len();
    let least = indices.clone().min_by(|a, b| by_value(a).total_cmp(&by_value(b))).unwrap_or(0);
    let greatest = indices.max_by(|a, b| by_value(a).total_cmp(&by_value(b))).unwrap_or(0);
    let mut kept = [0, least, greatest, points.len().saturating_sub(1)];
    kept.sort_unstable();
    let mut outline: Vec<(f64, f64)> = kept.iter().filter_map(|index| points.get(*index).copied()).collect();
    outline.dedup();
    outline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_its_ends_and_every_extreme_of_a_column() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x), f64::from(x % 7))).collect();
        points[77_777].1 = 1e6;
        points[33_333].1 = -5.0;
        let thinned = thin(&points, 300);
        assert!(thinned.len() <= 1200, "{}", thinned.len());
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order");
        for kept in [points[0], points[99_999], points[77_777], points[33_333]] {
            assert!(thinned.contains(&kept), "{kept:?}");
        }
    }

    #[test]
    fn a_short_series_comes_back_as_it_is() {
        let points = [(0.0, 1.0), (0.0, 2.0), (1.0, 0.0)];
        assert_eq!(thin(&points, 300), points);
        assert_eq!(thin(&[], 300), []);
    }
}
