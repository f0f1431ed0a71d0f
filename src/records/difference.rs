//! Two configurations side by side.

use serde::Serialize;
use serde_json::Value;

/// A key that differs, with both values as JSON, or `absent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub key: String,
    pub there: String,
    pub here: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} there, {} here", self.key, self.there, self.here)
    }
}

/// Every key that differs. Order of keys is no difference; lists are compared whole.
pub fn differences(there: &Value, here: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", Some(there), Some(here), &mut found);
    found
}

fn walk(key: &str, there: Option<&Value>, here: Option<&Value>, found: &mut Vec<Difference>) {
    let child = |name: &str| match key {
        "" => name.to_owned(),
        _ => format!("{key}.{name}"),
    };
    match (there, here) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (name, value) in a {
                walk(&child(name), Some(value), b.get(name), found);
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                walk(&child(name), None, Some(value), found);
            }
        }
        _ if there == here => {}
        _ => {
            let key = if key.is_empty() { "configuration" } else { key };
            let key = key.escape_debug().to_string();
            found.push(Difference { key, there: show(there), here: show(here) });
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

    fn lines(there: &Value, here: &Value) -> Vec<String> {
        differences(there, here).iter().map(Difference::to_string).collect()
    }

    #[test]
    fn each_differing_key_once() {
        let there = json!({"a": 1, "train": {"steps": 200, "lr": 0.1, "old": true}, "l": [1, 2]});
        let here = json!({"l": [1, 3], "train": {"lr": 0.1, "new": "x\ny", "steps": 500}, "a": 1});
        assert_eq!(
            lines(&there, &here),
            [
                "train.steps: 200 there, 500 here",
                "train.old: true there, absent here",
                "train.new: absent there, \"x\\ny\" here",
                "l: [1,2] there, [1,3] here",
            ]
        );
        assert_eq!(lines(&there, &there), [""; 0]);
        assert_eq!(lines(&json!(3), &json!({})), ["configuration: 3 there, {} here"]);
        let nested = lines(&json!({"a": {"b": 1}}), &json!({"a": 1}));
        assert_eq!(nested, ["a: {\"b\":1} there, 1 here"]);
    }
}
