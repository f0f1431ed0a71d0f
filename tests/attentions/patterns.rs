//! What each pattern of listed keys is known to be.

use super::common::{build, difference, flat, layer, random, two_layers};
use candle_core::{D, DType, Device, Tensor, Var};
use lra::attention::{Attention, Registry, Support, sorted};
use lra::layers::{Context, Weights};
use lra::ops::Mask;

const N: usize = 24;

fn variant(name: &str) -> lra::attention::Variant {
    *Registry::builtin().get(name).unwrap()
}

fn cx(lengths: &[usize]) -> Context {
    Context::new(Mask::from_lengths(lengths, N).unwrap(), 1)
}

fn of(name: &str, options: &str) -> Box<dyn Attention> {
    layer(&variant(name), options).0
}

/// Which key each query sees, in any head.
fn seen(name: &str, options: &str, layer: usize) -> Vec<bool> {
    let layer = build(&variant(name), options, (layer, 4), 64, &Weights::new(1)).unwrap();
    match layer.support(N) {
        Support::Listed(blocks) => blocks.union(),
        _ => panic!("{name} lists its keys"),
    }
}

fn assert_seen(name: &str, options: &str, layer: usize, rule: impl Fn(usize, usize) -> bool) {
    for (at, seen) in seen(name, options, layer).into_iter().enumerate() {
        let (i, j) = (at / N, at % N);
        assert_eq!(seen, rule(i, j), "{name} ({options}), layer {layer}: {i} sees {j}");
    }
}

/// The same seed gives layers the same weights, their names being equal; what is wide enough
/// is full attention.
#[test]
fn wide_enough_patterns_are_full_attention() {
    let x = random(&[2, N, 12], 1);
    let cx = cx(&[N, 13]);
    let y = of("transformer", "").forward(&x, &cx).unwrap();
    for (name, options) in [
        ("longformer", "window = 48\nglobal = 0"),
        ("sparse-transformer", "stride = 24\nsummary = 1"),
        ("sparse-transformer", "pattern = \"strided\"\nstride = 24"),
        ("bigbird", "block = 8"),
        ("bigbird", "block = 5\nrandom = 1"),
        ("sinkhorn", "block = 24"),
    ] {
        let other = of(name, options).forward(&x, &cx).unwrap();
        let off = difference(&other, &y);
        assert!(off < 1e-13, "{name} ({options}): {off:e}");
    }
    for (name, options) in [
        ("longformer", "window = 22\nglobal = 0"),
        ("sparse-transformer", "stride = 12\nsummary = 1"),
        ("bigbird", "block = 4\nrandom = 0"),
    ] {
        let other = of(name, options).forward(&x, &cx).unwrap();
        assert!(difference(&other, &y) > 1e-4, "{name} ({options}) is full attention");
    }
}

#[test]
fn sparse_patterns_are_their_formulas() {
    let (l, c) = (5, 2);
    let fixed = "stride = 5\nsummary = 2\n";
    let strided = "pattern = \"strided\"\nstride = 5\nsummary = 2\n";
    let block = |i: usize, j: usize| i / l == j / l;
    let summary = |_: usize, j: usize| j % l >= l - c;
    let window = |i: usize, j: usize| i.abs_diff(j) < l;
    let column = |i: usize, j: usize| i.abs_diff(j).is_multiple_of(l);
    let name = "sparse-transformer";
    assert_seen(name, fixed, 0, |i, j| block(i, j) || summary(i, j));
    assert_seen(name, strided, 0, |i, j| window(i, j) || column(i, j));
    let layers = "combine = \"layers\"\n";
    for (layer, turn) in [(0, 0), (1, 1), (2, 0)] {
        let fixed_ = |i, j| if turn == 0 { block(i, j) } else { summary(i, j) };
        assert_seen(name, &format!("{fixed}{layers}"), layer, fixed_);
        let strided_ = |i, j| if turn == 0 { window(i, j) } else { column(i, j) };
        assert_seen(name, &format!("{strided}{layers}"), layer, strided_);
    }
    let causal = "causal = true\n";
    assert_seen(name, &format!("{fixed}{causal}"), 0, |i, j| {
        j <= i && (block(i, j) || summary(i, j))
    });
    assert_seen(name, &format!("{strided}{causal}"), 0, |i, j| {
        j <= i && (window(i, j) || column(i, j))
    });
    // Two steps reach every pair, one does not.
    for pattern in [fixed, strided] {
        let one = seen(name, pattern, 0);
        assert!(one.contains(&false));
        let two = |i: usize, j: usize| (0..N).any(|k| one[i * N + k] && one[k * N + j]);
        assert!((0..N * N).all(|at| two(at / N, at % N)), "{pattern}");
    }
}

/// By turns of the heads, a head sees one pattern and nothing of the other.
#[test]
fn heads_take_turns() {
    let options = "stride = 5\nsummary = 2\ncombine = \"heads\"";
    let Support::Listed(blocks) = of("sparse-transformer", options).support(N) else { panic!() };
    for (head, rule) in
        [(0, (|i, j| i / 5 == j / 5) as fn(usize, usize) -> bool), (1, |_, j| j % 5 >= 3)]
    {
        let dense = blocks.dense(0, head);
        assert!((0..N * N).all(|at| (dense[at] == 1.0) == rule(at / N, at % N)), "head {head}");
    }
}

#[test]
fn longformer_windows_are_their_formulas() {
    let near = |reach: usize| move |i: usize, j: usize| i.abs_diff(j) <= reach;
    let name = "longformer";
    assert_seen(name, "window = 6\nglobal = 0", 0, near(3));
    let growing = "window = [2, 4, 8]\nglobal = 0";
    for (layer, reach) in [(0, 1), (1, 2), (2, 4), (3, 4)] {
        assert_seen(name, growing, layer, near(reach));
    }
    assert_seen(name, "window = 4\nglobal = 2", 0, |i, j| i < 2 || j < 2 || i.abs_diff(j) <= 2);
    let dilated = "window = 4\nglobal = 0\ndilation = 3\ndilated_heads = 2";
    assert_seen(name, dilated, 0, |i, j| i.abs_diff(j) % 3 == 0 && i.abs_diff(j) <= 6);
    let some = "window = 4\nglobal = 0\ndilation = 3\ndilated_heads = 1";
    let Support::Listed(blocks) = of(name, some).support(N) else { panic!() };
    let [plain, wide] = [0, 1].map(|head| blocks.dense(0, head));
    for at in 0..N * N {
        let off = (at / N).abs_diff(at % N);
        assert_eq!(plain[at] == 1.0, off <= 2);
        assert_eq!(wide[at] == 1.0, off.is_multiple_of(3) && off <= 6);
    }
}

/// With every position global and the global projections those of the window, attention is
/// full.
#[test]
fn longformer_with_all_positions_global_is_full() {
    let x = random(&[2, N, 12], 1);
    let (full, _) = layer(&variant("transformer"), "");
    let (longformer, weights) = layer(&variant("longformer"), "window = 2\nglobal = 24");
    let vars = weights.vars();
    for name in ["query", "key", "value"] {
        let value = vars[&format!("attention.{name}.weight")].as_tensor();
        vars[&format!("attention.global_{name}.weight")].set(value).unwrap();
    }
    let cx = cx(&[N, 13]);
    let [a, b] = [full, longformer].map(|layer| layer.forward(&x, &cx).unwrap());
    assert!(difference(&a, &b) < 1e-13);
}

/// Global blocks, neighbours, and as many others as were asked for: none twice, and others in
/// another head and layer.
#[test]
fn bigbird_draws_its_blocks() {
    let lists = |layer: usize| {
        let options = "block = 2\nrandom = 2";
        let layer = build(&variant("bigbird"), options, (layer, 4), 64, &Weights::new(1));
        let Support::Listed(blocks) = layer.unwrap().support(N) else { panic!() };
        [0, 1].map(|head| blocks.dense(0, head))
    };
    let all = [lists(0), lists(1)];
    for dense in all.iter().flatten() {
        assert!(dense.iter().all(|&times| times <= 1.0), "a key twice");
        let row = |block: usize| -> Vec<usize> {
            let seen = |i: usize| (0..12).filter(|j| dense[i * N + 2 * j] == 1.0).collect();
            let (a, b): (Vec<usize>, Vec<usize>) = (seen(2 * block), seen(2 * block + 1));
            assert_eq!(a, b);
            a
        };
        for block in 0..12 {
            let seen = row(block);
            let expected = match block {
                0 | 11 => 12,
                1 | 10 => 4 + 2,
                _ => 5 + 2,
            };
            assert_eq!(seen.len(), expected, "block {block}: {seen:?}");
            for must in [0, block.saturating_sub(1), block, (block + 1).min(11), 11] {
                assert!(seen.contains(&must), "block {block}: {seen:?}");
            }
        }
    }
    assert_ne!(all[0][0], all[0][1], "heads have one graph");
    assert_ne!(all[0][0], all[1][0], "layers have one graph");
    assert_eq!(lists(0), all[0], "the graph is drawn anew");
}

/// Tokens of ETC see all and are seen by all.
#[test]
fn bigbird_tokens_are_global() {
    let options = "form = \"etc\"\nblock = 3\nrandom = 0\ntokens = 2";
    assert_seen("bigbird", options, 0, |i, j| {
        let block = |i: usize| (i - 2) / 3;
        i < 2 || j < 2 || block(i).abs_diff(block(j)) <= 1
    });
}

/// Without gradient a segment sees what came before it: the outputs say so, the slopes do not.
#[test]
fn transformer_xl_stops_gradients() {
    let layer = of("transformer-xl", "segment = 6\nmemory = 6");
    let x = Var::from_tensor(&random(&[1, N, 12], 1)).unwrap();
    let y = layer.forward(&x, &cx(&[N])).unwrap();
    let third = y.narrow(1, 12, 6).unwrap();
    let slope = third.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let slope = flat(slope.get(&x).unwrap());
    for i in 0..N {
        let size = slope[12 * i..][..12].iter().fold(0f64, |a, s| a.max(s.abs()));
        assert_eq!(size > 0.0, (12..18).contains(&i), "position {i}: {size}");
    }
    assert_seen("transformer-xl", "segment = 6\nmemory = 6", 0, |i, j| {
        j / 6 == i / 6 || j / 6 + 1 == i / 6
    });
    // A memory that is no multiple of the segment.
    assert_seen("transformer-xl", "segment = 6\nmemory = 4", 0, |i, j| {
        let start = i / 6 * 6;
        (start.saturating_sub(4)..start + 6).contains(&j)
    });
}

/// Segment by segment with the states before it, as the paper runs it, two layers deep.
#[test]
fn transformer_xl_is_its_recurrence() {
    let options = "segment = 6\nmemory = 6";
    let (layers, _) = two_layers(&variant("transformer-xl"), options);
    let x = random(&[1, N, 12], 1);
    let forward = |layer: usize, x: &Tensor| {
        let n = x.dim(1).unwrap();
        let cx = Context::new(Mask::from_lengths(&[n], n).unwrap(), 1);
        layers[layer].forward(x, &cx).unwrap()
    };
    let whole = forward(1, &forward(0, &x));
    let mut states = [None, None];
    for segment in 0..4 {
        let mut h = x.narrow(1, 6 * segment, 6).unwrap();
        for (layer, memory) in states.iter_mut().enumerate() {
            let with = match memory.take() {
                Some(memory) => Tensor::cat(&[&memory, &h], 1).unwrap(),
                None => h.clone(),
            };
            *memory = Some(h.clone());
            let y = forward(layer, &with);
            h = y.narrow(1, y.dim(1).unwrap() - 6, 6).unwrap();
        }
        let off = difference(&h, &whole.narrow(1, 6 * segment, 6).unwrap());
        assert!(off < 1e-13, "segment {segment}: {off:e}");
    }
}

/// Without relative terms a segment that covers everything is full attention, and with them
/// it is not, and knows no absolute place.
#[test]
fn transformer_xl_without_positions_is_full() {
    let x = random(&[2, N, 12], 1);
    let y = of("transformer", "").forward(&x, &cx(&[N, 13])).unwrap();
    let (layer, weights) = layer(&variant("transformer-xl"), "segment = 30\nmemory = 0");
    assert!(difference(&layer.forward(&x, &cx(&[N, 13])).unwrap(), &y) > 1e-4);
    for (name, var) in weights.vars() {
        if name.starts_with("shared") || name.contains("relative") {
            var.set(&var.zeros_like().unwrap()).unwrap();
        }
    }
    assert!(difference(&layer.forward(&x, &cx(&[N, 13])).unwrap(), &y) < 1e-13);
}

/// `softmax(q k^T / |k|) v` without the own key: full attention with shared queries and keys.
fn shared(x: &Tensor, vars: &std::collections::BTreeMap<String, Var>) -> Tensor {
    let project = |name: &str| {
        let weight = vars[&format!("attention.{name}.weight")].t().unwrap();
        x.broadcast_matmul(&weight).unwrap()
    };
    let split =
        |x: Tensor| x.reshape((1, N, 2, 4)).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
    let (q, v) = (split(project("query")), split(project("value")));
    let length = q.sqr().unwrap().sum_keepdim(3).unwrap().sqrt().unwrap();
    let k = q.broadcast_div(&length).unwrap();
    let scores = q.matmul(&k.t().unwrap().contiguous().unwrap()).unwrap();
    let own = (Tensor::eye(N, DType::F64, &Device::Cpu).unwrap() * -1e5).unwrap();
    let p = candle_nn::ops::softmax(&scores.broadcast_add(&own).unwrap(), D::Minus1).unwrap();
    let o = p.matmul(&v).unwrap().transpose(1, 2).unwrap().reshape((1, N, 8)).unwrap();
    o.broadcast_matmul(&vars["attention.output.weight"].t().unwrap()).unwrap()
}

/// With all in one bucket, or chunks that see half and half, every round sees all.
#[test]
fn reformer_that_sees_all_is_full() {
    let x = random(&[1, N, 12], 1);
    for options in ["chunk = 24\nrounds = 1", "chunk = 12\nbuckets = 8\nrounds = 3"] {
        let (layer, weights) = layer(&variant("reformer"), options);
        let y = layer.forward(&x, &cx(&[N])).unwrap();
        assert!(difference(&y, &shared(&x, &weights.vars())) < 1e-13, "{options}");
    }
    let (layer, weights) = layer(&variant("reformer"), "chunk = 4\nbuckets = 8");
    let y = layer.forward(&x, &cx(&[N])).unwrap();
    assert!(difference(&y, &shared(&x, &weights.vars())) > 1e-3);
}

/// More rounds come closer to seeing all; other rotations are drawn each step of training.
#[test]
fn reformer_rounds_and_rotations() {
    let x = random(&[1, N, 12], 1);
    let error = |rounds: usize| {
        // The mean over draws: one draw may be lucky.
        (0..20)
            .map(|step| {
                let options = format!("chunk = 4\nbuckets = 6\nrounds = {rounds}");
                let (layer, weights) = layer(&variant("reformer"), &options);
                let y = layer.forward(&x, &cx(&[N]).training(step, 0)).unwrap();
                let off = (y - shared(&x, &weights.vars())).unwrap();
                off.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap()
            })
            .sum::<f64>()
    };
    let errors = [1, 4, 16].map(error);
    assert!(errors[0] > 1.5 * errors[1] && errors[1] > 1.5 * errors[2], "{errors:?}");
    let layer = of("reformer", "chunk = 4\nbuckets = 6");
    let at = |step| layer.forward(&x, &cx(&[N]).training(step, 0)).unwrap();
    assert!(difference(&at(1), &at(2)) > 1e-6);
}

/// Chunks of the sorted sequence see themselves and the one before, and nothing farther.
#[test]
fn reformer_chunks_are_a_ring() {
    let buckets: Vec<u32> = (0..N as u32).map(|i| i * 7 % 5).collect();
    let mask = Mask::from_lengths(&[N], N).unwrap();
    let tensor = Tensor::from_slice(&buckets, (1, 1, 1, N), &Device::Cpu).unwrap();
    let blocks = sorted(&tensor, 5, &mask, (4, 1, 0)).unwrap();
    let dense = blocks.dense(0, 0);
    let mut order: Vec<usize> = (0..N).collect();
    order.sort_by_key(|&i| (buckets[i], i));
    let chunk = |i: usize| order.iter().position(|&p| p == i).unwrap() / 4;
    for i in 0..N {
        for j in 0..N {
            let expected = chunk(j) == chunk(i) || chunk(j) == (chunk(i) + 5) % 6;
            assert_eq!(dense[i * N + j] == 1.0, expected, "{i} {j}");
        }
    }
}
