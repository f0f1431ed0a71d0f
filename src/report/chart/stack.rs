//! Places for labels in a column: each as near to its wish as the others allow.

/// Moves `wishes` apart to at least `gap`, within `low..=high`, in their order. Where they do
/// not fit, the gap shrinks: [`height`] says how much room they need.
pub fn spread(wishes: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by(|a, b| wishes[*a].total_cmp(&wishes[*b]).then(a.cmp(b)));
    let gap = gap.min((high - low) / wishes.len().saturating_sub(1).max(1) as f64);
    let mut places = wishes.to_vec();
    let mut least = low;
    for &at in &order {
        places[at] = places[at].max(least);
        least = places[at] + gap;
    }
    let mut most = high;
    for &at in order.iter().rev() {
        places[at] = places[at].min(most);
        most = places[at] - gap;
    }
    places
}

/// Of a column that holds so many labels.
pub fn height(labels: usize, gap: f64) -> f64 {
    labels as f64 * gap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart_in_their_order() {
        for wishes in [
            vec![50.0; 12],
            vec![0.0, 1.0, 99.0, 98.0, 500.0, -3.0],
            (0..40).map(|i| (i * i % 17) as f64).collect(),
            vec![],
        ] {
            let high = height(wishes.len(), 16.0).max(100.0);
            let places = spread(&wishes, 16.0, 0.0, high);
            for (i, place) in places.iter().enumerate() {
                assert!((0.0..=high).contains(place), "{places:?}");
                for (j, other) in places.iter().enumerate().filter(|(j, _)| *j != i) {
                    // Less the rounding of adding up gaps.
                    assert!((place - other).abs() > 16.0 - 1e-9, "{places:?}");
                    let ordered = wishes[i] >= wishes[j] || place < other;
                    assert!(ordered, "{wishes:?} {places:?}");
                }
            }
        }
    }

    #[test]
    fn who_has_room_stays() {
        assert_eq!(spread(&[10.0, 50.0, 90.0], 16.0, 0.0, 100.0), [10.0, 50.0, 90.0]);
    }
}
