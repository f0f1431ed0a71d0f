//! What an SVG shows, read as a viewer reads it: words with their boxes, lines, plates.

use resvg::tiny_skia::PathSegment;
use resvg::usvg::{Color, Group, Node, Options, Paint, Path, Rect, Text, Tree, fontdb};
use std::fs;
use std::sync::Arc;

/// An SVG with the typeface of the charts.
fn tree(svg: &str) -> Tree {
    let mut options = Options { font_family: "Roboto".to_owned(), ..Options::default() };
    for name in ["Roboto-Regular", "Roboto-Medium"] {
        let path = format!("{}/src/report/font/{name}.subset.ttf", env!("CARGO_MANIFEST_DIR"));
        let bytes = Arc::new(fs::read(path).unwrap());
        options.fontdb_mut().load_font_source(fontdb::Source::Binary(bytes));
    }
    Tree::from_str(svg, &options).unwrap()
}

/// Everything in a group, in the order of drawing: what comes later covers what came before.
fn drawn(group: &Group) -> Vec<&Node> {
    let mut nodes = Vec::new();
    for node in group.children() {
        match node {
            Node::Group(inner) => nodes.extend(drawn(inner)),
            other => nodes.push(other),
        }
    }
    nodes
}

fn words(text: &Text) -> String {
    text.chunks().iter().map(|chunk| chunk.text()).collect()
}

/// Every text of an SVG with the box it covers, and the picture's size.
pub fn texts(svg: &str) -> (Vec<(String, Rect)>, (f32, f32)) {
    let tree = tree(svg);
    let text = |node: &Node| match node {
        Node::Text(text) => Some((words(text), text.abs_bounding_box())),
        _ => None,
    };
    let found = drawn(tree.root()).into_iter().filter_map(text).collect();
    (found, (tree.size().width(), tree.size().height()))
}

/// Whether a line has a point in the box, looked at in steps of half a pixel.
fn crosses(line: &Path, rect: &Rect) -> bool {
    let Some(data) = line.data().clone().transform(line.abs_transform()) else { return false };
    let mut from = None;
    data.segments().any(|segment| {
        let (PathSegment::MoveTo(to) | PathSegment::LineTo(to)) = segment else { return false };
        let start = match segment {
            PathSegment::LineTo(_) => from.unwrap_or(to),
            _ => to,
        };
        from = Some(to);
        let steps = (2.0 * start.distance(to)).ceil().max(1.0);
        (0..=steps as usize).any(|step| {
            let part = step as f32 / steps;
            let (x, y) = (start.x + part * (to.x - start.x), start.y + part * (to.y - start.y));
            rect.left() < x && x < rect.right() && rect.top() < y && y < rect.bottom()
        })
    })
}

/// No line is drawn over a name: where one runs below it, a white plate lies between them.
/// Returns how many names have a line below.
pub fn assert_no_line_over(name: &str, svg: &str, is_label: impl Fn(&str) -> bool) -> usize {
    let tree = tree(svg);
    let nodes = drawn(tree.root());
    let labels = nodes.iter().enumerate().filter_map(|(at, node)| match node {
        Node::Text(text) if is_label(&words(text)) => Some((at, text)),
        _ => None,
    });
    let mut crossed = 0;
    for (label, text) in labels {
        let rect = text.abs_bounding_box();
        // A pixel of air above and below the letters is the typeface's, not theirs.
        let holds = |plate: &Rect| {
            plate.left() <= rect.left()
                && plate.top() <= rect.top() + 1.0
                && plate.right() >= rect.right()
                && plate.bottom() >= rect.bottom() - 1.0
        };
        let (mut line, mut plate) = (None, None);
        for (at, node) in nodes.iter().enumerate() {
            let Node::Path(path) = node else { continue };
            if path.stroke().is_some() && path.fill().is_none() && crosses(path, &rect) {
                line = Some(at);
            }
            let is_white = path.fill().is_some_and(|fill| match fill.paint() {
                Paint::Color(color) => *color == Color::white(),
                _ => false,
            });
            if is_white && at < label && holds(&path.abs_bounding_box()) {
                plate = Some(at);
            }
        }
        assert!(line < plate, "{name}: a line runs over {:?}", words(text));
        crossed += usize::from(line.is_some());
    }
    crossed
}

pub fn assert_legible(name: &str, svg: &str) {
    let (texts, (width, height)) = texts(svg);
    assert!(texts.len() > 5, "{name}: {texts:?}");
    // Boxes are as high as the typeface, letters lower: two pixels of air are no contact.
    let overlap = |a: &Rect, b: &Rect| {
        a.left() < b.right()
            && b.left() < a.right()
            && a.top() + 2.0 < b.bottom()
            && b.top() + 2.0 < a.bottom()
    };
    for (i, (text, rect)) in texts.iter().enumerate() {
        let inside = rect.left() >= 0.0
            && rect.top() >= 0.0
            && rect.right() <= width
            && rect.bottom() <= height;
        assert!(inside, "{name}: {text:?} leaves the picture: {rect:?} of {width} x {height}");
        for (other, at) in &texts[i + 1..] {
            assert!(!overlap(rect, at), "{name}: {text:?} {rect:?} and {other:?} {at:?}");
        }
    }
}
