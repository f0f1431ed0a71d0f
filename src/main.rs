#[global_allocator]
static ALLOCATOR: lra::measure::Counting = lra::measure::Counting;

fn main() {}
