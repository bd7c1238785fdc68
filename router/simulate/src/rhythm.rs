//! When a registry is asked more and when less: the hour, the day, and a wandering of its own.

use std::f64::consts::{FRAC_2_PI, PI};

use crate::chance::{Purpose, around_one, normal, stream};
use crate::region::{BINS, BINS_OF_A_DAY};
use crate::truth::Draw;

/// Shape of a registry's demand over time; its mean over the peak window is about 1.
#[derive(Clone, Debug)]
pub struct Rhythm {
    /// How far the hour of the day carries demand up and down.
    pub amplitude: f64,
    /// Bins by which its peak comes after the middle of the window; 360 is a quarter of a day.
    pub late: f64,
    /// What a minute keeps of the wandering of the one before.
    pub rho: f64,
    /// Sigma of the wandering (a log-normal, at rest).
    pub sigma: f64,
    /// Growth by day: 0.03 is 3 % more each day than the day before.
    pub growth: f64,
    /// Factors of days, over and over; 1 if empty. Seven are a week.
    pub days: Vec<f64>,
    /// Sigma of a day's own log-normal factor: no day is like the last.
    pub day_sigma: f64,
}

impl Rhythm {
    /// Half a sine over the peak window, times an AR(1) log-normal.
    pub fn daily(amplitude: f64, sigma: f64) -> Self {
        Self { amplitude, late: 0.0, rho: 0.9, sigma, growth: 0.0, days: Vec::new(), day_sigma: 0.0 }
    }

    /// Without hours and wandering.
    pub fn flat() -> Self {
        Self::daily(0.0, 0.0)
    }

    /// Factors of `bins` bins for a registry, from the first of the day's peak window.
    pub(crate) fn series(&self, draw: Draw, registry: u64, bins: usize) -> Vec<f64> {
        let mut chance = stream(Purpose::Rhythm, &[draw.seed, registry, draw.key()]);
        let step = self.sigma * (1.0 - self.rho * self.rho).max(0.0).sqrt();
        let mut wander = self.sigma * normal(&mut chance);
        let mut of_day = around_one(&mut chance, self.day_sigma);
        (0..bins)
            .map(|bin| {
                wander = self.rho * wander + step * normal(&mut chance);
                if bin > 0 && bin % BINS_OF_A_DAY == 0 {
                    of_day = around_one(&mut chance, self.day_sigma);
                }
                let day = i64::from(draw.day) + (bin / BINS_OF_A_DAY) as i64;
                let week = match self.days.len() {
                    0 => 1.0,
                    count => self.days[day.rem_euclid(count as i64) as usize],
                };
                let hour = ((bin as f64 - self.late) * PI / BINS as f64).sin();
                (1.0 + self.amplitude * (hour - FRAC_2_PI)).max(0.02)
                    * (wander - self.sigma * self.sigma / 2.0).exp()
                    * of_day
                    * week
                    * (1.0 + self.growth).powf(day as f64)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw = Draw { seed: 1, day: 0 };

    fn mean(series: &[f64]) -> f64 {
        series.iter().sum::<f64>() / series.len() as f64
    }

    #[test]
    fn a_peak_window_has_mean_one_and_its_peak_in_the_middle() {
        let rhythm = Rhythm::daily(0.5, 0.0);
        let series = rhythm.series(DRAW, 1, BINS);
        assert!((mean(&series) - 1.0).abs() < 0.01, "{}", mean(&series));
        assert!(series[BINS / 2] > 1.15 && series[0] < 0.7, "{} {}", series[BINS / 2], series[0]);
    }

    #[test]
    fn wandering_keeps_the_mean_and_its_memory() {
        let rhythm = Rhythm::daily(0.0, 0.35);
        let series = rhythm.series(DRAW, 9, 60_000);
        assert!((mean(&series) - 1.0).abs() < 0.03, "{}", mean(&series));
        let logs: Vec<f64> = series.iter().map(|value| value.ln()).collect();
        let centre = mean(&logs);
        let spread: f64 = logs.iter().map(|log| (log - centre).powi(2)).sum();
        let together: f64 = logs.windows(2).map(|two| (two[0] - centre) * (two[1] - centre)).sum();
        assert!((together / spread - 0.9).abs() < 0.02, "{}", together / spread);
    }

    #[test]
    fn days_of_a_week_and_growth_show() {
        let week = vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.6, 0.5];
        let rhythm = Rhythm { days: week, growth: 0.1, ..Rhythm::flat() };
        let series = rhythm.series(DRAW, 1, 14 * BINS_OF_A_DAY);
        assert!((series[5 * BINS_OF_A_DAY] - 0.6 * 1.1_f64.powi(5)).abs() < 1e-9);
        assert!((series[13 * BINS_OF_A_DAY] - 0.5 * 1.1_f64.powi(13)).abs() < 1e-9);
        assert_eq!(rhythm.series(Draw { day: 5, ..DRAW }, 1, 1), [series[5 * BINS_OF_A_DAY]]);
    }
}
