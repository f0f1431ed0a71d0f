//! How a cost grows with the input.

/// Least-squares slope of ln y over ln x: y grows as x to this power. `None` where all points
/// are at one x, or one of them has no logarithm.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.iter().any(|(x, y)| !(*x > 0.0 && *y > 0.0)) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().fold((0.0, 0.0), |m, p| (m.0 + p.0 / count, m.1 + p.1 / count));
    let up: f64 = logs.iter().map(|p| (p.0 - mean.0) * (p.1 - mean.1)).sum();
    let across: f64 = logs.iter().map(|p| (p.0 - mean.0).powi(2)).sum();
    (across > 0.0).then(|| up / across)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_slope_of_logarithms() {
        let points: Vec<(f64, f64)> =
            [1024.0, 2048.0, 4096.0f64].map(|n| (n, 3.0 * n.powf(1.5))).to_vec();
        assert!((exponent(&points).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(exponent(&points[..1]), None);
        assert_eq!(exponent(&[(8.0, 1.0), (8.0, 2.0)]), None);
        assert_eq!(exponent(&[(8.0, 1.0), (16.0, 0.0)]), None);
        assert_eq!(exponent(&[]), None);
    }
}
