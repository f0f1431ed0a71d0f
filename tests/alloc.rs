//! The counting allocator, installed. One test: others of this process would be counted.

use lra::measure::{Counting, live, peak_live, reset_peak_live};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn counts_to_the_byte() {
    const BLOCK: u64 = 64 << 20;
    // The test harness has another thread, which may allocate a little meanwhile.
    const SLACK: u64 = 64 << 10;
    let near = |a: Option<u64>, b: u64| {
        let a = a.expect("the allocator is installed");
        assert!(a.abs_diff(b) < SLACK, "{a}, expected about {b}");
    };
    let base = live().expect("the allocator is installed");
    assert!(base > 0);

    let mut block = vec![1u8; BLOCK as usize];
    near(live(), base + BLOCK);
    near(peak_live(), base + BLOCK);
    block.reserve_exact(BLOCK as usize);
    near(live(), base + 2 * BLOCK);
    block.shrink_to_fit();
    near(live(), base + BLOCK);
    near(peak_live(), base + 2 * BLOCK);

    reset_peak_live();
    near(peak_live(), base + BLOCK);
    drop(block);
    near(live(), base);
    near(peak_live(), base + BLOCK);
    drop(vec![0u64; BLOCK as usize / 8]);
    near(peak_live(), base + BLOCK);

    // Freed by another thread than it was taken by, many times over.
    reset_peak_live();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (send, receive) = std::sync::mpsc::channel::<Vec<u8>>();
            scope.spawn(move || (1..2000).for_each(|n| send.send(vec![0; n]).unwrap()));
            scope.spawn(move || receive.into_iter().for_each(drop));
        }
    });
    near(live(), base);
    assert!(peak_live() >= live());
}
