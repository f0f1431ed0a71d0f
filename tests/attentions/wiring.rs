//! Reversible and recomputed layers against one graph over all of them.

use super::common::{SIZES, batch, classifier, difference, model};
use candle_core::{D, DType, Device, Tensor};
use lra::attention::Registry;
use lra::config::{ModelSection, Pooling, Positions};
use lra::layers::Context;
use lra::train::gradients;

/// Inputs computed back from outputs give the gradients that keeping everything gives, dropout
/// and rotations included.
#[test]
fn layers_computed_again_have_the_gradients_of_one_graph() {
    let registry = Registry::builtin();
    for (name, reversible) in
        [("reformer", true), ("transformer", true), ("reformer", false), ("sinkhorn", false)]
    {
        let section =
            ModelSection { reversible, layers: 3, ..model(Pooling::Mean, Positions::Sinusoid) };
        let variant = registry.get(name).unwrap();
        let (model, weights) = classifier(&section, variant, "", SIZES, DType::F64).unwrap();
        let (vars, batch) = (weights.vars(), batch(&[72, 40, 55], 1));
        let cx = Context::new(batch.mask.clone(), 3).training(7, 0);
        let logits = model.forward(&batch.ids, &cx).unwrap();
        let labels = Tensor::from_slice(&batch.labels, (3, 1), &Device::Cpu).unwrap();
        let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
        let loss = (log_p.gather(&labels, 1).unwrap().sum_all().unwrap() / -3.0).unwrap();
        let graph = loss.backward().unwrap();

        let model = model.recomputing(!reversible);
        let again = gradients(&model, &vars, &batch, 3, (3, 7), &|| false).unwrap().unwrap();
        assert!((again.loss().unwrap() - loss.to_scalar::<f64>().unwrap()).abs() < 1e-13);
        for (name_, var) in &vars {
            let off = difference(&again.by_name[name_], graph.get(var).unwrap());
            // Three layers of sums and differences that should cancel: rounding.
            assert!(off < 1e-12, "{name} {name_}: {off:e}");
        }
    }
}

/// Pieces of the sequence go through the same feed-forward layer.
#[test]
fn pieces_of_the_feed_forward_layer_change_nothing() {
    let registry = Registry::builtin();
    let variant = registry.get("transformer").unwrap();
    let of = |feed_forward_chunks| {
        let section = ModelSection {
            feed_forward_chunks,
            dropout: 0.0,
            ..model(Pooling::Mean, Positions::Sinusoid)
        };
        let (model, weights) = classifier(&section, variant, "", SIZES, DType::F64).unwrap();
        let batch = batch(&[72, 40], 1);
        gradients(&model, &weights.vars(), &batch, 2, (3, 7), &|| false).unwrap().unwrap()
    };
    let whole = of(1);
    for chunks in [2, 5, 100] {
        let parts = of(chunks);
        assert!((whole.loss().unwrap() - parts.loss().unwrap()).abs() < 1e-13);
        for (name, gradient) in &whole.by_name {
            let off = difference(gradient, &parts.by_name[name]);
            assert!(off < 1e-13, "{name} in {chunks} pieces: {off:e}");
        }
    }
}
