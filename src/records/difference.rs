//! Two configurations side by side.

use serde_json::Value;

/// One line per key that differs: `train.steps: 200 there, 500 here`. Order of keys is no
/// difference; lists are compared whole.
pub(super) fn differences(there: &Value, here: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", Some(there), Some(here), &mut lines);
    lines
}

fn walk(key: &str, there: Option<&Value>, here: Option<&Value>, lines: &mut Vec<String>) {
    let child = |name: &str| match key {
        "" => name.to_owned(),
        _ => format!("{key}.{name}"),
    };
    match (there, here) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (name, value) in a {
                walk(&child(name), Some(value), b.get(name), lines);
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                walk(&child(name), None, Some(value), lines);
            }
        }
        _ if there == here => {}
        _ => {
            let key = if key.is_empty() { "configuration" } else { key };
            lines.push(format!(
                "{}: {} there, {} here",
                key.escape_debug(),
                show(there),
                show(here)
            ));
        }
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_differing_key_once() {
        let there = json!({"a": 1, "train": {"steps": 200, "lr": 0.1, "old": true}, "l": [1, 2]});
        let here = json!({"l": [1, 3], "train": {"lr": 0.1, "new": "x\ny", "steps": 500}, "a": 1});
        assert_eq!(
            differences(&there, &here),
            [
                "train.steps: 200 there, 500 here",
                "train.old: true there, absent here",
                "train.new: absent there, \"x\\ny\" here",
                "l: [1,2] there, [1,3] here",
            ]
        );
        assert_eq!(differences(&there, &there), [""; 0]);
        assert_eq!(differences(&json!(3), &json!({})), ["configuration: 3 there, {} here"]);
        let nested = differences(&json!({"a": {"b": 1}}), &json!({"a": 1}));
        assert_eq!(nested, ["a: {\"b\":1} there, 1 here"]);
    }
}
