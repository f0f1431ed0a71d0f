//! What Sinkhorn's sort and Synthesizer's logits are known to be.

use super::common::{difference, flat, layer, random};
use candle_core::{D, DType, Device, Tensor};
use lra::attention::{Registry, doubly_stochastic};
use lra::layers::{Context, Weights};
use lra::ops::Mask;

const N: usize = 20;

fn of(name: &str, options: &str) -> (Box<dyn lra::attention::Attention>, Weights) {
    layer(Registry::builtin().get(name).unwrap(), options)
}

fn cx(lengths: &[usize]) -> Context {
    Context::new(Mask::from_lengths(lengths, N).unwrap(), 1)
}

/// Rows sum to 1 exactly, columns ever more nearly; a low temperature gives a permutation.
#[test]
fn the_sort_is_doubly_stochastic() {
    let logits = (random(&[2, 16, 16], 1) * 4.0).unwrap();
    let off = |axis: D, iterations: usize| {
        let sums = doubly_stochastic(&logits, iterations).unwrap().sum(axis).unwrap();
        flat(&sums).iter().fold(0f64, |worst, s| worst.max((s - 1.0).abs()))
    };
    let columns = [1, 5, 20, 80].map(|iterations| off(D::Minus2, iterations));
    assert!(columns.windows(2).all(|w| w[1] < w[0]), "{columns:?}");
    assert!(columns[3] < 1e-3, "{columns:?}");
    assert!([1, 5, 20].map(|i| off(D::Minus1, i)).iter().all(|&off| off < 1e-13));
    // Ties take for ever: a few of the 512 stay between 0 and 1.
    let unsure = [1.0, 0.1, 0.01].map(|temperature: f64| {
        let p = doubly_stochastic(&(&logits / temperature).unwrap(), 4000).unwrap();
        flat(&p).iter().filter(|&&p| p > 0.01 && p < 0.99).count()
    });
    assert!(unsure[0] > 2 * unsure[1] && unsure[1] > 2 * unsure[2], "{unsure:?}");
}

/// A sort that leaves every block in its place shows each block twice, which is once.
#[test]
fn a_sort_in_place_is_local_attention() {
    let x = random(&[2, N, 12], 1);
    let (sinkhorn, weights) = of("sinkhorn", "block = 5");
    let (local, _) = of("local", "block = 5");
    let cx = cx(&[N, N]);
    let y = local.forward(&x, &cx).unwrap();
    assert!(difference(&sinkhorn.forward(&x, &cx).unwrap(), &y) > 1e-3);
    // Inputs whose block means are unit vectors along features 0 to 3, and a sort net that
    // reads block i from feature i.
    let block_of = |i: usize| i / 5;
    let mut rows = flat(&random(&[N, 12], 2));
    for block in 0..4 {
        for feature in 0..4 {
            let places = (0..N).filter(|&i| block_of(i) == block);
            let mean: f64 = places.clone().map(|i| rows[12 * i + feature]).sum::<f64>() / 5.0;
            let wanted = f64::from(feature == block);
            places.for_each(|i| rows[12 * i + feature] += wanted - mean);
        }
    }
    let x = Tensor::from_vec(rows, (1, N, 12), &Device::Cpu).unwrap();
    let most = 64usize.div_ceil(5);
    let sort = &weights.vars()["attention.sort.weight"];
    let sharp: Vec<f64> = (0..2 * most * 12)
        .map(|at| if at / 12 % most == at % 12 && at % 12 < 4 { 300.0 } else { 0.0 })
        .collect();
    sort.set(&Tensor::from_vec(sharp, (2 * most, 12), &Device::Cpu).unwrap()).unwrap();
    let cx = Context::new(Mask::from_lengths(&[N], N).unwrap(), 1);
    let (a, b) = (sinkhorn.forward(&x, &cx).unwrap(), local.forward(&x, &cx).unwrap());
    assert!(difference(&a, &b) < 1e-12, "{}", difference(&a, &b));
}

/// Noise in training, other noise for every step, none in evaluation or where it is off.
#[test]
fn gumbel_noise_is_of_training() {
    let x = random(&[2, N, 12], 1);
    let y = |options: &str, cx: Context| of("sinkhorn", options).0.forward(&x, &cx).unwrap();
    let train = |step| cx(&[N, N]).training(step, 0);
    let on = "block = 5";
    assert!(difference(&y(on, train(1)), &y(on, train(2))) > 1e-6);
    assert!(difference(&y(on, train(1)), &y(on, cx(&[N, N]))) > 1e-6);
    let off = "block = 5\ngumbel = false";
    assert_eq!(difference(&y(off, train(1)), &y(off, cx(&[N, N]))), 0.0);
}

/// Logits of zero are the mean over what is valid; logits that are the logarithm of a
/// stochastic matrix are that matrix.
#[test]
fn random_logits_are_the_weights() {
    let (layer, weights) = of("synthesizer", "dot = false");
    let vars = weights.vars();
    let x = random(&[2, N, 12], 1);
    let values = x.broadcast_matmul(&vars["attention.value.weight"].t().unwrap()).unwrap();
    let output = vars["attention.output.weight"].t().unwrap();
    let logits = &vars["attention.random.logits"];
    logits.set(&logits.zeros_like().unwrap()).unwrap();
    let y = layer.forward(&x, &cx(&[N, 13])).unwrap();
    for (b, len) in [(0, N), (1, 13)] {
        let mean = values.get(b).unwrap().narrow(0, 0, len).unwrap().mean_keepdim(0).unwrap();
        let expected = mean.matmul(&output).unwrap().broadcast_as((len, 12)).unwrap();
        let ours = y.get(b).unwrap().narrow(0, 0, len).unwrap();
        assert!(difference(&ours, &expected) < 1e-13);
    }
    let p = candle_nn::ops::softmax(&random(&[2, 64, 64], 9), D::Minus1).unwrap();
    logits.set(&p.log().unwrap()).unwrap();
    let y = layer.forward(&x, &cx(&[N, N])).unwrap();
    let p = p.narrow(1, 0, N).unwrap().narrow(2, 0, N).unwrap();
    let p = p.broadcast_div(&p.sum_keepdim(2).unwrap()).unwrap();
    for b in 0..2 {
        let heads: Vec<Tensor> = (0..2)
            .map(|h| {
                let v = values.get(b).unwrap().narrow(1, 4 * h, 4).unwrap();
                p.get(h).unwrap().matmul(&v).unwrap()
            })
            .collect();
        let expected = Tensor::cat(&heads, 1).unwrap().matmul(&output).unwrap();
        assert!(difference(&y.get(b).unwrap(), &expected) < 1e-13);
    }
}

/// Queries and keys beside logits of zero are softmax attention.
#[test]
fn a_mixture_with_nothing_is_softmax_attention() {
    let (layer, weights) = of("synthesizer", "");
    let x = random(&[2, N, 12], 1);
    let y = of("transformer", "").0.forward(&x, &cx(&[N, 13])).unwrap();
    assert!(difference(&layer.forward(&x, &cx(&[N, 13])).unwrap(), &y) > 1e-4);
    let logits = &weights.vars()["attention.random.logits"];
    logits.set(&logits.zeros_like().unwrap()).unwrap();
    assert!(difference(&layer.forward(&x, &cx(&[N, 13])).unwrap(), &y) < 1e-13);
}

/// `S_i = W2 relu(W1 x_i)` and `S_ij = A_i[j mod p] B_i[j div p]`, written out.
#[test]
fn dense_logits_are_their_formulas() {
    let x = random(&[1, N, 12], 1);
    for kind in ["dense", "factorised-dense"] {
        let (layer, weights) = of("synthesizer", &format!("kinds = [\"{kind}\"]\ndot = false"));
        let vars = weights.vars();
        let (rows, v) = (x.get(0).unwrap(), &vars["attention.value.weight"]);
        let values = rows.matmul(&v.t().unwrap()).unwrap();
        let heads: Vec<Tensor> = (0..2)
            .map(|h| {
                let weight = |name: &str| vars[&format!("attention.{name}")].get(h).unwrap();
                let logits = if kind == "dense" {
                    let hidden = rows.matmul(&weight("dense.hidden")).unwrap().relu().unwrap();
                    hidden.matmul(&weight("dense.output")).unwrap().narrow(1, 0, N).unwrap()
                } else {
                    let a = rows.matmul(&weight("factorised_dense.tiled")).unwrap();
                    let b = rows.matmul(&weight("factorised_dense.repeated")).unwrap();
                    let (a, b) = (a.to_vec2::<f64>().unwrap(), b.to_vec2::<f64>().unwrap());
                    let logit = |i: usize, j: usize| a[i][j % 8] * b[i][j / 8];
                    let all = (0..N * N).map(|at| logit(at / N, at % N)).collect::<Vec<_>>();
                    Tensor::from_vec(all, (N, N), &Device::Cpu).unwrap()
                };
                let p = candle_nn::ops::softmax(&logits, D::Minus1).unwrap();
                p.matmul(&values.narrow(1, 4 * h, 4).unwrap()).unwrap()
            })
            .collect();
        let output = vars["attention.output.weight"].t().unwrap();
        let expected = Tensor::cat(&heads, 1).unwrap().matmul(&output).unwrap();
        let y = layer.forward(&x, &cx(&[N])).unwrap();
        assert!(difference(&y.get(0).unwrap(), &expected) < 1e-13, "{kind}");
    }
}

/// Where logits alone decide, no weight of queries or keys exists; fixed ones are none.
#[test]
fn synthesizer_has_the_weights_it_needs() {
    let names = |options: &str| -> Vec<String> {
        of("synthesizer", options).1.vars().into_keys().collect()
    };
    let alone = names("dot = false");
    assert_eq!(
        alone,
        ["attention.output.weight", "attention.random.logits", "attention.value.weight"]
    );
    let fixed = names("dot = false\ntrained = false");
    assert_eq!(fixed, ["attention.output.weight", "attention.value.weight"]);
    let rank = of("synthesizer", "kinds = [\"factorised-random\"]\nrank = 3").1.vars();
    assert_eq!(rank["attention.factorised_random.rows"].dims(), [2, 64, 3]);
    let one = Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap();
    let weights = of("synthesizer", "weighted = true").1.vars();
    assert_eq!(difference(weights["attention.weights.dot"].as_tensor(), &one), 0.0);
}
