//! How tasks and models are titled and ordered where people read them.
//!
//! What is not listed here (a variant of another crate, say) keeps its own name and comes
//! after the listed ones, in alphabetical order.

/// The tasks of Long Range Arena, in the paper's order. The paper's average is of the first
/// five; later papers add Path-X and count a failure on it as 50 %.
pub const TASKS: [(&str, &str); 6] = [
    ("listops", "ListOps"),
    ("text", "Text"),
    ("retrieval", "Retrieval"),
    ("image", "Image"),
    ("pathfinder", "Pathfinder"),
    (PATHX, "Path-X"),
];

pub const PATHX: &str = "pathx";

const MODELS: [(&str, &str); 12] = [
    (TRANSFORMER, "Transformer"),
    ("transformer-xl", "Transformer-XL"),
    ("local", "Local attention"),
    ("sparse-transformer", "Sparse Transformer"),
    ("longformer", "Longformer"),
    ("linformer", "Linformer"),
    ("reformer", "Reformer"),
    ("sinkhorn", "Sinkhorn"),
    ("synthesizer", "Synthesizer"),
    ("bigbird", "BigBird"),
    ("linear", "Linear Transformer"),
    ("performer", "Performer"),
];

/// The row that speed and memory are compared with.
pub const TRANSFORMER: &str = "transformer";

/// Sorts tasks in the paper's order.
pub fn task_order(name: &str) -> (usize, String) {
    order(&TASKS, name)
}

/// Sorts models in the paper's order.
pub fn model_order(name: &str) -> (usize, String) {
    order(&MODELS, name)
}

pub fn task_title(name: &str) -> &str {
    title(&TASKS, name)
}

pub fn model_title(name: &str) -> &str {
    title(&MODELS, name)
}

/// Whether the task counts in the paper's five-task average.
pub fn in_five(task: &str) -> bool {
    task != PATHX && TASKS.iter().any(|(name, _)| *name == task)
}

fn order(list: &[(&str, &str)], name: &str) -> (usize, String) {
    let known = list.iter().position(|(listed, _)| *listed == name);
    (known.unwrap_or(list.len()), name.to_owned())
}

fn title<'a>(list: &[(&str, &'a str)], name: &'a str) -> &'a str {
    list.iter().find(|(listed, _)| *listed == name).map_or(name, |(_, title)| title)
}
