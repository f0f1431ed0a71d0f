//! Numbers that JSON has no word for.

use serde::{Deserialize, Deserializer};

/// JSON writes NaN and infinity as `null`; read them back as NaN, so that what a diverged
/// run left can be read.
pub(super) fn or_nan<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or(f64::NAN))
}
