//! Names above vertical marks, none on top of another.

/// A name's place: the row that it stands in, and its left edge, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    /// What is written.
    pub(crate) text: String,
    /// From 0, the lowest.
    pub(crate) row: usize,
    /// Pixels.
    pub(crate) left: f64,
}

/// The most rows of names.
const ROWS: usize = 3;
/// Characters of a name that are shown.
const LONGEST: usize = 22;
/// Pixels between two names.
const GAP: f64 = 8.0;

/// Places `names` at their `x` (pixels, rising) within `width`. If they do not fit into three rows their numbers are shown, from
/// 1; a number that does not fit either is left out.
pub(crate) fn place(names: &[(f64, &str)], width: f64, character: f64) -> Vec<Option<Placed>> {
    let shown = |name: &str| match name.chars().count() {
        length if length > LONGEST => name.chars().take(LONGEST - 1).chain(['…']).collect(),
        _ => name.to_owned(),
    };
    let texts: Vec<(f64, String)> = names.iter().map(|(x, name)| (*x, shown(name))).collect();
    let placed = place_texts(texts, width, character);
    if placed.iter().all(Option::is_some) {
        return placed;
    }
    let numbers = names.iter().enumerate().map(|(index, (x, _))| (*x, (index + 1).to_string())).collect();
    place_texts(numbers, width, character)
}

fn place_texts(texts: Vec<(f64, String)>, width: f64, character: f64) -> Vec<Option<Placed>> {
    let mut ends = [f64::NEG_INFINITY; ROWS];
    let mut one = |(x, text): (f64, String)| {
        let long = text.chars().count() as f64 * character;
        let left = (x + 3.0).min(width - long).max(0.0);
        let row = ends.iter().position(|end| left >= end + GAP)?;
        *ends.get_mut(row)? = left + long;
        Some(Placed { text, row, left })
    };
    texts.into_iter().map(&mut one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(placed: &[Option<Placed>]) -> bool {
        let end = |name: &Placed| name.left + name.text.chars().count() as f64 * 6.0;
        placed.iter().flatten().enumerate().any(|(index, a)| {
            placed
                .iter()
                .flatten()
                .skip(index + 1)
                .any(|b| a.row == b.row && a.left < end(b) && b.left < end(a))
        })
    }

    #[test]
    fn names_that_are_close_stand_in_rows_and_many_become_numbers() {
        let two = place(&[(100.0, "drain a1"), (110.0, "drain a2")], 800.0, 6.0);
        assert_eq!(two.iter().flatten().map(|name| name.row).collect::<Vec<_>>(), [0, 1]);
        assert!(!overlap(&two));
        let many: Vec<(f64, &str)> = (0..9).map(|index| (100.0 + f64::from(index), "a long name")).collect();
        let placed = place(&many, 800.0, 6.0);
        assert!(placed.iter().flatten().all(|name| name.text.len() == 1) && !overlap(&placed), "{placed:?}");
    }

    #[test]
    fn a_name_at_the_right_edge_stays_within() {
        let placed = place(&[(795.0, "the last of them all, with a long name")], 800.0, 6.0);
        let name = placed[0].as_ref().expect("it fits");
        assert!(
            name.text.ends_with('…') && name.left + name.text.chars().count() as f64 * 6.0 <= 800.0,
            "{name:?}"
        );
    }
}
