//! Reads what `/metrics` shows.

/// One scrape.
#[derive(Clone, Debug)]
pub struct Scrape(String);

impl Scrape {
    /// A scrape of this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The sum over every series of this name whose labels hold all of `labels` (`outcome="filled"`, say). 0 if
    /// there is none: a counter appears with its first event.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (series, value) = rest.rsplit_once(' ')?;
            let of_that_name = series.is_empty() || series.starts_with('{');
            (of_that_name && labels.iter().all(|label| series.contains(label)))
                .then(|| value.parse::<f64>().ok())?
        });
        series.sum()
    }

    /// The text as it came.
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_whole_name_and_labels() {
        let text = "# TYPE x counter\nx{a=\"1\",b=\"2\"} 3\nx{a=\"1\"} 4.5\nx_total 9\ny 7\n";
        let scrape = Scrape::new(text.into());
        assert_eq!(scrape.sum("x", &[]), 7.5);
        assert_eq!(scrape.sum("x", &["a=\"1\"", "b=\"2\""]), 3.0);
        assert_eq!(scrape.sum("y", &[]), 7.0);
        assert_eq!(scrape.sum("z", &[]), 0.0);
    }
}
