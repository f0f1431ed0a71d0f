//! Every option of every attention at values nobody should give: an error that names the key,
//! too little memory said in advance, or a model that runs; never a panic.

use candle_core::Device;
use lra::attention::Registry;
use lra::config::{Card, Request, resolve};
use lra::layers::Context;
use lra::tasks;
use lra::testing::batch;
use lra::train::{build, check_memory};

fn attempt(model: &str, set: &str) -> lra::Result<()> {
    let registry = Registry::builtin();
    let variant = registry.get(model)?;
    let card = Card::of(tasks::find("listops")?)?;
    // 16 of listops' tokens are those that the batch below has.
    let sets: Vec<String> = ["model.length=40", "model.layers=1", set].map(str::to_string).to_vec();
    let request =
        Request { sets: &sets, micro_batch: Some(1), steps: Some(1), ..variant.request("quick") };
    let config = resolve(&card, &request)?;
    check_memory(&config, variant, card.sizes(), &candle_core::Device::Cpu)?;
    let (model, _) = build(&config, variant, card.sizes(), &Device::Cpu)?;
    let batch = batch(&[40, 7], 1);
    let logits = model.forward(&batch.ids, &Context::new(batch.mask, 1).training(1, 0))?;
    logits.to_vec2::<f32>()?;
    Ok(())
}

#[test]
fn no_value_of_an_option_is_a_panic() {
    let (mut fine, mut refused) = (0, 0);
    for variant in Registry::builtin().iter() {
        let defaults = (variant.options)(&toml::Table::new()).unwrap();
        for (key, _) in variant.keys {
            let values: &[&str] = match defaults.get(*key) {
                Some(toml::Value::Integer(_)) => &[
                    "-1",
                    "0",
                    "1",
                    "2",
                    "3",
                    "40",
                    "1000",
                    "4611686018427387904",
                    "9223372036854775806",
                    "9223372036854775807",
                    "[]",
                    "[0]",
                    "[2, 9223372036854775806]",
                    "\"x\"",
                ],
                Some(toml::Value::Float(_)) | None => {
                    &["nan", "inf", "-1.0", "0.0", "1e-300", "1e300", "1", "true"]
                }
                Some(toml::Value::Array(_)) => &["[]", "[1]", "[\"random\", \"random\"]", "1"],
                _ => &["true", "\"x\"", "\"\"", "1", "[]"],
            };
            for value in values {
                match attempt(variant.name, &format!("attention.{key}={value}")) {
                    Ok(()) => fine += 1,
                    Err(error) => {
                        refused += 1;
                        let said = error.to_string();
                        let named = error.exit_code() == 2 && said.contains("attention.");
                        let large = error.exit_code() == 6 && said.contains("GB");
                        assert!(named || large, "{} {key}={value}: {said}", variant.name);
                    }
                }
            }
        }
    }
    assert!(fine > 50 && refused > 50, "{fine} ran, {refused} were refused");
}
