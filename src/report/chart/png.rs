//! The SVG that plotters wrote as PNG, rendered by resvg with the typeface the binary carries.
//!
//! Plotters' own bitmaps show ragged rings and uneven text: its circles and letters sit on
//! whole pixels, and it drops the space before each letter. Here SVG and PNG are one picture.

use super::font::{MEDIUM, REGULAR};
use crate::error::{Error, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

/// Pixels per unit of the SVG: 1200 units are 2400 pixels, 20 cm at 300 dpi.
const SCALE: f32 = 2.0;

/// `name` is the file an error is about.
pub fn render(svg: &str, name: &str) -> Result<Vec<u8>> {
    let refuse = |what: &dyn std::fmt::Display| Error::data(name, format!("not drawn: {what}"));
    let mut options = Options { font_family: "Roboto".to_owned(), ..Options::default() };
    for font in [REGULAR, MEDIUM] {
        let source = resvg::usvg::fontdb::Source::Binary(Arc::new(font));
        options.fontdb_mut().load_font_source(source);
    }
    let tree = Tree::from_str(svg, &options).map_err(|error| refuse(&error))?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let pixmap = size.and_then(|size| Pixmap::new(size.width(), size.height()));
    let mut pixmap = pixmap.ok_or_else(|| refuse(&"the picture has no size"))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| refuse(&error))
}
